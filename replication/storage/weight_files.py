"""The weights in a file that people have: safetensors, or what torch.save wrote (.pth, .pt, .tar), by its content.

Of a checkpoint the state_dict is taken; names lose what DistributedDataParallel and torch.compile put before them;
torch.nn.utils.prune's pairs of original and mask become the pruned tensors that they mean.
"""

import pickle
import re
import warnings
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


def read(path: Path, way_out: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, and its own metadata (of safetensors; else none).

    Raises ReplicationError, which says how the file begins and then `way_out`, where it holds no such tensors.
    """
    try:
        if path.is_dir():
            raise OSError(None, "Is a directory")
        with open(path, "rb") as file:
            start = file.read(24)
    except OSError as error:
        raise ReplicationError(f"cannot read {paths.shown(path)} ({error.strerror}): {way_out}") from None
    metadata: dict[str, str] = {}
    if start[8:9] == b"{":  # where the header of safetensors begins
        state = files.load_tensors(path, way_out)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    elif start.startswith((b"PK", b"\x80")):  # an archive; a pickle, of torch before 1.6
        state = _loaded(path, way_out)
    else:
        what = f"it begins with {start!r}, as neither safetensors nor a file of torch.save does"
        raise ReplicationError(f"cannot read {paths.shown(path)} ({what}): {way_out}")
    return pruned(_unwrapped(state)), metadata


def _loaded(path: Path, way_out: str) -> dict[str, Tensor]:
    """The one state_dict in a file of torch.save, of which nothing but tensors and plain values is read."""
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's about TorchScript, which is then refused
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
