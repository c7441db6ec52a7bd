"""The paper's networks, as plain sequences of named layers (Table 1)."""

import math
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy

import torch
from torch import nn

from .connections import layers


def lenet_300_100(generator: torch.Generator | None = None, dropout: float = 0.0) -> nn.Sequential:
    """LeNet-300-100: 784-300-100-10, 266,610 parameters (Table 2). Input (B, 1, 28, 28), output logits (B, 10).

    generator: source of the initial weights; None leaves PyTorch's own; dropout: rate after fc1 and fc2 (0: none).
    """
    return _network(
        generator,
        flatten=nn.Flatten(),  # (B, 784)
        fc1=nn.Linear(784, 300),
        relu1=nn.ReLU(),
        dropout1=dropout and nn.Dropout(dropout),
        fc2=nn.Linear(300, 100),
        relu2=nn.ReLU(),
        dropout2=dropout and nn.Dropout(dropout),
        fc3=nn.Linear(100, 10),
    )


def lenet_5(generator: torch.Generator | None = None, dropout: float = 0.0) -> nn.Sequential:
    """Caffe's LeNet-5 with ReLU after the convolutions: 431,080 parameters (Table 3). (B, 1, 28, 28) -> (B, 10).

    generator: source of the initial weights; None leaves PyTorch's own; dropout: rate after fc1 (0: none).
    """
    # ours: ReLU after both convolutions. Stock Caffe has none there, yet Table 3's activation densities need one.
    # It stands after the pooling, which computes the same (maximum and ReLU commute) on a quarter of the values.
    return _network(
        generator,
        conv1=nn.Conv2d(1, 20, 5),  # (B, 20, 24, 24)
        pool1=nn.MaxPool2d(2),  # (B, 20, 12, 12)
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(20, 50, 5),  # (B, 50, 8, 8)
        pool2=nn.MaxPool2d(2),  # (B, 50, 4, 4)
        relu2=nn.ReLU(),
        flatten=nn.Flatten(),  # (B, 800)
        fc1=nn.Linear(800, 500),
        relu3=nn.ReLU(),
        dropout3=dropout and nn.Dropout(dropout),
        fc2=nn.Linear(500, 10),
    )


def alexnet(generator: torch.Generator | None = None) -> nn.Sequential:
    """Caffe's AlexNet at its true size: 60,965,224 parameters (Table 4). (B, 3, 227, 227) -> logits (B, 1000).

    conv2, conv4 and conv5 have two groups; local response normalisation follows conv1 and conv2.
    generator: source of the initial weights; None leaves PyTorch's own.
    """
    return _network(
        generator,
        conv1=nn.Conv2d(3, 96, 11, stride=4),  # (B, 96, 55, 55)
        relu1=nn.ReLU(),
        norm1=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
        pool1=nn.MaxPool2d(3, 2),  # (B, 96, 27, 27)
        conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2),
        relu2=nn.ReLU(),
        norm2=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
        pool2=nn.MaxPool2d(3, 2),  # (B, 256, 13, 13)
        conv3=nn.Conv2d(256, 384, 3, padding=1),
        relu3=nn.ReLU(),
        conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2),
        relu4=nn.ReLU(),
        conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2),
        relu5=nn.ReLU(),
        pool5=nn.MaxPool2d(3, 2),  # (B, 256, 6, 6)
        **_head(("fc1", "fc2", "fc3"), (256 * 6 * 6, 4096, 4096, 1000)),
    )


def vgg16(generator: torch.Generator | None = None) -> nn.Sequential:
    """VGG-16 (D) at its true size: 138,357,544 parameters (Table 5). (B, 3, 224, 224) -> logits (B, 1000).

    generator: source of the initial weights; None leaves PyTorch's own.
    """
    head = _head(("fc6", "fc7", "fc8"), (512 * 7 * 7, 4096, 4096, 1000))
    return _network(generator, **_vgg_blocks(64, 128, 256, 512, 512), **head)


def alexnet_32(generator: torch.Generator | None = None, width: float = 1.0) -> nn.Sequential:
    """Stand-in for AlexNet on 32 x 32 images: 5 convolutions, 3 fully connected layers. (B, 3, 32, 32) -> (B, 10).

    Most weights lie in fc1 and fc2, as in AlexNet. generator: source of the initial weights; width: factor of every
    layer's width (Table 6's naive cut makes every layer smaller).
    """
    widths = {str(i): round(full * width) for i, full in enumerate((64, 128, 192, 192, 128), 1)}
    hidden = round(768 * width)
    head = _head(("fc1", "fc2", "fc3"), (widths["5"] * 4 * 4, hidden, hidden, 10))
    return _network(generator, math.sqrt(6), **_convolutions(widths, ("1", "2", "5")), **head)


def factorised(net: nn.Sequential, rank: int, names: Sequence[str] = ("fc1", "fc2")) -> nn.Sequential:
    """A copy of `net` whose layers `names` are split in two by a truncated SVD of their weights (Table 6's SVD).

    A linear layer (O, I) becomes `name_in` (rank, I), without bias, and `name_out` (O, rank).
    """
    modules: dict[str, nn.Module] = {}
    for name, module in net.named_children():
        if name not in names:
            modules[name] = deepcopy(module)
            continue
        u, s, v = torch.linalg.svd(module.weight.detach(), full_matrices=False)
        first, second = nn.Linear(module.in_features, rank, bias=False), nn.Linear(rank, module.out_features)
        with torch.no_grad():
            first.weight.copy_(s[:rank].sqrt()[:, None] * v[:rank])
            second.weight.copy_(u[:, :rank] * s[:rank].sqrt())
            second.bias.copy_(module.bias)
        modules |= {f"{name}_in": first, f"{name}_out": second}
    return nn.Sequential(OrderedDict(modules))


def vgg16_32(generator: torch.Generator | None = None) -> nn.Sequential:
    """Stand-in for VGG-16 on 32 x 32 images: its 13 convolutions, narrower, and 3 fully connected layers.

    No batch norm. (B, 3, 32, 32) -> logits (B, 10). generator: source of the initial weights.
    """
    head = _head(("fc6", "fc7", "fc8"), (192, 1024, 1024, 10))
    return _network(generator, math.sqrt(6), **_vgg_blocks(32, 48, 128, 192, 192), **head)


def _vgg_blocks(*widths: int) -> dict[str, nn.Module]:
    """VGG-16's 13 convolutions in five blocks of these widths."""
    blocks = enumerate(zip(widths, (2, 2, 3, 3, 3)), 1)
    named = {f"{block}_{i}": width for block, (width, count) in blocks for i in range(1, count + 1)}
    return _convolutions(named, ("1_2", "2_2", "3_3", "4_3", "5_3"))


def _convolutions(widths: Mapping[str, int], pooled: Collection[str]) -> dict[str, nn.Module]:
    """3 x 3 convolutions with ReLU, their widths by number; a pooling behind those in `pooled` halves the image."""
    modules: dict[str, nn.Module] = {}
    channels = 3
    for number, width in widths.items():
        modules[f"conv{number}"] = nn.Conv2d(channels, width, 3, padding=1)
        if number in pooled:  # before the ReLU: the same values at a quarter of the cost
            modules[f"pool{number.partition('_')[0]}"] = nn.MaxPool2d(2)
        modules[f"relu{number}"] = nn.ReLU()
        channels = width
    return modules


def _head(names: tuple[str, str, str], sizes: tuple[int, int, int, int]) -> dict[str, nn.Module]:
    """Three fully connected layers, ReLU and dropout after the first two."""
    modules: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for i, name in enumerate(names):
        modules[name] = nn.Linear(sizes[i], sizes[i + 1])
        if i < 2:
            modules[f"relu_{name}"] = nn.ReLU()
            modules[f"dropout_{name}"] = nn.Dropout(0.5)
    return modules


def alexnet_torchvision(generator: torch.Generator | None = None) -> nn.Sequential:
    """torchvision's AlexNet, 61,100,840 parameters: not the paper's, which is Caffe's (`alexnet`).

    No groups and no local response normalisation, fewer filters in conv1 and conv2. (B, 3, 224, 224) -> (B, 1000).
    generator: source of the initial weights; None leaves PyTorch's own.
    """
    modules: dict[str, nn.Module] = {}
    shapes = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
    for i, (inputs, outputs, size, stride, padding) in enumerate(shapes, 1):
        modules[f"conv{i}"] = nn.Conv2d(inputs, outputs, size, stride, padding)
        modules[f"relu{i}"] = nn.ReLU()
        if i in (1, 2, 5):
            modules[f"pool{i}"] = nn.MaxPool2d(3, 2)
    modules["flatten"] = nn.Flatten()
    for i, inputs in enumerate((256 * 6 * 6, 4096), 1):
        modules |= {f"dropout{i}": nn.Dropout(), f"fc{i}": nn.Linear(inputs, 4096), f"relu_fc{i}": nn.ReLU()}
    modules["fc3"] = nn.Linear(4096, 1000)
    return _network(generator, **modules)


def _network(generator: torch.Generator | None, gain: float = 1.0, **modules: nn.Module | float) -> nn.Sequential:
    """The modules one after the other, but those that are 0, with weights from `generator` (see `initialise`)."""
    chain = OrderedDict((name, module) for name, module in modules.items() if module)
    return initialise(nn.Sequential(chain), generator, gain)


def initialise(net: nn.Module, generator: torch.Generator | None, gain: float = 1.0) -> nn.Module:
    """Draw weights uniformly from +-gain/sqrt(fan in) and biases from +-1/sqrt(fan in), in place, from `generator`.

    gain: sqrt(6) keeps the variance through ReLUs (He et al. 2015); generator: None changes nothing.
    """
    # ours: PyTorch's default range for the LeNets, He's for the stand-ins; the paper gives no initialisation
    if generator is not None:
        with torch.no_grad():
            for layer in layers(net).values():
                bound = 1 / math.sqrt(layer.weight[0].numel())
                layer.weight.uniform_(-gain * bound, gain * bound, generator=generator)
                if layer.bias is not None:
                    layer.bias.uniform_(-bound, bound, generator=generator)
    return net
