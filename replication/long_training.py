"""The training loop of long runs: DistributedDataParallel, gradient accumulation, mixed precision, checkpoints."""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from .errors import ReplicationError
from .keyed_dropout import KeyedDropout, image_keys
from .long_run import Work, evaluate
from .networks import layers
from .phases import holding, shrunk_dropout
from .photographs import Batch, Photographs, batches, key, side
from .precision import autocast, products
from .training import Training, rate_at


def train(work: Work) -> None:
    """Train the phases of the run that are not over yet, and write a checkpoint after each.

    Raises ReplicationError where the training diverges or a checkpoint cannot be written.
    """
    for training in work.run.phases[work.position.phase :]:
        with (
            holding(work.net, training.freeze),
            shrunk_dropout(work.net, work.masks if training.shrink_dropout else {}),
            products(training.precision, work.group.device),
        ):
            Phase(work, training).run()
        work.position.phase, work.position.epoch = work.position.phase + 1, 0
        with work.stop.later():
            work.save()
        if work.due()[0]:
            work.leave()


class Phase:
    """One phase: the network as every process trains it, and the optimiser."""

    def __init__(self, work: Work, training: Training):
        self.work, self.training, self.number = work, training, work.position.phase
        group, net = work.group, work.net
        self.trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
        self.optimiser = torch.optim.SGD(
            self.trained.values(),
            training.learning_rate,
            training.momentum,
            weight_decay=training.weight_decay,
            fused=True,
        )
        for name, buffer in work.momentum.items():  # laid out in memory as its weight: the fused step asks for that
            laid_out = torch.empty_like(self.trained[name]).copy_(buffer).detach()
            self.optimiser.state[self.trained[name]]["momentum_buffer"] = laid_out
        work.momentum = {}
        ids = [group.device.index] if group.device.type == "cuda" else None
        alone = group.world == 1
        self.net = net if alone else DistributedDataParallel(net, ids, gradient_as_bucket_view=True)
        self.masked = [(layer.weight, work.masks[name]) for name, layer in layers(net).items() if name in work.masks]
        self.penalised = [layer.weight for layer in layers(net).values() if layer.weight.requires_grad]
        self.dropouts = [module for module in net.modules() if isinstance(module, KeyedDropout)]

    def run(self) -> None:
        """Train the epochs that are left; a checkpoint when its time has come or the command is asked to stop."""
        position = self.work.position
        while position.epoch < self.training.epochs:
            start = time.perf_counter()
            with self.work.stop.later():
                self._epoch()
                loss = position.loss / len(self.work.parts.train.y)
                score = evaluate(self.work, self.work.parts.validation, self.training.precision)
                row = {"epoch": position.epoch + 1, "loss": loss, "seconds": time.perf_counter() - start}
                row |= {"validation_errors": score["errors"], "validation_top5_errors": score["top5_errors"]}
                position.metrics.setdefault("history", []).append(row | {"phase": self.number})
                position.epoch, position.images, position.loss = position.epoch + 1, 0, 0.0
                self._checkpoint()
        with torch.no_grad():
            for weight, _ in self.masked:
                weight.add_(0.0)  # a negative weight times its mask is -0: equal to 0, but of other bits

    def _epoch(self) -> None:
        """The rest of one pass over the training images, in the order that seed, phase and epoch give."""
        work, position, about = self.work, self.work.position, self._about()
        order = torch.Generator().manual_seed(key("order", *about))
        steps = torch.randperm(len(work.parts.train.y), generator=order).split(self.training.batch_size)
        data = Photographs(
            work.parts.train, side(work.run.network), key("crop", *about) if self.training.augment else None
        )
        left = steps[math.ceil(position.images / self.training.batch_size) :]
        parts = [part for batch in left for part, _ in self._parts(batch)]
        arriving = batches(data, [part.tolist() for part in parts], work.means.workers, work.group.device)
        self.net.train()
        total = torch.zeros((), dtype=torch.float64, device=work.group.device)
        for batch in left:
            done = (position.epoch + position.images / len(work.parts.train.y)) / self.training.epochs
            self.optimiser.param_groups[0]["lr"] = rate_at(self.training, done)
            total += self.step(batch, arriving, about)
            position.images += len(batch)
            work.means.watch(f"{work.run} phase {self.number} epoch {position.epoch} images {position.images}")
            self._checkpoint(total)
        self._collect(total)

    def _checkpoint(self, total: Tensor | None = None) -> None:
        """Save where it is time or the command is asked to stop; then leave. total: losses not yet collected."""
        stop, save = self.work.due()
        if save and total is not None:
            self._collect(total)
        if save:
            self.work.save(self._momentum())
        if stop:
            self.work.leave()

    def _about(self) -> tuple[int, int, int, int]:
        """What every random choice of this epoch follows from: seed, round, phase and epoch."""
        return self.work.run.seed, len(self.work.run.ancestors), self.number, self.work.position.epoch

    def _parts(self, batch: Tensor) -> list[tuple[Tensor, float]]:
        """This process's part of a global batch (places of images), in micro-batches with what each image counts."""
        mine = batch.tensor_split(self.work.group.world)[self.work.group.rank]
        if len(mine):
            return [(part, 1.0) for part in mine.split(self.work.means.micro)]
        return [(batch[:1], 0.0)]  # fewer images than processes: every process takes part in the sum of the gradients

    def step(self, batch: Tensor, arriving: Iterator[Batch], about: tuple) -> Tensor:
        """One step on a global batch; returns this process's summed loss."""
        parts, total = self._parts(batch), 0.0
        for number, (_, counts) in enumerate(parts):
            x, y, places = next(arriving)
            for dropout in self.dropouts:
                dropout.keys = image_keys(places, *about)
            with self._summing(number == len(parts) - 1), autocast(self.training.precision, x.device):
                loss = counts * F.cross_entropy(self.net(x).float(), y, reduction="sum")
                # DistributedDataParallel takes the mean over the processes: times their number it is the sum
                (loss * (self.work.group.world / len(batch))).backward()
            total = total + loss.detach().double()
        self._penalise()
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            for weight, mask in self.masked:
                weight.mul_(mask)
        return total

    def _summing(self, last: bool) -> AbstractContextManager:
        """Gradients are summed over the processes once a step, with the last micro-batch."""
        return nullcontext() if last or self.work.group.world == 1 else self.net.no_sync()

    @torch.no_grad()
    def _penalise(self) -> None:
        """Add the subgradient of the L1 penalty to the gradients."""
        if self.training.l1:
            for weight in self.penalised:
                weight.grad.add_(weight.sign(), alpha=self.training.l1)

    def _collect(self, total: Tensor) -> None:
        """Add the losses of all processes since the last call to the epoch's; raises ReplicationError if not finite."""
        position = self.work.position
        position.loss += self.work.group.sums(total.item())[0]
        total.zero_()
        if not math.isfinite(position.loss):
            way_out = f"lower the learning rate {self.training.learning_rate}"
            raise ReplicationError(f"training diverged in epoch {position.epoch + 1} of {self.work.run}: {way_out}")

    def _momentum(self) -> dict[str, Tensor]:
        """The optimiser's momentum by parameter."""
        buffers = {name: self.optimiser.state[p].get("momentum_buffer") for name, p in self.trained.items()}
        return {name: buffer for name, buffer in buffers.items() if buffer is not None}
