"""Dead neurons: found, followed, and removed without changing what the network computes (section 3.5)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from replication import networks, pruning
from replication.errors import ReplicationError
from replication.pruning import dead_neurons


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
