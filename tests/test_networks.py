"""The networks: sizes as the paper counts them, shapes, seeded weights."""

import pytest
import torch
from torch import nn

from replication import networks
from replication.errors import ReplicationError


@pytest.mark.parametrize(
    ("name", "parameters", "weights"), [("lenet_300_100", 266_610, 266_200), ("lenet_5", 431_080, 430_500)]
)
def test_sizes_are_the_papers(name: str, parameters: int, weights: int):
    net = networks.build(name)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert sum(w.numel() for w in networks.weights(net).values()) == weights


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("lenet_300_100", {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}),
        ("lenet_5", {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 800), "fc2": (10, 500)}),
    ],
)
def test_layers_are_named_as_in_the_tables(name: str, shapes: dict):
    found = networks.weights(networks.build(name))
    assert list(found) == list(shapes)
    assert {layer: tuple(weight.shape) for layer, weight in found.items()} == shapes


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet_5"])
def test_ten_logits_per_image(name: str):
    assert networks.build(name)(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet_5"])
def test_weights_follow_the_generator_alone(name: str):
    torch.manual_seed(1)
    first = networks.build(name, torch.Generator().manual_seed(7))
    torch.manual_seed(2)
    again = networks.build(name, torch.Generator().manual_seed(7))
    other = networks.build(name, torch.Generator().manual_seed(8))
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters()):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet_5"])
def test_initial_weights_fill_their_range(name: str):
    for layer in networks.layers(networks.build(name, torch.Generator().manual_seed(0))).values():
        bound = layer.weight[0].numel() ** -0.5
        assert 0.95 * bound < layer.weight.max().item() <= bound
        assert -bound <= layer.weight.min().item() < -0.95 * bound


def test_weights_share_memory_with_the_network():
    net = networks.lenet_300_100()
    networks.weights(net)["fc3"].zero_()
    assert not net.fc3.weight.any()


def test_relu_after_pooling_computes_the_same_as_before():
    net = networks.lenet_5(torch.Generator().manual_seed(0))
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    before = nn.Sequential(
        *(net.conv1, nn.ReLU(), nn.MaxPool2d(2), net.conv2, nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), net.fc1, nn.ReLU(), net.fc2),
    )
    assert torch.equal(net(x), before(x))


def test_unknown_network_is_named():
    with pytest.raises(
        ReplicationError, match=r"unknown network 'lenet5': choose from lenet_300_100, lenet_5, alexnet"
    ):
        networks.build("lenet5")
