"""What training, evaluation and pruning leave as it was: images, memory beside a parameter, a network at an error."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, default_collate

from replication import networks, pruning
from replication.data import Split
from replication.errors import ReplicationError
from replication.networks import accounting
from replication.pruning import search
from replication.pruning.iterative import prune_network
from replication.training import Training, evaluate, train
from replication.training.phases import fixed_front

HOW = Training(3, 0.1, batch_size=10)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


class Moving(nn.Module):
    """Shifts the images that it is given, in place."""

    def __init__(self):
        super().__init__()
        self.inner = plain()

    def forward(self, x: Tensor) -> Tensor:
        x -= 1.0
        return self.inner(x)


def values(net: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


@pytest.mark.parametrize("build", [Moving, lambda: nn.Sequential(nn.ReLU(inplace=True), *plain())], ids=["own", "relu"])
def test_a_network_that_changes_its_images_changes_none_of_the_users(build, blobs: Split):
    net, split = build(), Split(blobs.x.clone(), blobs.y)
    first = evaluate(net, split)
    train(net, split, HOW, seeded())
    search.choose_qualities(net, split, pruning.Pruning(damage=0.1, own_answers=True))
    accounting.account(net, split.x)
    prune_network(net, split, split, 1, training=HOW)
    assert torch.equal(split.x, blobs.x)
    assert evaluate(build(), split) == first == evaluate(build(), split)


def test_memory_beside_a_parameter_is_left_alone_and_the_steps_are_those_of_its_copy(blobs: Split):
    memory = torch.randn(8, 12, generator=seeded())
    before, nets = memory.clone(), (plain(), plain())
    nets[0][0].weight = nn.Parameter(memory[:, :6])
    nets[1][0].weight = nn.Parameter(memory[:, :6].clone())
    masks = {"0": memory[:, :6].abs() > 0.5}
    rows = [train(net, blobs, HOW, seeded(), masks) for net in nets]
    assert torch.equal(memory[:, 6:], before[:, 6:]) and not torch.equal(memory[:, :6], before[:, :6])
    for one, other in zip(*map(values, nets)):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert [row["loss"] for row in rows[0]] == pytest.approx([row["loss"] for row in rows[1]], rel=1e-5)


@pytest.mark.parametrize(
    "weight, kind",
    [(torch.randn(8, 1).expand(8, 6), "has elements that share their memory"), (None, "was made in inference mode")],
)
def test_a_parameter_that_no_step_can_change_is_named(weight, kind: str, blobs: Split):
    net = plain()
    with torch.inference_mode(weight is None):
        net[0].weight = nn.Parameter(torch.randn(8, 6) if weight is None else weight)
    with pytest.raises(ReplicationError, match=f"^0.weight {kind}: give it memory of its own"):
        train(net, blobs, HOW, seeded())


def test_a_network_of_which_nothing_is_trained_is_named(blobs: Split):
    with pytest.raises(ReplicationError, match=r"^no parameter of the network is trained: requires_grad is False"):
        train(plain().requires_grad_(False), blobs, HOW, seeded())


def test_within_autocast_every_step_and_count_sees_the_weights_as_they_are(blobs: Split):
    net, dense = plain(), {}
    with torch.autocast("cpu", torch.bfloat16):
        losses = [row["loss"] for row in train(net, blobs, Training(5, 0.1, "constant", batch_size=10), seeded())]
        dense = evaluate(net, blobs)
        pruning.apply_masks(net, {n: torch.zeros_like(w, dtype=torch.bool) for n, w in networks.weights(net).items()})
        empty = evaluate(net, blobs)
    assert all(later < earlier for earlier, later in pairwise(losses))
    assert dense.errors < 10 and empty.errors == 50


def test_training_needs_no_gradients_switched_on(blobs: Split):
    nets = plain(), plain()
    train(nets[0], blobs, HOW, seeded())
    with torch.no_grad():
        train(nets[1], blobs, HOW, seeded())
    assert all(map(torch.equal, *map(values, nets)))


def test_frozen_weights_are_zero_to_the_bit_where_they_are_pruned(blobs: Split):
    net = nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    mask = torch.zeros_like(net[1].weight, dtype=torch.bool)
    train(net, blobs, Training(1, 0.1, freeze="conv"), seeded(), {"1": mask})
    assert not net[1].weight.detach().view(torch.int32).any()  # -0 has a bit


def test_embeddings_with_sparse_gradients_learn_as_dense_ones():
    x, nets = torch.arange(40).reshape(20, 2) % 5, []
    for sparse in (False, True):
        torch.manual_seed(0)
        nets.append(nn.Sequential(nn.Embedding(5, 3, sparse=sparse), nn.Flatten(), nn.Linear(6, 2)))
        train(nets[-1], Split(x, x[:, 0] % 2), HOW, seeded())
    assert all(map(torch.equal, *map(values, nets)))


@pytest.mark.parametrize("between", [nn.Dropout(0.9), nn.RReLU(), Moving], ids=["dropout", "rrelu", "own"])
def test_the_fixed_front_ends_before_what_may_be_random(between):
    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x)

    module = between if isinstance(between, nn.Module) else Own()
    net = nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), module, nn.Flatten(), nn.Linear(16, 2))
    front, rest = fixed_front(net, "conv")
    assert list(front._modules) == ["0", "1"] and list(rest._modules) == ["2", "3", "4"]


@pytest.mark.parametrize("settings", [{"training": Training(1, 1e30)}, {"retraining": Training(2, 1e30)}])
def test_training_that_diverges_gives_the_network_back_as_it_was(settings: dict, blobs: Split):
    net = plain()
    train(net, blobs, Training(5, 0.1, batch_size=10), seeded())
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ReplicationError, match=r"diverged|the loss on the validation images is nan"):
        prune_network(net, blobs, blobs, 2, **settings)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items()) and not net.training


@pytest.mark.parametrize(
    "settings, validation, message",
    [
        ({"retraining": Training(1, 0.1, batch_size=33)}, lambda s: s, "leave a batch of one image"),
        ({}, lambda s: Split(s.x, s.y + 5), "a label is 6"),
        ({}, lambda s: Split(s.x[:, :3], s.y), r"the network fails on images \(100, 3\) of float32"),
        ({}, lambda s: DataLoader([(x[: 3 + int(y)], y) for x, y in zip(*s)], 1), "several shapes"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_trained(settings: dict, validation, message: str, blobs: Split):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    before = values(net)
    with pytest.raises(ReplicationError, match=message):
        prune_network(net, blobs, validation(blobs), training=HOW, **settings)
    assert all(map(torch.equal, before, values(net)))


def test_a_network_that_takes_no_image_alone_is_pruned(blobs: Split):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.ReLU(), nn.Linear(8, 2))
    table = prune_network(net, blobs, blobs, 1, damage=0.1, training=Training(8, 0.1, batch_size=10)).rounds
    assert table.rate[1] > 1.2 and table.errors_after[1] < 10


def test_a_mask_of_shares_is_refused_and_one_of_zeros_and_ones_taken(blobs: Split):
    net, mask = plain(), torch.ones(8, 6)
    mask[0] = 0
    train(net, blobs, HOW, seeded(), {"0": mask})
    assert not net[0].weight[0].any() and net[0].weight[1:].all()
    with pytest.raises(ReplicationError, match="the mask of '0' holds other values than 0 and 1: give mask != 0"):
        train(net, blobs, HOW, seeded(), {"0": mask / 2})


def fourfold(batch: list) -> list[Tensor]:
    x, y = default_collate(batch)
    return [x.repeat(4, 1), y.repeat(4)]


def halved(batch: list) -> list[Tensor]:
    return default_collate(batch[::2])


@pytest.mark.parametrize("collate, kind", [(fourfold, "more"), (halved, "fewer")])
def test_a_loader_of_other_images_than_its_sampler_has_is_named(collate, kind: str, blobs: Split):
    loader = DataLoader(TensorDataset(*blobs), 10, collate_fn=collate)
    with pytest.raises(ReplicationError, match=f"gives {kind} images than the 100 of its sampler"):
        prune_network(plain(), loader, blobs, 1, training=HOW)


def test_a_label_beyond_the_answers_is_named_in_whichever_batch_it_comes(blobs: Split):
    loader = DataLoader(TensorDataset(blobs.x, torch.cat([blobs.y[:-1], torch.tensor([7])])), 10)
    with pytest.raises(ReplicationError, match="a label is 7"):
        prune_network(plain(), loader, blobs, 1, training=HOW)


def test_validation_images_are_evaluated_in_batches_of_their_loader(blobs: Split):
    sizes = []

    class Noting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = plain()

        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return self.inner(x)

    prune_network(Noting(), blobs, DataLoader(TensorDataset(*blobs), 16), 1, training=HOW)
    assert max(sizes) == 16


def test_a_network_that_no_longer_sees_its_images_is_named_in_a_warning(blobs: Split):
    y = torch.zeros_like(blobs.y)
    y[:5] = 1  # so few that answering 0 costs little
    with pytest.warns(UserWarning, match="round 1 pruned every weight that the answers hang on"):
        pruned = prune_network(plain(), (blobs.x, y), (blobs.x, y), 3, damage=0.3, training=HOW)
    assert len(pruned.rounds) == 2 and not all(mask.any() for mask in pruned.masks.values())
    assert len(pruned.net(blobs.x).unique(dim=0)) == 1


@pytest.mark.parametrize("name", ["momentum", "warmup"])
def test_a_share_above_one_is_named(name: str):
    with pytest.raises(ReplicationError, match=f"{name} is 5: give a number from 0 to 1"):
        Training(1, 0.1, **{name: 5})


@pytest.mark.parametrize("use", [lambda net, s: evaluate(net, s), lambda net, s: train(net, s, HOW, seeded())])
def test_a_pair_of_tensors_in_the_place_of_a_split_is_named(use, blobs: Split):
    with pytest.raises(ReplicationError, match=r"of the type tuple: give data.Split\(images, labels\)"):
        use(plain(), tuple(blobs))


def test_images_of_no_shape_to_be_augmented_are_named(blobs: Split):
    with pytest.raises(ReplicationError, match=r"images \(N, C, H, W\), these are \(100, 6\)"):
        train(plain(), blobs, Training(1, 0.1, augment=True), seeded())
