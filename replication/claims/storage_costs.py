"""What sparse storage costs: bits per kept weight by index width, the entropy bound, and other formats' bytes."""

import importlib
import io
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from torch import Tensor

from .. import networks
from ..storage.gap_coding import Relative, Rice, cheapest, gaps, spill
from ..storage.sparse_file import NAMES, PAPER_BITS, SPARSE, save_sparse
from . import paper

WIDTHS = range(2, 11)
PIECE = 1 << 24  # bytes that are compressed at a time


def entropy_bound(density: float) -> float:
    """H(d)/d: the least index bits per kept weight, on average, of a mask that keeps each weight with this density."""
    rest = 1 - density
    return float(-(density * np.log2(density) + rest * np.log2(rest)) / density) if 0 < density < 1 else 0.0


def _spilled(mask: Tensor) -> tuple[int, list[int]]:
    distances, kept = gaps(mask.cpu().contiguous().reshape(-1).view(torch.int8).numpy())
    return max(kept.size, 1), spill(distances)


def mask_cost(mask: Tensor, widths: Iterable[int] = WIDTHS, value_bits: int = 32) -> pd.DataFrame:
    """Bits per kept weight beside its value, by index width: `index`, `fillers` (index and value of each), `total`.

    mask: bool, any shape; widths: bits, 1 to 16; value_bits: of a stored value. As section 5 counts, fillers included.
    """
    kept, spilled = _spilled(mask)
    rows = [{"width": b, "index": float(b), "fillers": spilled[b] * (b + value_bits) / kept} for b in widths]
    frame = pd.DataFrame(rows)
    return frame.assign(total=frame["index"] + frame.fillers)


def best_width(mask: Tensor, value_bits: int = 32) -> int:
    """The index width, 1 to 16 bits, at which `mask` costs least."""
    kept, spilled = _spilled(mask)
    return cheapest(Relative, kept, spilled, value_bits // 8)


def rice_cost(mask: Tensor) -> float:
    """Index bits per kept weight of the Rice codes with the best parameter. mask: bool, any shape."""
    kept, spilled = _spilled(mask)
    return min(b + 1 + spilled[b] / kept for b in Rice.WIDTHS)


def shapes(network: str) -> dict[str, torch.Size]:
    """The shapes of the prunable weights of `network`, by layer, without building them."""
    with torch.device("meta"):
        return {name: layer.weight.shape for name, layer in networks.layers(networks.build(network)).items()}


def uniform_masks(network: str, generator: torch.Generator, most: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Random masks of `network` at true size as (layer, bool tensor), one layer at a time.

    Every weight of a layer is kept with the density that Tables 2 to 5 print for it. most: of a layer with more weights
    than this, draw only the first outputs, about so many weights (0: all).
    """
    printed = paper.table(paper.TABLE_OF[network]).set_index("layer").weight_density_pct / 100
    for name, shape in shapes(network).items():
        outputs = min(shape[0], max(1, most // shape[1:].numel())) if most else shape[0]
        mask = torch.empty((outputs, *shape[1:]), dtype=torch.bool)
        for part in mask.view(-1).split(PIECE):
            torch.lt(torch.rand(part.shape, generator=generator), float(printed[name]), out=part)
        yield name, mask
        del mask


def uniform(network: str, generator: torch.Generator, most: int = 0) -> Iterator[tuple[str, Tensor]]:
    """`uniform_masks` with normal values where they keep a weight, as (name.weight, float32 tensor)."""
    for name, mask in uniform_masks(network, generator, most):
        yield f"{name}.weight", torch.randn(mask.shape, generator=generator).mul_(0.01).masked_fill_(~mask, 0)


def formats(state: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> pd.DataFrame:
    """Bytes of the same tensors in each format, and as a share of dense; one layer at a time is held where `state`
    is an iterator (see `uniform`).

    Biases and integers are dense in every format. csr and coo: 32-bit indices, by their arithmetic; bitmask: a bit per
    weight. All others are written and measured: torch.save, scipy.sparse.save_npz, gzip (and zstd, where it is
    installed) of the dense bytes, and ours at the paper's widths, at the cheapest widths, and in Rice codes.
    """
    bytes_of: Counter[str] = Counter()
    for name, tensor in state.items() if isinstance(state, Mapping) else state:
        bytes_of.update(_bytes(name, tensor.detach().cpu().contiguous()))
    frame = pd.DataFrame({"bytes": pd.Series(bytes_of)})
    return frame.assign(of_dense=frame["bytes"] / frame["bytes"]["dense"])


def _bytes(name: str, tensor: Tensor) -> dict[str, int]:
    data = tensor.reshape(-1).view(torch.uint8).numpy()
    sizes = dict.fromkeys(("dense", "csr", "coo", "bitmask", "npz"), data.size)
    if tensor.dim() > 1 and tensor.numel() and NAMES[tensor.dtype] in SPARSE:
        words = data.view(f"i{tensor.itemsize}").reshape(len(tensor), -1)
        kept = int(np.count_nonzero(words))
        values = kept * tensor.itemsize
        sizes |= {"csr": values + 4 * kept + 4 * len(words) + 4, "coo": values + 8 * kept}
        sizes |= {"bitmask": values + -(-words.size // 8), "npz": _npz(words)}
    return sizes | {"torch.save": _torch(name, tensor)} | _compressed(data) | _ours(name, tensor)


def _npz(words: np.ndarray) -> int:
    buffer = io.BytesIO()
    scipy.sparse.save_npz(buffer, scipy.sparse.csr_matrix(words))
    return buffer.tell()


def _torch(name: str, tensor: Tensor) -> int:
    buffer = io.BytesIO()
    torch.save({name: tensor.clone()}, buffer)
    return buffer.tell()


def _compressed(data: np.ndarray) -> dict[str, int]:
    gzip = zlib.compressobj(wbits=31)
    sizes = {"gzip": sum(len(gzip.compress(data[i : i + PIECE])) for i in range(0, data.size, PIECE))}
    sizes["gzip"] += len(gzip.flush())
    for module in ("compression.zstd", "zstandard"):  # the first is Python's own since 3.14
        try:
            return sizes | {"zstd": len(importlib.import_module(module).compress(data))}
        except ImportError:
            continue
    return sizes


def _ours(name: str, tensor: Tensor) -> dict[str, int]:
    ways = {"relative, paper's bits": {"bits": PAPER_BITS}, "relative": {}, "rice": {"coding": "rice"}}
    if tensor.dim() < 2:
        return dict.fromkeys(ways, tensor.nbytes)
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        for way, options in ways.items():
            save_sparse({name: tensor}, Path(folder) / "file", **options)
            sizes[way] = (Path(folder) / "file").stat().st_size
    return sizes
