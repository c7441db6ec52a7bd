"""Several processes that compute one run: who they are, what they must agree on (torch.distributed), and dropout that
depends on the image alone: the same units fall out however the images are spread over processes."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from ..errors import ReplicationError
from . import machine

T = TypeVar("T")
LOW = 0xFFFFFFFF  # the lower 32 bits
CPU = torch.device("cpu")
PATIENCE = timedelta(hours=2)  # for a process that does something alone, as the first does when it writes


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of one command. rank: this one's number; world: how many; local: how many on this machine."""

    rank: int = 0
    world: int = 1
    local: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """True in the process that reads and writes the store."""
        return self.rank == 0

    def broadcast(self, value: T) -> T:
        """The first process's value, in every process."""
        if self.world == 1:
            return value
        box = [value if self.first else None]
        dist.broadcast_object_list(box, 0, device=CPU)
        return box[0]

    def all_gather(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def on_first(self, work: Callable[[], T]) -> T:
        """What `work` returns, done by the first process alone; a ReplicationError in it is raised in every process."""
        result, problem = None, None
        if self.first:
            try:
                result = work()
            except ReplicationError as error:
                problem = str(error)
        result, problem = self.broadcast((result, problem))
        self.raise_everywhere(problem, everywhere=True)
        return result

    def raise_everywhere(self, problem: str | None, everywhere: bool = False) -> None:
        """Raise ReplicationError in every process where any has a problem; all but the first mark it `reported`.

        everywhere: every process has the same problem or none.
        """
        problem = problem if everywhere else next(filter(None, self.all_gather(problem)), None)
        if problem:
            error = ReplicationError(problem)
            error.reported = not self.first
            raise error

    def all_reduce(self, *values: float) -> list[float]:
        """Each value summed over the processes, in float64: whole numbers stay exact."""
        total = torch.tensor(values, dtype=torch.float64)
        if self.world > 1:
            dist.all_reduce(total)
        return total.tolist()

    def any(self, *flags: bool) -> list[bool]:
        """Each flag, True where it is so in any process."""
        return [value > 0 for value in self.all_reduce(*flags)]

    def broadcast_tensors(self, tensors: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """The first process's tensors, on every process's device; the others give None."""
        shapes = self.broadcast({k: (tuple(t.shape), t.dtype) for k, t in tensors.items()} if self.first else None)
        result = {}
        for name, (shape, dtype) in shapes.items():
            whole = (
                tensors[name].to(self.device).contiguous()
                if self.first
                else torch.empty(shape, dtype=dtype, device=self.device)
            )
            if self.world > 1:
                dist.broadcast(whole.view(torch.uint8) if dtype == torch.bool else whole, 0)
            result[name] = whole
        return result

    def check_masks(self, masks: Mapping[str, Tensor]) -> str:
        """The hash of the masks; raises ReplicationError unless every process has the same ones."""
        hashes = self.all_gather(hashed(masks))
        other = [rank for rank, value in enumerate(hashes) if value != hashes[0]]
        if other:
            way_out = "repeat the command to go on from the last checkpoint"
            raise ReplicationError(f"processes {other} hold other masks than the first ({hashes}): {way_out}")
        return hashes[0]


def hashed(masks: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that tell masks (bool, by layer) apart."""
    digest = hashlib.sha256()
    for name in sorted(masks):
        digest.update(f"{name} {tuple(masks[name].shape)}".encode())
        digest.update(np.packbits(masks[name].flatten().cpu().numpy()).tobytes())
    return digest.hexdigest()[:16]


ALONE = ProcessGroup()  # this process alone


@contextmanager
def processes() -> Iterator[ProcessGroup]:
    """The group that torchrun's environment describes, or this process alone.

    gloo on processors; on GPUs nccl for what lies on them. Raises ReplicationError for an incomplete environment.
    """
    device = machine.device()
    if "RANK" not in os.environ:
        yield ProcessGroup(device=device)
        return
    try:
        rank, world, own, local = (
            int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        )
    except (KeyError, ValueError) as error:
        raise ReplicationError(f"torchrun's variable {error} is missing or no number: start it by torchrun") from None
    if device.type == "cuda":
        if own >= torch.cuda.device_count():
            way_out = f"--nproc-per-node {torch.cuda.device_count()}"
            raise ReplicationError(f"process {own} has no GPU of its own: start with {way_out}")
        device = torch.device("cuda", own)
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield ProcessGroup(rank, world, local, device)
    finally:
        dist.destroy_process_group()


def shard(total: int, group: ProcessGroup) -> range:
    """This process's part of `total` things: each belongs to exactly one process, the counts differ by one at most."""
    return range(group.rank, total, group.world)


def mixed(x: Tensor) -> Tensor:
    """Numbers of 32 bits, in int64, turned into others that look random: the same on every device.

    A xor-shift-multiply hash; products wrap around, which leaves their lower 32 bits right.
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> shift)) * factor) & LOW
    return x ^ (x >> 16)


class KeyedDropout(nn.Dropout):
    """nn.Dropout whose choice is a function of (layer, image's key, unit).

    number: of this layer, so that two layers choose differently; keys: of the images in the next batch, int64 (B,).
    """

    def __init__(self, p: float, number: int):
        super().__init__(p)
        self.number, self.keys = number, None

    def forward(self, x: Tensor) -> Tensor:
        """x (B, units) with units set to zero at the rate p and the others scaled by 1 / (1 - p); in training only."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0
        return x * self.kept(x.shape[1]).to(x.dtype) / (1 - self.p)

    def kept(self, units: int) -> Tensor:
        """Which units stay, bool (B, units)."""
        columns = mixed(torch.arange(units, device=self.keys.device) + (self.number << 20))
        return mixed(self.keys[:, None] ^ columns) >= int(self.p * 2**32)


def keyed(net: nn.Sequential) -> list[KeyedDropout]:
    """Put a KeyedDropout in the place of every nn.Dropout of `net`; returns them in order."""
    found = []
    for name, module in list(net.named_children()):
        if isinstance(module, nn.Dropout):
            found.append(KeyedDropout(module.p, len(found)))
            setattr(net, name, found[-1])
    return found
