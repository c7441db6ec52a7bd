"""Weights that a dense run starts from: torchvision's, or a file's, checked to be of the wanted network."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from .. import paths
from ..errors import ReplicationError
from ..networks.connections import shapes
from ..networks.registry import TORCHVISION, build, outline
from ..runs.spec import Record
from ..storage import weight_files
from ..storage.packing import MASK
from .folder import OUTPUTS, Folder

FEWEST = 100  # classes from which on a network that knows nothing is told from one that was trained
LUCK = 5  # times as many right answers as by chance are the least that trained weights give


def load(source: str, arch: str) -> tuple[str, str, dict[str, Tensor] | None]:
    """(network, what a run's `weights` says, state_dict) of `source`: none, torchvision or a file.

    A file holds a state_dict of ours or of torchvision's model (see `weight_files`).
    Raises ReplicationError where it cannot be read or is of another architecture than `arch`.
    """
    if source == "none":
        return arch, "", None
    if source == "torchvision":
        return TORCHVISION[arch], "torchvision", torchvisions(arch).state_dict()
    place = Path(source)
    state, _ = weight_files.read(place, "give `torchvision`, `none`, or a file of tensors (.safetensors or .pth)")
    state = {_unwrapped(name): tensor for name, tensor in state.items() if not name.startswith(MASK)}
    for network in (arch, TORCHVISION[arch]):
        if shapes(state) == shapes(outline(network).state_dict()):
            break
    else:
        network, state = TORCHVISION[arch], _from_torchvision(state, arch, place)
    with place.open("rb") as file:
        return network, hashlib.file_digest(file, "sha256").hexdigest(), {k: t.float() for k, t in state.items()}


def _unwrapped(name: str) -> str:
    """The name without the `module` that PyTorch's own script for ImageNet puts before a part of the network."""
    return ".".join(part for part in name.split(".") if part != "module")


def _from_torchvision(state: dict[str, Tensor], arch: str, place: Path) -> dict[str, Tensor]:
    """torchvision's state_dict under our names; raises ReplicationError where it is none of that architecture."""
    with torch.device("meta"):
        theirs = shapes(torchvision.models.get_model(arch).state_dict())
    if shapes(state) != theirs:
        odd = next((n for n, shape in shapes(state).items() if theirs.get(n) != shape), "a missing tensor")
        problem = f"{paths.shown(place)} holds weights of another architecture than {arch} (see {odd})"
        raise ReplicationError(f"{problem}: give a state_dict of ours or of torchvision's {arch}")
    return torchvisions(arch, {name: state[name] for name in theirs}).state_dict()


def torchvisions(arch: str, state: Mapping[str, Tensor] | None = None) -> nn.Sequential:
    """torchvision's trained `alexnet` or `vgg16`, its layers named as in Tables 4 and 5.

    state: a state_dict of torchvision's model of that name; None: fetched by torchvision and kept in its cache.
    Raises ReplicationError for an unknown name, where the weights cannot be fetched, or where they are of another
    network.
    """
    if arch not in TORCHVISION:
        raise ReplicationError(f"no weights for {arch!r}: choose from {', '.join(TORCHVISION)}")
    state = state if state is not None else _fetched(arch)
    net = build(TORCHVISION[arch])
    own = net.state_dict()
    if list(shapes(own).values()) != list(shapes(state).values()):
        raise ReplicationError(f"the weights are not those of torchvision's {arch}: their shapes differ")
    net.load_state_dict(dict(zip(own, state.values())))  # both list weight and bias, layer after layer
    return net


def _fetched(arch: str) -> Mapping[str, Tensor]:
    weights = torchvision.models.get_model_weights(arch)["IMAGENET1K_V1"]
    try:
        return weights.get_state_dict(check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ReplicationError(
            f"torchvision's weights of {arch} cannot be fetched ({error}): fetch {weights.url.rsplit('/', 1)[-1]} "
            "elsewhere and put it into the folder checkpoints of `torch.hub.get_dir()`"
        ) from None


def check_classes(folder: Folder, source: str) -> None:
    """Raise ReplicationError where torchvision's weights would be read with other labels than they were trained for."""
    if source != "torchvision":
        return
    if len(folder.classes) != OUTPUTS:
        problem = (
            f"torchvision's weights know {OUTPUTS} classes, {paths.shown(folder.root)} holds {len(folder.classes)}"
        )
        raise ReplicationError(f"{problem}: give `--weights none` or a file")
    if list(folder.classes) != sorted(folder.classes):
        problem = f"torchvision's weights number the classes by name, the classes.txt of {paths.shown(folder.root)}"
        raise ReplicationError(f"{problem} does not: remove it or give `--weights none`")


def check_answers(record: Record, classes: int, source: str) -> None:
    """Raise ReplicationError where given weights answer as if by chance: the labels are in another order.

    record: of the dense run; classes: how many there are.
    """
    right = 1 - record.error() / 100
    if source != "none" and classes >= FEWEST and right < LUCK / classes:
        raise ReplicationError(
            f"the weights of {source} are right on {100 * right:.2f} % of the validation images, which is chance: the "
            "labels are in another order than in their training; put it into classes.txt"
        )
