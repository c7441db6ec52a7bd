"""Which weights the operations of a network use, whose outputs they read, and what that costs: FLOPs, densities."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ..errors import ReplicationError
from .connections import weight_parameters

SUMMED = ("calls", "flop", "inputs", "nonzero", "outputs", "output_nonzero", "images")  # of a `Probe`, over processes
OTHERS = "products of activations"  # the row of what multiplies no weight, as attention does

_ATEN = torch.ops.aten
LOOKUPS = {_ATEN.embedding, _ATEN._embedding_bag, _ATEN._embedding_bag_forward_only}
# products that PyTorch's counter does not know: each weight meets each vector of the input once
PLAIN = {_ATEN.mv, _ATEN.addmv, _ATEN._trilinear}


class Probe:
    """Counts, over all calls of one pass, what a weight reads and gives; sources: whose outputs it reads."""

    def __init__(self):
        self.calls = self.flop = self.inputs = self.nonzero = self.outputs = self.output_nonzero = self.images = 0
        self.sources: set[str] = set()

    def read(self, tensors: list[Tensor], out: Tensor, flop: int, sources: set[str]) -> None:
        """Count one call."""
        self.calls += 1
        self.flop += flop
        self.inputs += sum(t.numel() for t in tensors)
        self.nonzero += sum(int(t.count_nonzero()) for t in tensors)
        self.outputs += out.numel()
        self.output_nonzero += int(out.count_nonzero())
        self.sources |= sources


class _Watch(TorchDispatchMode):
    """Follows every operation of a network: which weights it uses, and whose outputs its other operands come from.

    Memory is told apart by its storage. owners: by storage, (start, stop, name) of the weights that lie in it, or that
    it was computed from alone, as a cast or a transposition; name: None for a bias. sources: by storage, the weights
    whose outputs it was computed from.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.probes = {name: Probe() for name in [*weight_parameters(net), OTHERS]}
        self.order: list[str] = []
        self.owners: dict[int, list[tuple[int, float, str | None]]] = {}
        self.sources: dict[int, set[str]] = {}
        self.sizes = {name: weight.numel() for name, weight in weight_parameters(net).items()}
        names = {weight: name for name, weight in weight_parameters(net).items()}
        for parameter in net.parameters():
            start = parameter.storage_offset()
            part = (start, start + parameter.numel(), names.get(parameter))
            self.owners.setdefault(_memory(parameter), []).append(part)
        self.fixed = set(self.owners)

    def enter(self, net: nn.Module, args: tuple, kwargs: dict) -> None:
        """A hook before the network's call: its images come from no layer."""
        images = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        for t in images:
            self.sources[_memory(t)] = set()
        for probe in self.probes.values():
            probe.images += len(images[0])

    def _names(self, t: Tensor) -> list[str | None]:
        return [name for start, stop, name in self.owners.get(_memory(t), ()) if start <= t.storage_offset() < stop]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        with self:  # in inference mode PyTorch does not take operations apart before they come here
            if (out := func.decompose(*args, **kwargs)) is not NotImplemented:
                return out
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        owned = [name for t in tensors for name in self._names(t)]
        free = [t for t in tensors if not self._names(t)]
        used, live = list(dict.fromkeys(filter(None, owned))), [t for t in free if _memory(t) in self.sources]
        sources = set().union(*(self.sources[_memory(t)] for t in live))
        out = func(*args, **kwargs)
        results, packet = [t for t in tree_leaves(out) if isinstance(t, Tensor)], func._overloadpacket
        if packet in flop_registry or (used and packet in LOOKUPS | PLAIN):
            used = used or [OTHERS]
            self._count(packet, args, kwargs, out, results[0], used, free, sources)
            self._mark(results, set(used))
        elif live:
            self._mark(results, sources)
        else:
            self._derive(results, owned)
        return out

    def _count(self, packet, args, kwargs, out, result: Tensor, used: list[str], free: list[Tensor], sources) -> None:
        sizes = {name: self.sizes.get(name, 1) for name in used}
        if packet in flop_registry:
            flop = flop_registry[packet](*args, **kwargs, out_val=out)
            # a product with several weights, put together before: each has its part
            edges = [flop * sum(list(sizes.values())[:i]) // sum(sizes.values()) for i in range(len(used) + 1)]
            flops = [stop - start for start, stop in pairwise(edges)]
        else:
            vectors = free[0].numel() // free[0].shape[-1] if packet in PLAIN else 0
            flops = [2 * size * vectors for size in sizes.values()]
        for name, flop in zip(used, flops):
            if not self.probes[name].calls:
                self.order.append(name)
            self.probes[name].read([] if packet in LOOKUPS else free, result, flop, sources)

    def _mark(self, results: list[Tensor], sources: set[str]) -> None:
        """Note whose outputs the results are."""
        for t in results:
            self.sources[_memory(t)] = sources
            if _memory(t) not in self.fixed:
                self.owners.pop(_memory(t), None)

    def _derive(self, results: list[Tensor], owned: list[str | None]) -> None:
        """Note that the results are computed from parameters alone, or from none."""
        for t in results:
            self.sources.pop(_memory(t), None)
            if _memory(t) in self.fixed:
                continue
            self.owners.pop(_memory(t), None)
            if owned:
                self.owners[_memory(t)] = [(0, float("inf"), name) for name in dict.fromkeys(owned)]


def _memory(t: Tensor) -> int:
    """What tells apart the memory of tensors: views of one have the same."""
    try:
        return t.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # sparse and nested tensors have none
        return id(t)


@contextmanager
def probing(net: nn.Module) -> Iterator[dict[str, Probe]]:
    """Counts, for `table`, what every weight of `net` reads and gives within the block, in the order of execution.

    Raises ReplicationError for a network of TorchScript, whose operations cannot be seen.
    """
    if isinstance(net, torch.jit.ScriptModule):
        raise ReplicationError("the network is compiled by torch.jit.script: give the module that it was made from")
    watch, probes = _Watch(net), {}
    hook = net.register_forward_pre_hook(watch.enter, with_kwargs=True)
    try:
        with _in_single_operations(net), watch:
            yield probes
        rest = [name for name in watch.probes if name not in watch.order]
        probes |= {name: watch.probes[name] for name in [*watch.order, *rest]}
    finally:
        hook.remove()


@contextmanager
def _in_single_operations(net: nn.Module) -> Iterator[None]:
    """Within the block PyTorch hides no encoder, attention or recurrent layer, with its products, in one operation."""
    fast, cudnn = torch.backends.mha.get_fastpath_enabled(), torch.backends.cudnn.enabled
    onednn = torch._C._get_mkldnn_enabled()  # torch.backends.mkldnn.flags warns of settings that it would not change
    torch.backends.mha.set_fastpath_enabled(False)
    if any(isinstance(module, nn.RNNBase) for module in net.modules()):
        torch.backends.cudnn.enabled = False
        torch._C._set_mkldnn_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.cudnn.enabled = cudnn
        torch._C._set_mkldnn_enabled(onednn)
