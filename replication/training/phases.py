"""One phase of training: its settings, and what it holds fixed: whole layers (section 3.3), the dropout rule (3.2)."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from ..errors import ReplicationError
from ..networks.connections import PRUNABLE, layers, sequence
from ..specs import LATER, check, check_name
from .machine import PRECISIONS

FROZEN = {"": (), "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d), "fc": (nn.Linear,)}  # kinds of layers, by name
RANDOM = (_DropoutNd, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)
SCHEDULES: dict[str, Callable[[float], float]] = {  # factor of the learning rate by the share of training done
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}


@dataclass(frozen=True)
class Training:
    """How a network is trained: stochastic gradient descent with momentum on the cross-entropy.

    epochs: passes over the training split, 0 for none; learning_rate: the initial one; schedule: a name in SCHEDULES;
    warmup: share of the steps with a linearly rising rate; weight_decay: L2 strength; l1: L1 strength (weights only);
    augment: mirror and shift the images (see `sources.augmented`); precision: a name in `machine.PRECISIONS`;
    freeze: "conv" or "fc", the layers that stay as they are; shrink_dropout: by the rule of section 3.2.
    """

    epochs: int
    learning_rate: float
    schedule: str = "cosine"
    warmup: float = 0.0
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    l1: float = 0.0
    augment: bool = False
    precision: str = "float32"
    freeze: str = field(default="", metadata=LATER)
    shrink_dropout: bool = field(default=False, metadata=LATER)

    def __post_init__(self):
        check_name("schedule", self.schedule, SCHEDULES)
        check_name("precision", self.precision, PRECISIONS)
        check_name("freeze", self.freeze, FROZEN)
        check("epochs", self.epochs, whole=True)
        check("batch_size", self.batch_size, 1, whole=True)
        for name in ("learning_rate", "weight_decay", "l1", "momentum", "warmup"):
            check(name, getattr(self, name), most=1 if name in ("momentum", "warmup") else math.inf)
            object.__setattr__(self, name, float(getattr(self, name)))  # 1 and 1.0 are one setting and give one key


def rate_at(settings: Training, done: float) -> float:
    """The learning rate when the share `done` (0 to 1) of the training is over."""
    rise = min(1.0, done / settings.warmup) if settings.warmup else 1.0
    return settings.learning_rate * rise * SCHEDULES[settings.schedule](done)


@contextmanager
def frozen(net: nn.Module, kind: str) -> Iterator[None]:
    """Within the block, the layers of this kind (a name in FROZEN) take no gradients."""
    # paper: section 3.3: the CONV layers are fixed while the FC layers retrain, and the reverse
    fixed = [layer for layer in layers(net).values() if isinstance(layer, FROZEN[kind])]
    before = [(parameter, parameter.requires_grad) for layer in fixed for parameter in layer.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, needed in before:
            parameter.requires_grad_(needed)


def fixed_front(net: nn.Module, kind: str) -> tuple[nn.Module, nn.Module]:
    """`net` as (front, rest): front holds nothing that is trained while the layers of this kind are fixed.

    What the front computes is the same in every epoch, and can be computed once: it ends before dropout, and before a
    module that is not PyTorch's own, which may be random as well. Nothing frozen: an empty front.
    """
    parts = list(sequence(net).items()) if kind else []
    if not parts:
        return nn.Sequential(), net
    for position, (_, part) in enumerate(parts):
        fixed = [layer for layer in layers(nn.Sequential(part)).values() if isinstance(layer, FROZEN[kind])]
        known = {parameter for layer in fixed for parameter in layer.parameters()}
        random = not all(map(_gives_the_same, part.modules()))
        if random or any(p not in known for p in part.parameters()) or any(True for _ in part.buffers()):
            return tuple(nn.Sequential(OrderedDict(each)) for each in (parts[:position], parts[position:]))
    raise ReplicationError(f"every layer of the network is of the kind {kind!r}: nothing is left to train")


def _gives_the_same(module: nn.Module) -> bool:
    """Whether a module is known to put out the same whenever it is given the same."""
    return type(module).__module__.startswith("torch.nn.modules.") and not isinstance(module, RANDOM)


@contextmanager
def shrunk_dropout(net: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the block every dropout drops `Do sqrt(Cir / Cio)`, C the connections of the layer called before it.

    masks: bool by layer name; a layer without a mask is dense. Restores the rates afterwards.
    """
    # paper: section 3.2: the dropout rate shrinks with the square root of the kept connections
    densities = {layer: masks[name].float().mean().item() for name, layer in layers(net).items() if name in masks}
    rates, density, root = {}, 1.0, id(net)  # torch.compile does not want `net` itself in a hook

    def reach(module: nn.Module, *_) -> None:
        nonlocal density
        if id(module) == root or isinstance(module, PRUNABLE):
            density = densities.get(module, 1.0)
        elif isinstance(module, nn.MultiheadAttention):  # calls none of its layers
            density = densities.get(module.out_proj, 1.0)
        elif isinstance(module, nn.Dropout):
            module.p = rates.setdefault(module, module.p) * density**0.5

    parts, hooks = list(net.modules()), []
    for module in parts:
        reach(module)
    # only plain sequences call their modules in the order of definition
    if densities and not all(sequence(module) or not module._modules for module in parts):
        hooks = [module.register_forward_pre_hook(reach) for module in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, rate in rates.items():
            module.p = rate
