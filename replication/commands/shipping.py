"""The pruned networks that come with the repository: the chosen round of each network's first seed, packed."""

import json
from pathlib import Path

import torch

from .. import paths, storage, training
from ..data import datasets
from ..errors import ReplicationError
from ..networks.registry import build
from ..runs import profiles, store
from ..runs.profiles import Profile
from ..runs.recipes import LENETS, STAND_INS, chosen, records
from ..runs.spec import Record
from ..storage import files
from ..training.processes import hashed

# ours: both LeNets bit by bit; the stand-ins' weights rounded to float16, so that all four stay below 3 MB
DTYPES = dict.fromkeys(LENETS, torch.float32) | dict.fromkeys(STAND_INS.values(), torch.float16)


def path(network: str) -> Path:
    """Where the packed network lies."""
    return paths.MODELS / f"{network}.sparse.safetensors"


def about(network: str) -> dict:
    """What NETWORK.sparse.json says: run, stage, rate, dtype, dataset, images, and the scores of the file."""
    return json.loads(path(network).with_suffix(".json").read_text("utf-8"))


def ship(profile: Profile) -> list[str]:
    """Pack the chosen round of the first seed of all four networks; returns a line about each.

    Beside each file, NETWORK.sparse.json says which run it is, and what it scores when read back. Runs that are missing
    are computed. Raises ReplicationError where a file cannot be written.
    """
    first = profiles.get(profile.name, 1)
    return [_ship(network, chosen(records(network, first)[0])) for network in DTYPES]


def _ship(network: str, record: Record) -> str:
    target, state = path(network), record.tensors()[0]
    if DTYPES[network] == torch.float16:
        state = {name: store.half(t) if t.dim() > 1 else t for name, t in state.items()}
    storage.save_sparse(state, target)
    found = {"network": network, "run": record.key, "stage": record.stage, "rate": record.rate}
    found |= {"dtype": str(DTYPES[network]).removeprefix("torch.")}
    found |= {name: record.run[name] for name in ("dataset", "images")}
    found |= {split: score(target, found, split) for split in ("validation", "test")}
    files.replace(target.with_suffix(".json"), [json.dumps(found, indent=1).encode()])
    error = 100 * found["test"]["errors"] / found["test"]["images"]
    return f"{paths.shown(target)}: {target.stat().st_size:,} bytes, test error {error:.2f} %"


def problems() -> list[str]:
    """What is wrong with the packed networks and their descriptions, in a line each; scoring them takes too long."""
    found = []
    for network in DTYPES:
        packed, way_out = path(network), f"restore them with `git checkout -- {paths.shown(paths.MODELS)}`"
        try:
            if not _fits(network, about(network), storage.load_sparse(packed)):
                raise ValueError("they do not fit each other")
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError, ReplicationError) as error:
            names = f"{paths.shown(packed)} or its description {packed.with_suffix('.json').name}"
            found.append(f"{names} is damaged ({type(error).__name__}: {error}): {way_out}")
    return found


def _fits(network: str, said: dict, state: dict[str, torch.Tensor]) -> bool:
    """True where the packed tensors are those of the described network and of its run, if that one is recorded."""
    masks = store.nonzero(state)
    kept = sum(int(mask.sum()) for mask in masks.values())
    if store.place(said["run"]) == "recorded":
        given = store.load_record(said["run"])
        if (given["stage"], given["metrics"]["masks"]) != (said["stage"], hashed(masks)):
            return False
    shapes = [{name: t.shape for name, t in each.items()} for each in (state, build(network).state_dict())]
    total = sum(mask.numel() for mask in masks.values())
    return said["network"] == network and shapes[0] == shapes[1] and round(total / said["rate"]) == kept


def score(packed: Path, described: dict, split: str = "test") -> dict:
    """Errors, images and loss of the network in the file `packed` on one split; described: as `about` returns it."""
    net = build(described["network"])
    net.load_state_dict({name: tensor.float() for name, tensor in storage.load_sparse(packed).items()})
    data = datasets.load(described["dataset"], described["images"])
    return training.evaluate(net, getattr(data, split))._asdict()
