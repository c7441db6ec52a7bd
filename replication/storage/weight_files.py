"""The weights in a file that people have: safetensors, or what torch.save wrote (.pth, .pt, .tar), by its content.

Of a checkpoint the state_dict is taken; names lose what DistributedDataParallel and torch.compile put before them;
torch.nn.utils.prune's pairs of original and mask become the pruned tensors that they mean.
"""

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from .. import paths
from ..errors import ReplicationError
from . import files

CHECKPOINT_NAMES = ("state_dict", "model_state_dict", "model", "net", "network", "module")  # the first that is there
WRAPPERS = ("module.", "_orig_mod.")
STARTS = {  # of files that hold no weights as we read them
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
    b"\x1f\x8b": "a gzip archive",
    b"\xfd7zXZ": "an xz archive",
    b"BZh": "a bzip2 archive",
    b"version https://git-lfs": "a Git LFS pointer to a file that was not fetched",
}
TAR = (257, b"ustar")


def read(path: Path, way_out: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, and its own metadata (of safetensors; else none).

    Raises ReplicationError, which says what the file is and then `way_out`, where it holds no such tensors.
    """
    try:
        kind = _kind(path)
    except OSError as error:
        raise ReplicationError(f"cannot read {paths.shown(path)} ({error.strerror}): {way_out}") from None
    if kind == "torch":
        state, metadata = _loaded(path, way_out), {}
    elif kind == "safetensors":
        state = files.load_tensors(path, way_out)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    else:
        raise ReplicationError(f"cannot read {paths.shown(path)} (it is {kind}): {way_out}")
    return pruned(_unwrapped(state)), metadata


def _kind(path: Path) -> str:
    """torch or safetensors, else what the file is, in words."""
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        return "an empty file"
    if zipfile.is_zipfile(path):
        return _kind_of_zip(path)
    if start[:1] == b"\x80" or start[8:9] == b"{":  # a pickle, of torch before 1.6; a header's first byte
        return "torch" if start[:1] == b"\x80" and start[8:9] != b"{" else "safetensors"
    if start[TAR[0] :].startswith(TAR[1]):
        return "a tar archive: unpack it first"
    known = next((kind for first, kind in STARTS.items() if start.startswith(first)), None)
    return known or ("a text" if _is_text(start) else "of no known kind")


def _kind_of_zip(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        return "a TorchScript archive: load it with torch.jit.load and save its state_dict()"
    if "data.pkl" in last:
        return "torch"
    return "an archive of NumPy arrays" if names and all(n.endswith(".npy") for n in names) else "a zip archive"


def _is_text(start: bytes) -> bool:
    try:
        text = start[:-4].decode() if len(start) == 512 else start.decode()  # the last letter may be cut
    except UnicodeDecodeError:
        return False
    return text.isprintable() or all(letter.isprintable() or letter.isspace() for letter in text)


def _loaded(path: Path, way_out: str) -> dict[str, Tensor]:
    """The one state_dict in a file of torch.save, of which nothing but tensors and plain values is read."""
    try:
        content = torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)|[Cc]lass (\S+)", str(error))
        what = (
            f"it holds an object of {(found[1] or found[2]).strip('`.,')}" if found else "it is no file of torch.save"
        )
        remedy = "save net.state_dict() where that class is known" if found else way_out
        raise ReplicationError(f"cannot read {paths.shown(path)} ({what}, no plain tensors): {remedy}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ReplicationError(f"cannot read {paths.shown(path)} (damaged: {reason}): {way_out}") from None
    found = dict(_states(content))
    name = next((name for name in ("", *CHECKPOINT_NAMES) if name in found), next(iter(found), None))
    if name is None or (len(found) > 1 and name not in CHECKPOINT_NAMES):
        several = f"several networks, {', '.join(found)}: save the one that you mean by itself" if found else ""
        what = f"{type(content).__name__} without a state_dict (tensors by name): {way_out}"
        raise ReplicationError(f"cannot read {paths.shown(path)}: it holds {several or what}")
    return found[name]


def _states(content: object, name: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping of names to tensors, and to nothing else, in what was saved, by the names that lead there."""
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        return
    if all(isinstance(value, Tensor) for value in content.values()):
        yield name, dict(content)
        return
    for key, value in content.items():
        yield from _states(value, f"{name}.{key}" if name else key)


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with the names that the network has by itself."""
    for wrapper in WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            return _unwrapped({name.removeprefix(wrapper): tensor for name, tensor in state.items()})
    return state


def pruned(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with NAME, original times mask, in the place of torch.nn.utils.prune's NAME_orig and NAME_mask."""
    plain = {}
    for name, tensor in state.items():
        stem, _, end = name.rpartition("_")
        original, mask = state.get(f"{stem}_orig"), state.get(f"{stem}_mask")
        paired = original is not None and mask is not None and original.shape == mask.shape and stem not in state
        if not paired or end not in ("orig", "mask"):
            plain[name] = tensor
        elif end == "orig":
            plain[stem] = (original * mask.to(original.dtype)).masked_fill(mask == 0, 0)
    return plain
