"""The networks by name: how each is built, what it is called, what it sees, and where the paper prints it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ..specs import check_name
from . import models


@dataclass(frozen=True)
class Network:
    """A network that runs can name.

    build: the builder, given the source of the initial weights, or None; title: its name on pages; input_size: of an
    image, (channels, height, width); table: the paper's table of its layers, or of those of the network that it
    stands for (0: none); stands_for: the name of that network; torchvision: the model of torchvision's with its layers.
    """

    build: Callable[[torch.Generator | None], nn.Sequential]
    title: str
    input_size: tuple[int, int, int]
    table: int = 0
    stands_for: str = ""
    torchvision: str = ""


_DIGIT, _PHOTOGRAPH, _TINY = (1, 28, 28), (3, 224, 224), (3, 32, 32)
NETWORKS = {
    "lenet_300_100": Network(models.lenet_300_100, "LeNet-300-100", _DIGIT, 2),
    "lenet_5": Network(models.lenet_5, "LeNet-5", _DIGIT, 3),
    # ours: 227 pixels for Caffe's AlexNet, 224 for the others, as their weights expect; the paper names no crops
    "alexnet": Network(models.alexnet, "AlexNet", (3, 227, 227), 4),
    # ours: torchvision's weights of AlexNet are of another network than the paper's, and the record says so
    "alexnet_torchvision": Network(
        models.alexnet_torchvision, "AlexNet (torchvision's)", _PHOTOGRAPH, torchvision="alexnet"
    ),
    "vgg16": Network(models.vgg16, "VGG-16", _PHOTOGRAPH, 5, torchvision="vgg16"),
    "alexnet_32": Network(models.alexnet_32, "AlexNet stand-in", _TINY, 4, stands_for="alexnet"),
    "vgg16_32": Network(models.vgg16_32, "VGG-16 stand-in", _TINY, 5, stands_for="vgg16"),
    # Table 6's naive cut: leaves a ninth of the weights
    "alexnet_32_ninth": Network(partial(models.alexnet_32, width=0.333), "AlexNet stand-in, cut to a ninth", _TINY),
    # ours: the LeNets have no dropout; to test the rule of section 3.2 on them they get AlexNet's, 0.5 after ReLU
    "lenet_300_100_dropout": Network(partial(models.lenet_300_100, dropout=0.5), "LeNet-300-100 with dropout", _DIGIT),
    "lenet_5_dropout": Network(partial(models.lenet_5, dropout=0.5), "LeNet-5 with dropout", _DIGIT),
}
TITLES = {name: network.title for name, network in NETWORKS.items()}
TORCHVISION = {network.torchvision: name for name, network in NETWORKS.items() if network.torchvision}


def build(name: str, generator: torch.Generator | None = None) -> nn.Sequential:
    """The network called `name`; raises ReplicationError for a name that is not known."""
    check_name("network", name, NETWORKS)
    return NETWORKS[name].build(generator)


def outline(name: str) -> nn.Sequential:
    """The network called `name` without values, on PyTorch's meta device: its layers, their names and shapes."""
    with torch.device("meta"):
        return build(name)
