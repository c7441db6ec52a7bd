"""torchvision's ImageNet weights in our networks, by name, for who can fetch them."""

from collections import OrderedDict
from collections.abc import Mapping

import torchvision
from torch import Tensor, nn

from ..errors import ReplicationError
from . import models


def alexnet() -> nn.Sequential:
    """torchvision's AlexNet, 61,100,840 parameters: not the paper's, which is Caffe's (`networks.alexnet`).

    No groups and no local response normalisation, fewer filters in conv1 and conv2. (B, 3, 224, 224) -> (B, 1000).
    """
    modules: dict[str, nn.Module] = {}
    shapes = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
    for i, (inputs, outputs, size, stride, padding) in enumerate(shapes, 1):
        modules[f"conv{i}"] = nn.Conv2d(inputs, outputs, size, stride, padding)
        modules[f"relu{i}"] = nn.ReLU()
        if i in (1, 2, 5):
            modules[f"pool{i}"] = nn.MaxPool2d(3, 2)
    modules["flatten"] = nn.Flatten()
    for i, (inputs, outputs) in enumerate(((256 * 6 * 6, 4096), (4096, 4096), (4096, 1000)), 1):
        if i < 3:
            modules[f"dropout{i}"] = nn.Dropout()
        modules[f"fc{i}"] = nn.Linear(inputs, outputs)
        if i < 3:
            modules[f"relu_fc{i}"] = nn.ReLU()
    return nn.Sequential(OrderedDict(modules))


ARCHITECTURES = {"alexnet": alexnet, "vgg16": models.vgg16}


def load(name: str, state: Mapping[str, Tensor] | None = None) -> nn.Sequential:
    """torchvision's trained `alexnet` or `vgg16`, its layers named as in Tables 4 and 5.

    state: a state_dict of torchvision's model of that name; None: fetched by torchvision and kept in its cache.
    Raises ReplicationError for an unknown name, where the weights cannot be fetched, or where they are of another
    network.
    """
    if name not in ARCHITECTURES:
        raise ReplicationError(f"no weights for {name!r}: choose from {', '.join(ARCHITECTURES)}")
    state = state if state is not None else _fetched(name)
    net = ARCHITECTURES[name]()
    own = net.state_dict()
    if [tuple(t.shape) for t in own.values()] != [tuple(t.shape) for t in state.values()]:
        raise ReplicationError(f"the weights are not those of torchvision's {name}: their shapes differ")
    net.load_state_dict(dict(zip(own, state.values())))  # both list weight and bias, layer after layer
    return net


def _fetched(name: str) -> Mapping[str, Tensor]:
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return weights.get_state_dict(check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ReplicationError(
            f"torchvision's weights of {name} cannot be fetched ({error}): fetch {weights.url.rsplit('/', 1)[-1]} "
            "elsewhere and put it into the folder checkpoints of `torch.hub.get_dir()`"
        ) from None
