"""Files of weights as people have them: what is taken from each, and what is said of the others."""

import gzip
import io
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from replication import storage
from replication.commands.main import main
from replication.errors import ReplicationError
from replication.storage import packing, weight_files

WAY_OUT = "name another file"


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 10))


STATE = network().state_dict()
OTHER = network(1).state_dict()
ADAM = torch.optim.Adam(network().parameters())
ADAM.step(lambda: sum(p.sum() for g in ADAM.param_groups for p in g["params"]).backward() or torch.tensor(0.0))


def wrapped(state: dict[str, Tensor], before: str) -> dict[str, Tensor]:
    return {before + name: tensor for name, tensor in state.items()}


def same(found: dict[str, Tensor], state: dict[str, Tensor]) -> bool:
    return list(found) == list(state) and all(torch.equal(found[n], state[n]) for n in state)


CONTENTS = {
    "state_dict": STATE,
    "plain dict": dict(STATE),
    "checkpoint": {"epoch": 3, "state_dict": STATE, "optimizer": ADAM.state_dict()},
    "model": {"model": STATE, "optimizer": ADAM.state_dict(), "args": {"lr": 0.1}},
    "own name": {"epoch": 3, "weights": STATE, "best": torch.tensor(0.5)},
    "deep": {"train": {"epoch": 1, "net": STATE}},
    "with an epoch": {**STATE, "epoch": 3, "note": "best", "best": 0.5, "_extra_state": None},
    "no extra state": {"model": {**STATE, "_extra_state": None}, "ema": {"shadow": torch.ones(3)}},
    "random generator": {"model": STATE, "rng_state": torch.get_rng_state(), "best": torch.tensor(0.5)},
    "losses": {"state_dict": STATE, "losses": torch.ones(9), "args": {"lr": 0.1}},
    "optimiser alone beside it": {"mine": STATE, "optimizer": ADAM.state_dict()},
    "beside its average": {"ema": OTHER, "state_dict": STATE},
    "parallel": wrapped(STATE, "module."),
    "parallel checkpoint": {"epoch": 3, "state_dict": wrapped(STATE, "module.")},
    "compiled": wrapped(STATE, "_orig_mod."),
    "compiled and parallel": wrapped(STATE, "_orig_mod.module."),
    "parameters": dict(network().named_parameters()) | dict(network().named_buffers()),
}


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("ending", ["pth", "tar"])
def test_state_dict_is_found(tmp_path: Path, name: str, old_format: bool, ending: str):
    path = tmp_path / f"file.{ending}"
    torch.save(CONTENTS[name], path, _use_new_zipfile_serialization=not old_format)
    found, metadata = weight_files.read(path, WAY_OUT)
    assert metadata == {}
    expected = STATE if name != "parameters" else {k: STATE[k] for k in CONTENTS[name]}
    assert same(found, expected)


def test_only_a_prefix_of_every_name_is_taken_off(tmp_path: Path):
    state = {"module.weight": torch.ones(2), "bias": torch.ones(2)}
    torch.save(state, tmp_path / "file")
    assert same(weight_files.read(tmp_path / "file", WAY_OUT)[0], state)


def test_safetensors_keep_their_metadata(tmp_path: Path):
    save_file(wrapped(STATE, "module."), tmp_path / "file.bin", {"note": "mine"})
    found, metadata = weight_files.read(tmp_path / "file.bin", WAY_OUT)
    assert metadata == {"note": "mine"}
    assert found.keys() == STATE.keys() and all(torch.equal(found[n], STATE[n]) for n in STATE)


@pytest.mark.parametrize("form", ["torch", "safetensors", "parallel checkpoint"])
def test_pruned_state_is_packed_as_what_it_means(tmp_path: Path, form: str):
    net = network()
    prune.l1_unstructured(net[0], "weight", 20)
    prune.random_unstructured(net[3], "weight", 150)
    prune.l1_unstructured(net[3], "bias", 4)
    state, path = net.state_dict(), tmp_path / "file"
    expected = {name: tensor.detach() for name, tensor in STATE.items()}
    expected |= {"0.weight": net[0].weight.detach(), "3.weight": net[3].weight.detach(), "3.bias": net[3].bias.detach()}
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state if form == "torch" else {"state_dict": wrapped(state, "module.")}, path)
    line = packing.pack(path, tmp_path / "packed")
    found = storage.load_sparse(tmp_path / "packed")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert int(found["3.weight"].count_nonzero()) == 10
    assert not found["3.weight"][found["3.weight"] == 0].signbit().any()
    dense = sum(tensor.nbytes for tensor in expected.values())
    size = (tmp_path / "packed").stat().st_size
    assert line == f"{tmp_path / 'packed'}: {size:,} bytes, {dense / size:.1f}x smaller than its 9 tensors"
    network().load_state_dict(found)


def test_weights_that_are_not_finite_are_pruned_all_the_same():
    state = {"w_orig": torch.tensor([torch.inf, torch.nan, -1.0, 2.0]), "w_mask": torch.tensor([0.0, 0, 0, 1])}
    assert weight_files.pruned(state)["w"].tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize(
    "state", [{"w_orig": 3}, {"w_mask": 3}, {"w_orig": 3, "w_mask": 4}, {"w_orig": 3, "w_mask": 3, "w": 3}]
)
def test_what_is_no_pair_stays(state: dict[str, int]):
    tensors = {name: torch.ones(size) for name, size in state.items()}
    assert same(weight_files.pruned(tensors), tensors)


class Own:
    """A class that a file of weights may not name."""


def archive(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=out, mode="w") as file:
            file.addfile(tarfile.TarInfo("weights"))
    elif kind == "zip":
        with zipfile.ZipFile(out, "w") as file:
            file.writestr("readme", "words")
    elif kind == "npz":
        np.savez(out, w=np.ones(3))
    elif kind == "npy":
        np.save(out, np.ones(3))
    else:
        with zipfile.ZipFile(out, "w") as file:  # as torch.jit.save lays it out
            for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
                file.writestr(f"net/{name}", b"\x80\x02}.")
    return out.getvalue()


def saved(content: object) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


OTHERS = {
    "empty": (b"", "(it is an empty file): name a"),
    "text": ("Worte über Gewichte\n".encode() * 40, "(it is a text): name a"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(600), "(it is an HDF5 file): name a"),
    "npy": (archive("npy"), "(it is a NumPy array): name a"),
    "npz": (archive("npz"), "(it is an archive of NumPy arrays): name a"),
    "zip": (archive("zip"), "(it is a zip archive): name a"),
    "tar": (archive("tar"), "(it is a tar archive: unpack it first): name a"),
    "gzip": (gzip.compress(saved(STATE)), "(it is a gzip archive): name a"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "(it is a Git LFS pointer to a file that was not fetched)",
    ),
    "script": (archive("jit"), "(it is a TorchScript archive: load it with torch.jit.load and save its state_dict())"),
    "noise": (b"\x01\xfe" * 300, "(it is of no known kind): name a"),
    "object": (
        saved({"net": Own()}),
        "(it holds an object of test_weight_files.Own, no plain tensors): save net.state_d",
    ),
    "module": (
        saved(nn.Linear(2, 2)),
        "(it holds an object of torch.nn.modules.linear.Linear, no plain tensors): save",
    ),
    "list": (saved([torch.ones(3)]), ": it holds list without a state_dict (tensors by name): name a"),
    "tensor": (saved(torch.ones(3)), ": it holds Tensor without a state_dict (tensors by name): name a"),
    "nothing": (saved({}), ": it holds dict without a state_dict (tensors by name): name a"),
    "optimiser": (saved(ADAM.state_dict()), ": it holds dict without a state_dict (tensors by name): name a"),
    "two": (saved({"a": STATE, "b": OTHER}), ": it holds several networks, a, b: save the one that you mean by itself"),
    "nested": (
        saved({**STATE, "normalisation": {"mean": torch.zeros(3), "std": torch.ones(3)}}),
        ": beside tensors by name it holds 'normalisation' (dict): save a state_dict of tensors alone",
    ),
    "extra state": (
        saved({"model": {**STATE, "_extra_state": {"scale": torch.ones(3)}}, "ema": OTHER}),
        ": beside tensors by name it holds '_extra_state' (dict): save a state_dict of tensors alone",
    ),
    "list beside": (
        saved({**STATE, "moments": [torch.ones(3)], "epoch": 3, 5: torch.ones(3)}),
        ": beside tensors by name it holds 'moments' (list), 5 (Tensor): save a state_dict of tensors alone",
    ),
    "layer": (
        saved({"fc": nn.Linear(2, 2).state_dict()}),
        ": 'fc' may be a part of its tensors' names: save a state_dict alone, its names with it or without",
    ),
    "layer beside an epoch": (saved({"epoch": 3, "fc": nn.Linear(2, 2).state_dict()}), ": 'fc' may be a part of its"),
    "part": (saved({"epoch": 3, "model": {"encoder": STATE}}), ": 'model.encoder' may be a part of its tensors' names"),
    "cut zip": (saved(STATE)[:-30], ""),
    "cut pickle": (b"\x80\x02}q\x00(", ""),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_file_is_named_in_one_line(tmp_path: Path, name: str):
    content, message = OTHERS[name]
    path, out = tmp_path / "file.pth", tmp_path / "out"
    path.write_bytes(content)
    done = CliRunner().invoke(main, ["pack", str(path), str(out)])
    assert done.exit_code == 1 and done.output.count("\n") == 1, done.output
    assert done.output.startswith(f"Error: cannot read {path}"), done.output
    assert message in done.output, done.output
    assert path.read_bytes() == content and not out.exists()


def test_missing_file_is_named(tmp_path: Path):
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ReplicationError, match=rf"^cannot read {path} \({reason}\): {WAY_OUT}$"):
            weight_files.read(path, WAY_OUT)


def test_order_of_a_checkpoint_is_kept(tmp_path: Path):
    torch.save(OrderedDict(reversed(STATE.items())), tmp_path / "file")
    assert list(weight_files.read(tmp_path / "file", WAY_OUT)[0]) == list(reversed(STATE))
