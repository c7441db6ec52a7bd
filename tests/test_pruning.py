import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from replication import networks, pruning, training
from replication.data import datasets
from replication.errors import ReplicationError
from replication.pruning import search

seeds = st.integers(0, 10_000)
qualities = st.floats(0, 4)


def layers(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"a": torch.randn(7, 5, generator=generator), "b": 0.1 * torch.randn(4, 3, 3, 3, generator=generator)}


@given(seeds, qualities, qualities)
@settings(deadline=None)
def test_masks_of_later_rounds_are_nested_and_nothing_is_changed(seed, first, second):
    tensors = layers(seed)
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    old = pruning.prune(tensors, {"a": first, "b": first})
    kept = {name: mask.clone() for name, mask in old.items()}
    new = pruning.prune(tensors, {"a": second}, old)
    for name in tensors:
        assert torch.equal(tensors[name], copies[name]) and torch.equal(old[name], kept[name])
        assert not (new[name] & ~old[name]).any()
    assert torch.equal(new["b"], old["b"])


@given(seeds, qualities, qualities)
@settings(deadline=None)
def test_a_larger_quality_keeps_fewer_weights(seed, one, other):
    tensors = layers(seed)
    low, high = sorted((one, other))
    few, many = pruning.prune(tensors, {"a": high}), pruning.prune(tensors, {"a": low})
    assert not (few["a"] & ~many["a"]).any()


@given(seeds, qualities)
@settings(deadline=None)
def test_the_threshold_is_quality_times_the_deviation_of_the_survivors(seed, quality):
    weight = layers(seed)["a"]
    mask = weight.abs() > 0.3
    alive = weight[mask].double()
    deviation = math.sqrt(((alive - alive.mean()) ** 2).mean())
    assert pruning.threshold(weight, quality, mask) == pytest.approx(quality * deviation, rel=1e-5, abs=1e-9)
    kept = pruning.prune({"a": weight}, {"a": quality}, {"a": mask})["a"]
    assert torch.equal(kept, mask & (weight.abs() > pruning.threshold(weight, quality, mask)))


def test_quality_zero_removes_nothing_but_zeros():
    weight = torch.tensor([[0.0, 1e-30, -2.0, 3.0]])
    assert pruning.prune({"a": weight}, {"a": 0.0})["a"].tolist() == [[False, True, True, True]]


def test_a_layer_without_survivors_stays_empty():
    weight, empty = torch.randn(3, 3), torch.zeros(3, 3, dtype=torch.bool)
    assert not pruning.prune({"a": weight}, {"a": 1.0}, {"a": empty})["a"].any()


@pytest.mark.parametrize("quality", [-0.1, float("nan"), float("inf")])
def test_a_senseless_quality_is_named_with_its_layer(quality):
    message = f"the quality of fc1 is {quality}: give a number of zero or more"
    with pytest.raises(ReplicationError, match=message):
        pruning.prune({"fc1": torch.randn(3, 3)}, {"fc1": quality})
    with pytest.raises(ReplicationError, match=message):
        pruning.Pruning(qualities=(("fc1", quality),))


def test_layers_and_masks_that_do_not_fit_are_named():
    tensors = layers(0)
    with pytest.raises(ReplicationError, match="no layer is called 'c': choose from a, b"):
        pruning.prune(tensors, {"c": 1.0})
    masks = pruning.full_masks(tensors)
    with pytest.raises(ReplicationError, match="do not fit the layers"):
        pruning.prune(tensors, {}, {"a": masks["a"]})
    with pytest.raises(ReplicationError, match="the mask of a is"):
        pruning.prune(tensors, {}, masks | {"a": masks["a"].float()})
    with pytest.raises(ReplicationError, match="the mask of a is"):
        pruning.prune(tensors, {}, masks | {"a": masks["a"].T})


class Wrapped(nn.Module):
    """The same network, but no plain sequence."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.fixture(scope="module")
def trained():
    generator = torch.Generator().manual_seed(0)
    data = datasets.mnist(1_000)
    net = networks.lenet_5(generator)
    training.train(net, data.train, training.Training(4, 0.05, batch_size=32), generator)
    return net, datasets.Split(*(tensor[:300] for tensor in data.validation))


def test_sensitivity_leaves_the_network_and_does_not_depend_on_its_form(trained):
    net, split = trained
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    grid = (0.0, 1.0, 2.0)
    curves, plain = (search.layer_curves(each, split, grid) for each in (net, Wrapped(net)))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert list(curves) == ["conv1", "conv2", "fc1", "fc2"]
    for name, rows in curves.items():
        assert [row["quality"] for row in rows] == list(grid)
        assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in plain[f"net.{name}"]], rel=1e-4)
        alone = pruning.prune(networks.weights(net), {name: 2.0})[name]
        assert rows[-1]["density"] == pytest.approx(alone.float().mean().item())
        assert rows[0]["loss"] == pytest.approx(training.evaluate(net, split).loss, rel=1e-4)


def test_curves_stop_where_they_are_told_to(trained):
    net, split = trained
    grid = tuple(i / 2 for i in range(9))
    whole, cut = search.layer_curves(net, split, grid), search.layer_curves(net, split, grid, stop=0.1)
    for name, rows in cut.items():
        assert rows == whole[name][: len(rows)]
        assert all(row["loss"] <= rows[0]["loss"] + 0.1 for row in rows[:-1])
    assert any(len(cut[name]) < len(grid) for name in cut)


@pytest.mark.parametrize("damage", [0.0, 0.02, 0.3])
def test_the_search_stays_within_the_damage_and_uses_it(trained, damage):
    net, split = trained
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    rule = pruning.Pruning(damage=damage)
    found, _ = search.choose_qualities(net, split, rule)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    limit = training.evaluate(net, split).loss + damage
    masks = pruning.prune(networks.weights(net), found)
    pruning.apply_masks(net, masks)
    loss = training.evaluate(net, split).loss
    net.load_state_dict(before)
    assert loss <= limit
    assert pruning.density(masks) < (1 if damage else 1.01)


def test_more_damage_prunes_more(trained):
    net, split = trained
    densities = []
    for damage in (0.01, 0.1, 1.0):
        found, _ = search.choose_qualities(net, split, pruning.Pruning(damage=damage))
        densities.append(pruning.density(pruning.prune(networks.weights(net), found)))
    assert densities[0] > densities[1] > densities[2]


def test_the_sensitive_layer_gets_the_smaller_quality():
    def curve(steepness: float) -> list[dict]:
        return [{"quality": q, "density": 1 - q / 4, "loss": steepness * q**2} for q in (0.0, 1.0, 2.0, 3.0)]

    curves, shares = {"conv1": curve(1.0), "fc1": curve(0.01)}, {"conv1": 0.5, "fc1": 0.5}
    found = search.qualities_at(curves, shares, price=1.0)
    assert found["conv1"] < found["fc1"]
    assert search.qualities_at(curves, shares, price=1e9) == {"conv1": 0.0, "fc1": 0.0}
    assert search.qualities_at(curves, shares, price=0.0) == {"conv1": 3.0, "fc1": 3.0}


def test_qualities_given_by_hand_are_used_as_they_are(trained):
    net, split = trained
    rule = pruning.Pruning(qualities=(("conv1", 0.5), ("fc1", 1.5)))
    assert search.choose_qualities(net, split, rule) == ({"conv1": 0.5, "fc1": 1.5}, {})


def test_global_pruning_has_one_threshold_for_all_layers():
    tensors = {"a": torch.randn(50, 20), "b": 3 * torch.randn(30, 10)}
    masks = pruning.prune(tensors, pruning.global_qualities(tensors, None, 0.2))
    kept = torch.cat([tensors[name][mask].abs() for name, mask in masks.items()])
    gone = torch.cat([tensors[name][~mask].abs() for name, mask in masks.items()])
    assert kept.min() > gone.max()
    assert pruning.density(masks) == pytest.approx(0.2, abs=0.002)
    assert masks["b"].float().mean() > 2 * masks["a"].float().mean()


def test_global_pruning_needs_a_density():
    with pytest.raises(ReplicationError, match="global"):
        pruning.Pruning(method="global")


def test_probabilistic_pruning_keeps_as_many_and_prefers_large_weights():
    tensors = {"a": torch.randn(200, 100, generator=torch.Generator().manual_seed(0))}
    masks = pruning.prune(tensors, {"a": 1.0})
    drawn = pruning.drawn(masks, None, torch.Generator().manual_seed(1), tensors)
    uniform = pruning.drawn(masks, None, torch.Generator().manual_seed(1))
    assert drawn["a"].sum() == uniform["a"].sum() == masks["a"].sum()
    mean = {name: tensors["a"][m["a"]].abs().mean() for name, m in (("d", drawn), ("u", uniform), ("t", masks))}
    assert mean["u"] * 1.1 < mean["d"] < 0.9 * mean["t"]


def test_probabilistic_pruning_draws_in_proportion_to_magnitude():
    tensors = {"a": torch.tensor([[1.0, -3.0]])}
    masks, generator = {"a": torch.tensor([[False, True]])}, torch.Generator().manual_seed(0)
    counts = sum(pruning.drawn(masks, None, generator, tensors)["a"].int() for _ in range(4_000))
    assert counts[0, 1].item() / 4_000 == pytest.approx(0.75, abs=0.03)
