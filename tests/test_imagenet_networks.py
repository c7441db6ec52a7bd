"""AlexNet and VGG-16 at their true size: the counts that Tables 1, 4 and 5 print, and the stand-ins' shapes."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from replication import networks
from replication.data import paper
from replication.networks import accounting, registry

SIZES = {"alexnet": (227, 60_965_224, 60_954_656), "vgg16": (224, 138_357_544, 138_344_128)}


@pytest.fixture(scope="module", params=SIZES)
def counted(request):
    """The name of a network, the network, and its accounting on one image."""
    net = registry.build(request.param).eval()
    image = torch.randn(1, 3, *[SIZES[request.param][0]] * 2)
    return request.param, net, image, accounting.account(net, image)


def test_parameters_are_the_published_ones(counted):
    name, net, _, rows = counted
    _, parameters, weights = SIZES[name]
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert rows.weights.sum() == weights


def test_flops_are_those_of_torchs_own_counter(counted):
    _, net, image, rows = counted
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(image)
    assert rows.flop.sum() == counter.get_total_flops()


def test_every_row_of_the_papers_table_comes_out_to_its_rounding(counted):
    name, _, _, rows = counted
    printed = paper.layer_table(name).query("layer != 'total'")
    assert rows.layer.tolist() == printed.layer.tolist()
    for column in ("weights", "flop"):
        for exact, shown in zip(rows[column], printed[column]):
            last_digit = 10 ** (len(str(shown)) - len(str(shown).rstrip("0")))
            assert abs(exact - shown) < last_digit, (column, exact, shown)


@pytest.mark.parametrize(("name", "convolutions"), [("alexnet_32", 5), ("vgg16_32", 13)])
def test_stand_ins_have_their_models_layers(name, convolutions):
    net = registry.build(name, torch.Generator().manual_seed(0))
    kinds = [type(layer) for layer in networks.layers(net).values()]
    assert kinds == [nn.Conv2d] * convolutions + [nn.Linear] * 3
    assert [type(m) for m in net].count(nn.Dropout) == 2 and not any(isinstance(m, nn.BatchNorm2d) for m in net)
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert list(networks.layers(net)) == list(networks.layers(registry.outline(name.removesuffix("_32"))))


def test_most_weights_of_the_alexnet_stand_in_lie_in_fc1_and_fc2():
    sizes = {name: weight.numel() for name, weight in networks.weights(networks.alexnet_32()).items()}
    assert sizes["fc1"] + sizes["fc2"] > 0.7 * sum(sizes.values())


@pytest.mark.parametrize("name", ["alexnet_32", "vgg16_32"])
def test_signals_keep_their_size_through_a_fresh_stand_in(name):
    net = registry.build(name, torch.Generator().manual_seed(0)).eval()
    x = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert 0.05 < net(x).std().item() < 5
