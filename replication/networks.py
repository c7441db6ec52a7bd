"""The paper's networks, as plain sequences of named layers (Table 1)."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from .errors import ReplicationError

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def lenet_300_100(generator: torch.Generator | None = None) -> nn.Sequential:
    """LeNet-300-100: 784-300-100-10, 266,610 parameters (Table 2). Input (B, 1, 28, 28), output logits (B, 10).

    generator: source of the initial weights; None leaves PyTorch's own.
    """
    net = nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),  # (B, 784)
            fc1=nn.Linear(784, 300),
            relu1=nn.ReLU(),
            fc2=nn.Linear(300, 100),
            relu2=nn.ReLU(),
            fc3=nn.Linear(100, 10),
        )
    )
    return initialise(net, generator)


def lenet_5(generator: torch.Generator | None = None) -> nn.Sequential:
    """Caffe's LeNet-5 with ReLU after the convolutions: 431,080 parameters (Table 3). (B, 1, 28, 28) -> (B, 10).

    generator: source of the initial weights; None leaves PyTorch's own.
    """
    # ours: ReLU after both convolutions. Stock Caffe has none there, yet Table 3's activation densities need one.
    # It stands after the pooling, which computes the same (maximum and ReLU commute) on a quarter of the values.
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 20, 5),  # (B, 20, 24, 24)
            pool1=nn.MaxPool2d(2),  # (B, 20, 12, 12)
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(20, 50, 5),  # (B, 50, 8, 8)
            pool2=nn.MaxPool2d(2),  # (B, 50, 4, 4)
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),  # (B, 800)
            fc1=nn.Linear(800, 500),
            relu3=nn.ReLU(),
            fc2=nn.Linear(500, 10),
        )
    )
    return initialise(net, generator)


NETWORKS = {"lenet_300_100": lenet_300_100, "lenet_5": lenet_5}
TITLES = {"lenet_300_100": "LeNet-300-100", "lenet_5": "LeNet-5", "alexnet": "AlexNet", "vgg16": "VGG-16"}


def build(name: str, generator: torch.Generator | None = None) -> nn.Sequential:
    """The network called `name`; raises ReplicationError for a name that is not known."""
    if name not in NETWORKS:
        raise ReplicationError(f"unknown network {name!r}: choose from {', '.join(NETWORKS)}")
    return NETWORKS[name](generator)


def initialise(net: nn.Module, generator: torch.Generator | None) -> nn.Module:
    """Draw every weight and bias uniformly from +-1/sqrt(fan in), in place, from `generator`; None changes nothing."""
    # ours: PyTorch's default range; the paper trains Caffe's models and gives no initialisation
    if generator is not None:
        with torch.no_grad():
            for layer in layers(net).values():
                bound = 1 / math.sqrt(layer.weight[0].numel())
                for parameter in layer.parameters(recurse=False):
                    parameter.uniform_(-bound, bound, generator=generator)
    return net


def layers(net: nn.Module) -> dict[str, nn.Module]:
    """The layers whose weights can be pruned (linear and convolutional), by name, in the order of definition."""
    return {name: module for name, module in net.named_modules() if isinstance(module, PRUNABLE)}


def weights(net: nn.Module) -> dict[str, Tensor]:
    """The prunable weight tensors, detached, by layer name (biases stay dense, as in the paper's counts)."""
    return {name: layer.weight.detach() for name, layer in layers(net).items()}
