"""What the commands pack, unpack and inspect do: files of weights to and from the sparse format."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from .. import paths
from ..errors import ReplicationError
from . import files, sparse_file, weight_files

MASK = "mask."  # what a run's file calls its masks by
DTYPES = [str(dtype).removeprefix("torch.") for dtype in sparse_file.VALUE_TYPES]
WAY_OUT = "name a safetensors file, such as weights.safetensors of a run, or a state_dict that torch.save wrote"
SUMMED = ["kept", "values", "index", "fillers", "total", "dense"]


def pack(
    model: Path | str, out: Path | str, bits: str = "auto", dtype: str | None = None, coding: str = "relative",
    keep_masks: bool = False,
) -> str:  # fmt: skip
    """Store the tensors of `model` (see `weight_files`) in `out`; returns a line about the sizes.

    bits: auto, paper or a number; dtype: of DTYPES, to which `save_sparse` rounds weights (None: no rounding); coding:
    relative or rice; keep_masks: store `mask.*` of a run, too. Weights that are -0 become 0 (see `unsigned`), what is
    not rounded stays as it is, bit by bit, and the file's own metadata with it, which `unpack` writes back.
    Raises ReplicationError where `model` cannot be read, is packed already or is `out`, or `out` cannot be written, and
    for the paper's widths of a relative index with rice.
    """
    _differ(model, out)
    state, metadata = weight_files.read(Path(model), WAY_OUT)
    if metadata.get("format") == sparse_file.FORMAT:
        raise ReplicationError(f"{paths.shown(Path(model))} is packed already: name a file of dense tensors")
    if not keep_masks:
        state = {name: tensor for name, tensor in state.items() if not _follows(name, state)}
    width, rounded = _bits(bits, coding), dtype and getattr(torch, dtype, dtype)
    sparse_file.save_sparse(state, out, width, rounded, coding, metadata=metadata)
    packed, dense = Path(out).stat().st_size, sum(tensor.nbytes for tensor in state.values())
    return f"{paths.shown(Path(out))}: {packed:,} bytes, {dense / packed:.1f}x smaller than its {len(state)} tensors"


def _differ(source: Path | str, out: Path | str) -> None:
    """Raise ReplicationError where both are one file, be it by a link or another way to write its path."""
    if Path(source).exists() and Path(out).exists() and Path(source).samefile(out):
        raise ReplicationError(f"{paths.shown(Path(out))} is the input itself: name another file for the output")


def _bits(text: str, coding: str) -> int | dict[int, int] | None:
    if text == "paper" and coding == "rice":
        raise ReplicationError("index width 'paper' is of relative codes: for rice choose auto or a number of bits")
    if text in ("auto", "paper"):
        return None if text == "auto" else sparse_file.PAPER_BITS
    try:
        return int(text)
    except ValueError:
        raise ReplicationError(f"index width {text!r}: choose paper, auto or a number of bits") from None


def _follows(name: str, state: dict[str, Tensor]) -> bool:
    """Whether `name` is a run's mask that its layer's zeros tell: every weight outside it is 0."""
    mask, layer = state[name], name.removeprefix(MASK)
    weight = state.get(f"{layer}.weight", state.get(layer))  # `networks.weights` names both ways
    if not name.startswith(MASK) or weight is None or mask.dtype != torch.bool or weight.shape != mask.shape:
        return False
    return not weight[~mask].any()


def unpack(packed: Path | str, out: Path | str) -> str:
    """Turn a file of the sparse format back into one of dense tensors, with its own metadata; returns a line about it.

    Raises StorageError where `packed` is missing or damaged, ReplicationError where `out` is `packed` or cannot be
    written.
    """
    _differ(packed, out)
    state, metadata = sparse_file.load_sparse(packed), sparse_file.own_metadata(packed)
    with files.replacing(Path(out)) as aside:
        files.save_tensors(aside, state, metadata)
    return f"{paths.shown(Path(out))}: {len(state)} tensors, {Path(out).stat().st_size:,} bytes"


def table(packed: Path | str) -> str:
    """The bytes of a file by tensor as text, with its header and a total. Raises StorageError as `inspect` does."""
    rows = sparse_file.inspect(packed)
    ends = {"header": {"total": rows.attrs["header"]}, "total": dict(rows[SUMMED].sum())}
    ends["total"]["total"] += rows.attrs["header"]  # the file's size
    if ends["total"]["kept"]:
        ends["total"]["bits_per_kept"] = 8 * ends["total"]["total"] / ends["total"]["kept"]
    whole = pd.concat([rows.astype(object), pd.DataFrame(ends, dtype=object).T])
    return whole[rows.columns].map(_shown).to_string()


def _shown(value: object) -> str:
    if isinstance(value, str) or pd.isna(value):
        return value if isinstance(value, str) else ""
    return f"{value:,.2f}" if isinstance(value, float) and value % 1 else f"{int(value):,}"
