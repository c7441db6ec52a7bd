"""The pruned networks that come with the repository: the chosen round of each network's first seed, packed."""

import json
from pathlib import Path

import torch

from .. import paths, storage, training
from ..data import datasets
from ..networks.registry import build
from ..runs import profiles
from ..runs.profiles import Profile
from ..runs.recipes import LENETS, STAND_INS, chosen, records
from ..runs.spec import Record
from ..storage import files

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
    target = path(network)
    state = {name: t.to(DTYPES[network]) if t.dim() > 1 else t for name, t in record.tensors()[0].items()}
    storage.save_sparse(state, target)  # what the type rounds to 0 is gone, and the scores below are without it
    found = {"network": network, "run": record.key, "stage": record.stage, "rate": record.rate}
    found |= {"dtype": str(DTYPES[network]).removeprefix("torch.")}
    found |= {name: record.run[name] for name in ("dataset", "images")}
    found |= {split: score(target, found, split) for split in ("validation", "test")}
    files.replace(target.with_suffix(".json"), [json.dumps(found, indent=1).encode()])
    error = 100 * found["test"]["errors"] / found["test"]["images"]
    return f"{paths.shown(target)}: {target.stat().st_size:,} bytes, test error {error:.2f} %"


def score(packed: Path, described: dict, split: str = "test") -> dict:
    """Errors, images and loss of the network in the file `packed` on one split; described: as `about` returns it."""
    net = build(described["network"])
    net.load_state_dict({name: tensor.float() for name, tensor in storage.load_sparse(packed).items()})
    data = datasets.load(described["dataset"], described["images"])
    return training.evaluate(net, getattr(data, split))._asdict()
