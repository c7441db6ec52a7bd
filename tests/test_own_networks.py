"""Pruning and accounting on networks of a reader's own: nested, with other layers, of other shapes."""

import pytest
import torch
from torch import nn

from replication import networks, pruning
from replication.data import Split
from replication.networks import accounting
from replication.pruning import search
from replication.training import Training, evaluate, train


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nested() -> nn.Sequential:
    body = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU())
    return networks.initialise(nn.Sequential(body, nn.Linear(8, 2)), seeded())


class Plain(nn.Module):
    """The network of `nested`, without a sequence."""

    def __init__(self, net: nn.Sequential):
        super().__init__()
        self.first, self.second, self.third = net[0][0], net[0][2], net[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x).relu()).relu())


NAMES = {"0.0": "first", "0.2": "second", "1": "third"}


@pytest.fixture
def trained(blobs: Split) -> nn.Sequential:
    net = nested()
    train(net, blobs, Training(epochs=10, learning_rate=0.1, batch_size=10), seeded())
    return net


def test_every_layer_of_a_nested_sequence_has_its_curve(trained: nn.Sequential, blobs: Split):
    curves = search.layer_curves(trained, blobs, (0.0, 1.0, 2.0))
    plain = search.layer_curves(Plain(trained), blobs, (0.0, 1.0, 2.0))
    assert list(curves) == list(NAMES)
    for name, rows in curves.items():
        for row, other in zip(rows, plain[NAMES[name]], strict=True):
            assert row["density"] == other["density"]
            assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)


def test_search_on_a_nested_sequence_finds_a_quality_for_every_layer(trained: nn.Sequential, blobs: Split):
    limit = evaluate(trained, blobs).loss + 0.2
    found, _ = search.choose_qualities(trained, blobs, pruning.Pruning(damage=0.2))
    masks = pruning.prune(networks.weights(trained), found)
    pruning.apply_masks(trained, masks)
    assert found.keys() == NAMES.keys()
    assert pruning.density(masks) < 1
    assert evaluate(trained, blobs).loss <= limit


def test_search_goes_on_within_the_masks_of_the_last_round(trained: nn.Sequential, blobs: Split):
    net = Plain(trained)
    old = pruning.prune(networks.weights(net), dict.fromkeys(NAMES.values(), 0.3))
    pruning.apply_masks(net, old)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    limit = evaluate(net, blobs).loss + 0.2
    found, curves = search.choose_qualities(net, blobs, pruning.Pruning(damage=0.2), old)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    for name, rows in curves.items():
        assert rows[0]["density"] == pytest.approx(old[name].float().mean().item())
    new = pruning.prune(networks.weights(net), found, old)
    pruning.apply_masks(net, new)
    assert pruning.density(new) < pruning.density(old)
    assert evaluate(net, blobs).loss <= limit


@pytest.mark.parametrize(
    ("layer", "shape", "flop"),
    [
        (nn.Linear(4, 6), (2, 4), 2 * 24),
        (nn.Linear(4, 6), (2, 5, 4), 2 * 24 * 5),  # the same layer at five positions
        (nn.Conv1d(3, 4, 3), (2, 3, 10), 2 * 36 * 8),
        (nn.Conv2d(4, 6, 3, stride=2), (2, 4, 9, 7), 2 * 216 * 4 * 3),
        (nn.Conv2d(4, 8, 3, groups=4), (2, 4, 5, 5), 2 * 72 * 9),
        (nn.Conv3d(1, 2, 2), (2, 1, 4, 4, 4), 2 * 16 * 27),
    ],
    ids=str,
)
def test_flops_are_twice_the_multiplications(layer: nn.Module, shape: tuple[int, ...], flop: int):
    rows = accounting.account(nn.Sequential(layer), torch.ones(shape))
    assert rows.flop.tolist() == [flop]
