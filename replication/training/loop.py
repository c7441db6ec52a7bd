"""One training loop: dense, L1, L2 and masked training, in memory or from files, on one process or many."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.sgd import sgd

from ..data.datasets import Split, check_split
from ..errors import ReplicationError
from ..networks.connections import check_masks, check_values, evaluating, prunable, weight_parameters
from .checkpoints import Progress
from .evaluation import answers, check_answers, check_last_batch
from .machine import autocast, matmul_precision
from .phases import Training, fixed_front, frozen, rate_at, shrunk_dropout
from .processes import ALONE, KeyedDropout, ProcessGroup
from .sources import InMemory, MicroBatch, Source


def train(
    net: nn.Module,
    split: Split | Source,
    settings: Training,
    generator: torch.Generator,
    masks: Mapping[str, Tensor] | None = None,
    after_epoch: Callable[[dict], None] = lambda row: None,
    *,
    group: ProcessGroup = ALONE,
    progress: Progress | None = None,
    momentum: Mapping[str, Tensor] | None = None,
    after_step: Callable[["Trainer"], None] = lambda trainer: None,
) -> list[dict]:
    """Train `net` in place on `split` and return one row per epoch: epoch, loss (mean per image), seconds.

    generator: gives the order of the images; masks: bool, by layer name, shaped as the weights. Weights whose mask is
    False are set to zero before the first step and after every step, so momentum and weight decay cannot revive them.
    after_epoch: called with each row.
    For a training that goes on from a checkpoint: group: the processes that train; progress: where it stands (epoch,
    images and loss count on); momentum: by parameter; after_step: called after every step and every epoch.
    Raises ReplicationError where the loss is no longer finite, a mask does not fit, or network and images do not.
    """
    check_values(net)
    if not hasattr(split, "batches"):
        check_split(split)
    masks, history, progress = masks or {}, [], progress or Progress()
    known = weight_parameters(net) if masks else {}
    check_masks(known, masks)
    # as factors laid out as the weights, which is faster
    keep = {known[name]: torch.zeros_like(known[name]).copy_(mask) for name, mask in masks.items()}
    source, rest = split, net
    if isinstance(split, Split):
        with autocast(settings.precision, split.x.device), evaluating(net), torch.no_grad():
            answers(net.eval(), split.x[:2], split.y)  # whether they fit; some networks take no image alone
        front, rest = fixed_front(net, settings.freeze)
        check_last_batch(front, rest, split.x[:1], len(split.y), settings)
        source = InMemory(split, front, generator)
    _hold(keep)
    with (
        torch.enable_grad(),
        frozen(net, settings.freeze),
        shrunk_dropout(net, masks if settings.shrink_dropout else {}),
        matmul_precision(settings.precision, next(net.parameters()).device),
    ):
        held, keep = list(keep), {weight: mask for weight, mask in keep.items() if weight.requires_grad}
        trainer = Trainer(rest, settings, keep, progress, len(source), group, momentum or {}, source is not split)
        while progress.epoch < settings.epochs:
            start = time.perf_counter()
            net.train()
            for part in source.batches(progress, settings):
                trainer.step(part)
                if part.last:
                    after_step(trainer)
            loss = trainer.collect() / len(source)
            history.append({"epoch": progress.epoch + 1, "loss": loss, "seconds": time.perf_counter() - start})
            after_epoch(history[-1])
            progress.epoch, progress.images, progress.loss = progress.epoch + 1, 0, 0.0
            after_step(trainer)
    with torch.no_grad():
        for weight in held:
            weight.add_(0.0)  # a negative weight times its mask is -0: equal to 0, but of other bits
    return history


class Optimiser:
    """torch's fused SGD called as a function, without what `torch.optim.SGD` looks up anew at every step.

    momentum: by the name of the parameter; left out: it starts at rest.
    """

    def __init__(self, net: nn.Module, settings: Training, momentum: Mapping[str, Tensor]):
        self.settings = settings
        trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
        if not trained:
            raise ReplicationError("no parameter of the network is trained: requires_grad is False for all of them")
        for name, parameter in trained.items():
            _check_trainable(name, parameter)
        self.parameters = list(trained.values())
        self.momentum = {name: torch.zeros_like(p) for name, p in trained.items()}
        # laid out alike, but for a parameter with gaps in its memory: through those, the fused step would go as well
        self.fused = all(m.stride() == p.stride() for m, p in zip(self.momentum.values(), self.parameters))
        for name, tensor in momentum.items():
            self.momentum[name].copy_(tensor)
        weights = weight_parameters(net) if settings.l1 else {}
        self.penalised = {weights[name] for name in prunable(net)} if settings.l1 else set()  # what can be pruned

    def accumulated(self) -> list[Tensor | None]:
        """The gradients that `backward` has left, which starts anew."""
        gradients = [p.grad for p in self.parameters]
        for p in self.parameters:
            p.grad = None
        return gradients

    @torch.no_grad()
    def step(self, gradients: list[Tensor | None], learning_rate: float) -> None:
        """Go one step down the gradients; a parameter without one stays as it is."""
        parts = zip(self.parameters, gradients, self.momentum.values())
        parts = [each for each in parts if each[1] is not None]
        for parameter, gradient, _ in parts:
            if parameter in self.penalised:  # the subgradient of l1 * |w|, as Caffe's L1 regularisation has it
                gradient.add_(parameter.sign(), alpha=self.settings.l1)
        sgd(
            *map(list, zip(*parts)),
            fused=self.fused,
            foreach=False,
            weight_decay=self.settings.weight_decay,
            momentum=self.settings.momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


def _check_trainable(name: str, parameter: Tensor) -> None:
    """Raise ReplicationError for a parameter that no step of the optimiser can change as it is."""
    if parameter.is_complex():
        way_out = "hold its real and imaginary part, torch.view_as_real(...), as a parameter"
        raise ReplicationError(f"{name} is complex, and training is for real weights: {way_out}")
    repeats = any(size > 1 and not step for size, step in zip(parameter.shape, parameter.stride()))
    if repeats or parameter.is_inference():
        kind = "has elements that share their memory" if repeats else "was made in inference mode"
        raise ReplicationError(f"{name} {kind}: give it memory of its own, nn.Parameter({name}.detach().clone())")


def gradients(loss: Tensor, parameters: list[Tensor]) -> list[Tensor | None]:
    """The gradients by the parameters, laid out as these: the optimiser goes through both in step. None: no part.

    Without `.grad` and its hooks, which cost as much as a small network's step.
    """
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    found = [gradient.to_dense() if gradient is not None and gradient.is_sparse else gradient for gradient in found]
    return [
        gradient
        if gradient is None or gradient.stride() == parameter.stride()
        else torch.empty_like(parameter).copy_(gradient)
        for parameter, gradient in zip(parameters, found)
    ]


class Trainer:
    """One phase: `net` as every process trains it, its optimiser, and the losses since they were last collected.

    keep: masks, as factors, by weight; progress: kept up to date; images: of an epoch; group, momentum: as for `train`;
    checked: whether the network is known to answer the classes of all labels.
    """

    def __init__(self, net, settings: Training, keep, progress: Progress, images: int, group, momentum, checked=False):
        self.settings, self.keep, self.progress, self.group, self.checked = settings, keep, progress, group, checked
        self.optimiser = Optimiser(net, settings, momentum)
        self.steps = math.ceil(images / settings.batch_size)  # of an epoch
        self.dropouts = [module for module in net.modules() if isinstance(module, KeyedDropout)]
        ids = [group.device.index] if group.device.type == "cuda" else None
        self.net = net if group.world == 1 else DistributedDataParallel(net, ids, gradient_as_bucket_view=True)
        self.losses: list[Tensor] = []
        self.counts: list[int] = []

    def step(self, part: MicroBatch) -> None:
        """Take up the gradients of a micro-batch; with the last one go one step down the mean loss of the batch."""
        for dropout in self.dropouts:
            dropout.keys = part.keys
        torch.clear_autocast_cache()  # of the weights before the last step, where train was called within autocast
        # gradients are summed over the processes once a step, with the last micro-batch
        with nullcontext() if part.last or self.group.world == 1 else self.net.no_sync():
            with autocast(self.settings.precision, part.x.device):
                logits = self.net(part.x)
            # on a graphics card, which would have to be waited for, once an epoch
            if not self.checked and (not self.losses or part.y.device.type == "cpu"):
                check_answers(logits, len(part.y), part.y)
            loss = F.cross_entropy(logits.float(), part.y)
            whole = part.counts == part.batch_size and self.group.world == 1
            if not whole:
                # DistributedDataParallel takes the mean over the processes: times their number it is the sum
                (loss * (self.group.world * part.counts / part.batch_size)).backward()
        self.losses.append(loss.detach())
        self.counts.append(part.counts)
        if part.last:
            step = self.progress.images // self.settings.batch_size
            done = (self.progress.epoch * self.steps + step) / (self.settings.epochs * self.steps)
            found = gradients(loss, self.optimiser.parameters) if whole else self.optimiser.accumulated()
            self.optimiser.step(found, rate_at(self.settings, done))
            _hold(self.keep)
            self.progress.images += part.batch_size

    def collect(self) -> float:
        """Add the losses of all processes to those of the epoch in `progress`, which are returned, summed by image.

        Raises ReplicationError where they are not finite.
        """
        counts = torch.tensor(self.counts, dtype=torch.float64)  # the last batch may be smaller
        total = (torch.stack(self.losses).double().cpu() @ counts).item() if self.losses else 0.0
        self.progress.loss += self.group.all_reduce(total)[0]
        self.losses, self.counts = [], []
        if not math.isfinite(self.progress.loss):
            way_out = f"lower the learning rate {self.settings.learning_rate}"
            raise ReplicationError(f"training diverged in epoch {self.progress.epoch + 1}: {way_out}")
        return self.progress.loss


@torch.no_grad()
def _hold(keep: Mapping[Tensor, Tensor]) -> None:
    """Multiply each weight by its mask, in place."""
    if keep:
        torch._foreach_mul_(list(keep), list(keep.values()))
