"""The networks: sizes as the paper counts them, shapes, seeded weights."""

import pytest
import torch
from torch import nn

from replication import networks
from replication.data import paper
from replication.errors import ReplicationError
from replication.networks import registry


@pytest.mark.parametrize(
    ("name", "parameters", "weights"), [("lenet_300_100", 266_610, 266_200), ("lenet_5", 431_080, 430_500)]
)
def test_sizes_are_the_papers(name: str, parameters: int, weights: int):
    net = registry.build(name)
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
    found = networks.weights(registry.build(name))
    assert list(found) == list(shapes)
    assert {layer: tuple(weight.shape) for layer, weight in found.items()} == shapes


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet_5"])
def test_ten_logits_per_image(name: str):
    assert registry.build(name)(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet_5"])
def test_weights_follow_the_generator_alone(name: str):
    torch.manual_seed(1)
    first = registry.build(name, torch.Generator().manual_seed(7))
    torch.manual_seed(2)
    again = registry.build(name, torch.Generator().manual_seed(7))
    other = registry.build(name, torch.Generator().manual_seed(8))
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters()):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet_5"])
def test_initial_weights_fill_their_range(name: str):
    for layer in networks.layers(registry.build(name, torch.Generator().manual_seed(0))).values():
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
        registry.build("lenet5")


@pytest.mark.parametrize("name", registry.NETWORKS)
def test_networks_take_images_of_the_size_that_is_said(name: str):
    outputs = registry.outline(name)(torch.empty(2, *registry.NETWORKS[name].input_size, device="meta"))
    assert outputs.shape == (2, 1_000 if registry.NETWORKS[name].input_size[-1] > 32 else 10)


def test_an_outline_has_names_and_shapes_and_no_values():
    net = registry.outline("lenet_300_100")
    assert all(parameter.is_meta for parameter in net.parameters())
    built = registry.build("lenet_300_100")
    assert networks.shapes(net.state_dict()) == networks.shapes(built.state_dict())
    assert networks.shapes(networks.weights(net)) == {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}


def test_stand_ins_have_the_layers_of_the_tables_and_say_for_whom_they_stand():
    found = {name: network for name, network in registry.NETWORKS.items() if network.stands_for}
    assert {name: network.stands_for for name, network in found.items()} == {
        "alexnet_32": "alexnet",
        "vgg16_32": "vgg16",
    }
    for name in ("lenet_300_100", "lenet_5", "alexnet", "vgg16", *found):
        assert list(networks.layers(registry.outline(name))) == paper.layer_table(name).layer.tolist()[:-1]


@pytest.mark.parametrize(
    ("name", "line"),
    [("lenet_300_100", "LeNet-300-100"), ("lenet_5", "LeNet-5"), ("alexnet", "AlexNet"), ("alexnet_32", "AlexNet")]
    + [("vgg16", "VGG-16"), ("vgg16_32", "VGG-16")],
)
def test_the_papers_lines_on_a_network_are_those_of_the_one_it_stands_for(name: str, line: str):
    assert paper.network_rows(name).network.tolist() == [line] * 2


def test_torchvisions_weights_belong_to_two_networks():
    assert registry.TORCHVISION == {"alexnet": "alexnet_torchvision", "vgg16": "vgg16"}
