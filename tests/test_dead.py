"""Dead neurons: found, followed, and removed without changing what the network computes (section 3.5)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from replication import networks, pruning
from replication.data import Split
from replication.errors import ReplicationError
from replication.pruning import dead_neurons
from replication.training.processes import keyed


def chain() -> tuple[nn.Sequential, dict[str, torch.Tensor]]:
    net = networks.lenet_300_100(torch.Generator().manual_seed(0))
    return net, pruning.full_masks(networks.weights(net))


def pruned_lenet_5(seed: int, density: float) -> tuple[nn.Sequential, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    net = networks.lenet_5(generator)
    masks = {
        name: torch.rand(weight.shape, generator=generator) < density for name, weight in networks.weights(net).items()
    }
    pruning.apply_masks(net, masks)
    return net, masks


def test_a_full_network_has_no_dead_units():
    _, masks = chain()
    assert not any(units.no_input.any() or units.no_output.any() for units in dead_neurons.dead_units(masks).values())


def test_units_without_inputs_and_without_outputs_are_told_apart():
    _, masks = chain()
    masks["fc1"][7] = False
    masks["fc2"][:, 9] = False
    found = dead_neurons.dead_units(masks)
    assert found["fc1"].no_input.nonzero().flatten().tolist() == [7]
    assert found["fc1"].no_output.nonzero().flatten().tolist() == [9]
    assert not found["fc2"].no_input.any()


def test_a_feature_map_is_read_through_the_flattening():
    net = networks.lenet_5(torch.Generator().manual_seed(0))
    masks = pruning.full_masks(networks.weights(net))
    masks["fc1"][:, 3 * 16 : 4 * 16] = False  # all 4 x 4 values of map 3
    masks["fc1"][:, 5 * 16 : 6 * 16 - 1] = False  # all but one of map 5
    assert dead_neurons.dead_units(masks)["conv2"].no_output.nonzero().flatten().tolist() == [3]


def test_what_is_left_of_dead_units_is_measured_in_deviations_of_the_layer():
    net, masks = chain()
    masks["fc1"][7] = False
    deviation = net.fc2.weight.std(correction=0).item()
    with torch.no_grad():
        net.fc2.weight[:, 7] = 0.5 * deviation
        net.fc2.weight[4, 7] = -3 * deviation
    left = dead_neurons.left_over(net, masks, dead_neurons.dead_units(masks))
    changed = net.fc2.weight.std(correction=0).item()
    assert left["no_input"]["weights"] == 100
    assert left["no_input"]["largest"] == pytest.approx(3 * deviation / changed, rel=1e-5)
    assert left["no_output"] == {"weights": 0, "largest": 0.0, "mean": 0}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 0.2))
def test_the_smaller_network_computes_the_same(seed, density):
    net, masks = pruned_lenet_5(seed, density)
    x = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    try:
        small, left = dead_neurons.without_dead(net, masks)
    except ReplicationError as error:
        assert "nothing is left" in str(error)
        return
    assert not any((u.no_input | u.no_output).any() for u in dead_neurons.dead_units(left).values())
    torch.testing.assert_close(small(x), net(x), rtol=1e-4, atol=1e-4)
    for name, layer in networks.layers(small).items():
        assert layer.weight.shape == left[name].shape
    assert sum(p.numel() for p in small.parameters()) <= sum(p.numel() for p in net.parameters())


def test_units_that_die_with_others_go_as_well():
    net, masks = chain()
    masks["fc2"][5] = False  # unit 5 of fc2 has no input ...
    masks["fc2"][:, 3] = False
    masks["fc2"][5, 3] = True  # ... but for unit 3 of fc1, which only it reads
    masks["fc3"][:, 5] = False  # and nobody reads unit 5
    pruning.apply_masks(net, masks)
    small, _ = dead_neurons.without_dead(net, masks)
    assert [layer.weight.shape for layer in networks.layers(small).values()] == [(299, 784), (99, 299), (10, 99)]


def test_a_padded_network_is_refused():
    net = networks.alexnet_32()
    with pytest.raises(ReplicationError, match="padded"):
        dead_neurons.without_dead(net, pruning.full_masks(networks.weights(net)))


def test_a_network_with_groups_is_refused():
    net = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with pytest.raises(ReplicationError, match="groups"):
        dead_neurons.without_dead(net, pruning.full_masks(networks.weights(net)))


@pytest.mark.filterwarnings("error")
def test_a_layer_without_any_weight_leaves_nothing_over():
    net, masks = chain()
    masks["fc3"][:] = False
    units = dead_neurons.dead_units(masks)
    left = dead_neurons.left_over(net, masks, units)
    assert left["no_input"] == {"weights": 0, "largest": 0.0, "mean": 0}
    assert left["no_output"]["weights"] == masks["fc2"].numel()


def random_masks(net: nn.Module, seed: int, density: float = 0.3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    masks = {name: torch.rand(w.shape, generator=generator) < density for name, w in networks.weights(net).items()}
    pruning.apply_masks(net, masks)
    return masks


CHAINS = {  # name: (network, shape of an image)
    "no bias": (lambda: nn.Sequential(*linears(False, False, False)), (6,)),
    "no bias where it is read": (lambda: nn.Sequential(*linears(True, False, False)), (6,)),
    "nested": (
        lambda: nn.Sequential(nn.Sequential(*linears(True, True, True)), nn.ReLU(), nn.Sequential(nn.Linear(3, 3))),
        (6,),
    ),
    "conv3d": (
        lambda: nn.Sequential(
            *(nn.Conv3d(1, 6, 2), nn.MaxPool3d(2), nn.ReLU(), nn.Conv3d(6, 5, 2, padding="valid"), nn.ReLU()),
            *(nn.Dropout3d(), nn.Flatten(), nn.Linear(5, 3)),
        ),
        (1, 5, 5, 5),
    ),
    "conv1d": (
        lambda: nn.Sequential(
            *(nn.Conv1d(2, 8, 3, bias=False), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(8, 6, 1, padding="same")),
            *(nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)),
        ),
        (2, 10),
    ),
}


def linears(*biases: bool) -> list[nn.Module]:
    sizes = (6, 8, 7, 3)
    parts = [nn.Linear(sizes[i], sizes[i + 1], bias=bias) for i, bias in enumerate(biases)]
    return [parts[0], nn.ReLU(), parts[1], nn.ReLU(), parts[2]]


@pytest.mark.parametrize("name", CHAINS)
def test_chains_of_every_kind_become_smaller_and_compute_the_same(name):
    build, shape = CHAINS[name]
    smaller = 0
    for seed in range(12):
        torch.manual_seed(seed)
        net = build().eval()
        masks, x = random_masks(net, seed), torch.randn(16, *shape)
        try:
            small, left = dead_neurons.without_dead(net, masks)
        except ReplicationError as error:
            assert "nothing is left" in str(error)
            continue
        torch.testing.assert_close(small(x), net(x), rtol=1e-4, atol=1e-5)
        assert {k: tuple(w.shape) for k, w in networks.weights(small).items()} == {
            k: tuple(m.shape) for k, m in left.items()
        }
        smaller += sum(m.numel() for m in left.values()) < sum(m.numel() for m in masks.values())
    assert smaller > 3


class Shifted(nn.ReLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1


class Cosine(nn.Identity):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cos(x)


def hooked(position: int, before: bool = False) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    if before:
        net[position].register_forward_pre_hook(lambda _, args: args[0] + 1)
    else:
        net[position].register_forward_hook(lambda _, args, out: out + 1)
    return net


def with_another_forward() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    net[1].forward = torch.cos
    return net


def twice() -> nn.Sequential:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(6, 2))


class Negated(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(-x)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, 2, 3, padding=1)), "padded"),
        (nn.Sequential(nn.Conv1d(1, 3, 3), nn.ReLU(), nn.Conv1d(3, 2, 3, padding=1)), "padded"),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding="same")), "padded"),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.ConvTranspose2d(3, 2, 3)), "only a plain sequence"),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3)), "what BatchNorm2d makes"),
        (nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)), "what Tanh makes"),
        (nn.Sequential(nn.Conv1d(1, 4, 1), nn.ReLU(), nn.Linear(4, 2)), "2 does not read the units of 0"),
        (nn.Sequential(nn.Linear(3, 3), nn.Flatten(), nn.Linear(6, 2)), "2 does not read the units of 0"),
        (nn.Sequential(nn.Conv2d(1, 4, 2), nn.AvgPool2d(2, padding=1), nn.Conv2d(4, 2, 1)), "what AvgPool2d makes"),
        (nn.Sequential(nn.Conv2d(1, 4, 2), nn.Flatten(2), nn.Linear(4, 2)), "what Flatten makes"),
        (nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 2)), "only a plain sequence"),
        (Negated(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), "only a plain sequence"),
        (twice(), "only a plain sequence"),
        (nn.Sequential(nn.Linear(4, 4), Shifted(), nn.Linear(4, 2)), "what Shifted makes"),
        (nn.Sequential(nn.Linear(4, 4), Cosine(), nn.Linear(4, 2)), "what Cosine makes"),
        (hooked(0), "what a hook or a forward of its own makes of 0"),
        (hooked(1), "what a hook or a forward of its own makes of 1"),
        (hooked(2, before=True), "what a hook or a forward of its own makes of 2"),
        (with_another_forward(), "what a hook or a forward of its own makes of 1"),
        (nn.Linear(4, 2), "only a plain sequence"),
    ],
    ids=str,
)
def test_what_is_not_known_to_compute_the_same_is_refused(net, message):
    masks = pruning.full_masks(networks.weights(net))
    assert not dead_neurons.is_removable(net)
    with pytest.raises(ReplicationError, match=message):
        dead_neurons.without_dead(net, masks)


def test_the_dropout_of_several_processes_may_stand_between_layers():
    net = networks.lenet_300_100(torch.Generator().manual_seed(0), dropout=0.5)
    keyed(net)
    masks = random_masks(net, 0, 0.01)
    small, _ = dead_neurons.without_dead(net, masks)
    x = torch.randn(4, 1, 28, 28)
    assert small.fc1.out_features < 300
    torch.testing.assert_close(small(x), net.eval()(x), rtol=1e-4, atol=1e-5)


def test_removal_leaves_the_network_in_its_mode():
    net, masks = pruned_lenet_5(0, 0.1)
    split = Split(torch.randn(4, 1, 28, 28), torch.zeros(4, dtype=torch.long))
    assert dead_neurons.removal(net.train(), masks, split)["largest_difference"] < 1e-4
    assert all(module.training for module in net.modules())
