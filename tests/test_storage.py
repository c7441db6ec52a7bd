"""The sparse format: every bit comes back, the file has the size that the arithmetic gives, and damage is named."""

import errno
import hashlib
import json
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from replication import paths
from replication.claims import storage_costs
from replication.commands.main import main
from replication.errors import ReplicationError
from replication.pruning.iterative import Pruned
from replication.storage import files, packing, sparse_file
from replication.storage.gap_coding import CODINGS, Relative, Rice, gaps, pack, packed_bytes, scatter, spill, unpack
from replication.storage.sparse_file import DTYPES, PAPER_BITS, StorageError, inspect, load_sparse, save_sparse

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def sparse(*shape: int, density: float = 0.1, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    return (values * (torch.rand(shape, generator=generator) < density)).abs().to(dtype)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Names, order, shapes, dtypes and every bit: NaN equals itself here, and -0 differs from 0."""
    return list(a) == list(b) and all(
        (x.dtype, x.shape, bits(x)) == (y.dtype, y.shape, bits(y)) for x, y in zip(a.values(), b.values())
    )


def bits(tensor: Tensor) -> bytes:
    flat = tensor.contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


@st.composite
def tensors(draw) -> Tensor:
    """Bit patterns at random, NaN, infinities and -0 among them, of any dtype, shape and density."""
    dtype = draw(st.sampled_from([*FLOATS, torch.int64, torch.uint8, torch.bool]))
    shape = draw(st.lists(st.integers(0, 9), max_size=4))
    shape = draw(st.sampled_from([shape, [draw(st.integers(0, 5_000))]]))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = int(np.prod(shape))
    data = numbers.integers(0, 2 if dtype == torch.bool else 256, (size, dtype.itemsize), dtype=np.uint8)
    data *= numbers.random((size, 1)) < draw(st.sampled_from([0, 0.001, 0.05, 0.3, 0.9, 1]))
    tensor = torch.empty(shape, dtype=dtype) if not size else torch.from_numpy(data).view(dtype).reshape(shape)
    if dtype.is_floating_point and size > 3:
        special = torch.tensor([-0.0, float("nan"), float("inf"), -float("inf")], dtype=dtype)
        tensor.view(-1)[torch.from_numpy(numbers.integers(0, size, 4))] = special
    return tensor


@settings(max_examples=300, deadline=None)
@given(
    st.lists(tensors(), max_size=3),
    st.sampled_from([None, *range(1, 17)]),
    st.sampled_from(list(CODINGS)),
    st.booleans(),
)
def test_every_bit_comes_back_and_the_size_is_the_arithmetics(tmp_path_factory, state, width, coding, signed):
    path = tmp_path_factory.getbasetemp() / "any"
    state = {f"layer.{i}": tensor for i, tensor in enumerate(state)}
    save_sparse(state, path, bits=width, coding=coding, keep_signed_zeros=signed)
    state = state if signed else {name: without_minus_zero(tensor) for name, tensor in state.items()}
    assert same(load_sparse(path), state)
    rows = inspect(path)
    assert rows.attrs["header"] + rows.total.sum() == path.stat().st_size
    assert (rows[["values", "index", "fillers"]].sum(axis=1) == rows.total).all()
    for name, tensor in state.items():
        assert rows.total[name] == by_hand(tensor, rows.loc[name]) <= max(tensor.nbytes, 0)
    with safe_open(path, "pt") as file:
        assert sum(file.get_tensor(name).nbytes for name in file.keys()) == rows.total.sum()  # noqa: SIM118


def without_minus_zero(tensor: Tensor) -> Tensor:
    """Weights of two or more dimensions with the sign's bit of every zero cleared."""
    if not tensor.is_floating_point() or tensor.dim() < 2 or not tensor.numel():
        return tensor
    words = np.frombuffer(bits(tensor), f"u{tensor.itemsize}").copy()
    words[words == 1 << (8 * tensor.itemsize - 1)] = 0
    return torch.from_numpy(words.view(np.uint8)).view(tensor.dtype).reshape(tensor.shape)


@pytest.mark.parametrize("options", [{}, {"bits": 5}, {"coding": "rice"}, {"dtype": torch.float16}])
def test_pruned_weights_that_are_minus_zero_take_no_byte(tmp_path: Path, options: dict):
    """A layer like AlexNet's fc1, 9 % kept, multiplied by its mask, as training leaves it."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(512, 1152, generator=generator)
    mask = torch.rand(weight.shape, generator=generator) < 0.09
    clean = weight.where(mask, 0)
    save_sparse({"fc1.weight": weight * mask}, tmp_path / "multiplied", **options)
    save_sparse({"fc1.weight": clean}, tmp_path / "clean", **options)
    assert (weight * mask)[~mask].signbit().any()
    assert (tmp_path / "multiplied").stat().st_size == (tmp_path / "clean").stat().st_size
    assert inspect(tmp_path / "multiplied").equals(inspect(tmp_path / "clean"))
    loaded = load_sparse(tmp_path / "multiplied")["fc1.weight"]
    assert bits(loaded) == bits(clean.to(options.get("dtype", torch.float32)))
    save_sparse({"fc1.weight": weight * mask}, tmp_path / "signed", keep_signed_zeros=True)
    assert bits(load_sparse(tmp_path / "signed")["fc1.weight"]) == bits(weight * mask)


def test_minus_zero_of_a_layer_that_is_stored_dense_becomes_zero(tmp_path: Path):
    weight = torch.rand(40, 50) + 1
    weight[3, 4] = -0.0
    save_sparse({"w": weight}, tmp_path / "file")
    assert inspect(tmp_path / "file").coding["w"] == "dense"
    assert not load_sparse(tmp_path / "file")["w"].signbit().any() and weight[3, 4].signbit()


def test_minus_zero_is_packed_as_zero():
    state = {
        "w": torch.tensor([[-0.0, 1.0], [float("nan"), -2.0]]),
        "b": torch.tensor([-0.0]),
        "n": torch.tensor([[1]]),
    }
    found = {name: sparse_file.unsigned(tensor) for name, tensor in state.items()}
    assert not found["w"][0, 0].signbit() and found["b"].signbit().all()
    assert found["w"].isnan().sum() == 1 and found["w"][1, 1] == -2 and found["w"].dtype == torch.float32
    assert found["n"] is state["n"]


def by_hand(tensor: Tensor, row) -> int:
    """Bytes of a tensor by counting, one weight after the other."""
    if row.coding == "dense":
        return tensor.nbytes
    words = np.frombuffer(bits(tensor), f"i{tensor.itemsize}")
    gap, kept, extra = 0, 0, 0
    for word in words:
        if word:
            kept, extra, gap = kept + 1, extra + gap // 2**row.bits, 0
        else:
            gap += 1
    assert kept == row.kept
    if row.coding == "relative":
        return (kept + extra) * tensor.itemsize + -(-(kept + extra) * row.bits // 8)
    return kept * tensor.itemsize + -(-kept * row.bits // 8) + -(-(kept + extra) // 8)


@given(st.integers(0, 24), st.integers(0, 100), st.randoms(use_true_random=False))
def test_codes_are_packed_from_the_lowest_bit(width, count, numbers):
    codes = np.array([numbers.randrange(2**width) for _ in range(count)], np.int64)
    packed = pack(codes, width)
    assert packed.dtype == np.uint8 and packed.size == packed_bytes(count, width)
    assert unpack(packed, count, width).tolist() == codes.tolist()
    if width <= 8:
        assert int.from_bytes(packed.tobytes(), "little") == sum(int(c) << i * width for i, c in enumerate(codes))


def test_fillers_are_entries_with_the_largest_gap_and_value_zero():
    words = np.zeros(30, np.int32)
    words[[1, 4, 15, 16, 29]] = [7, 8, 9, 10, 11]
    distances, kept = gaps(words)
    assert distances.tolist() == [1, 2, 10, 0, 12]
    extra = spill(distances)[3]
    index, values = Relative.encode(distances, kept, 3, extra)
    assert unpack(index, 7, 3).tolist() == [1, 2, 7, 2, 0, 7, 4]
    assert values.tolist() == [7, 8, 0, 9, 10, 0, 11]
    index, values = Rice.encode(distances, kept, 2, spill(distances)[2])
    assert unpack(index, 5, 2).tolist() == [1, 2, 2, 0, 0]
    assert np.unpackbits(index[2:], bitorder="little").tolist() == [1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert values.tolist() == kept.tolist()


@pytest.mark.parametrize("coding", CODINGS.values())
@pytest.mark.parametrize("size", [2**16 - 1, 2**16, 2**18 + 5])
@pytest.mark.parametrize("density", [1e-4, 0.3, 1])
def test_chunks_join(coding, size, density):
    """Tensors of several chunks, with chunks that keep nothing."""
    words = (np.random.default_rng(0).random(size) < density).astype(np.int32) * np.arange(1, size + 1, dtype=np.int32)
    words[2**16 : 2**17] = 0
    distances, kept = gaps(words)
    spilled = spill(distances)
    for width in (1, 5, 9, 16):
        index, values = coding.encode(distances, kept, width, spilled[width])
        assert index.size == coding.index_bytes(kept.size, spilled[width], width)
        out = np.zeros_like(words)
        scatter(coding, index, values, width, out)
        assert (out == words).all()


@pytest.mark.parametrize("density", np.arange(0.02, 0.51, 0.02).round(2))
def test_rice_codes_are_within_five_percent_of_the_entropy(density, tmp_path: Path):
    tensor = sparse(500, 400, density=density)
    save_sparse({"w": tensor}, tmp_path / "rice", coding="rice")
    row, actual = inspect(tmp_path / "rice").loc["w"], tensor.count_nonzero().item() / tensor.numel()
    bound = storage_costs.entropy_bound(actual)
    assert 0.99 * bound < 8 * row["index"] / row.kept < 1.05 * bound
    kept, spilled = int(row.kept), spill(gaps((tensor != 0).view(-1).to(torch.int8).numpy())[0])
    cheapest = min(b + 1 + spilled[b] / kept for b in Rice.WIDTHS)
    assert cheapest == pytest.approx(8 * row["index"] / kept, abs=2 * 7 / kept)


def test_no_index_width_is_cheaper_than_the_automatic_one(tmp_path: Path):
    state = {"fc1.weight": sparse(300, 784, density=0.08), "conv1.weight": sparse(20, 30, 5, 5, density=0.3)}

    def total(**options) -> int:
        save_sparse(state, tmp_path / "file", **options)
        return inspect(tmp_path / "file").total.sum()

    costs = {name: storage_costs.mask_cost(tensor != 0, range(1, 17)) for name, tensor in state.items()}
    best = {name: int(cost.width[cost.total.idxmin()]) for name, cost in costs.items()}
    assert len(set(best.values())) == 2
    assert total() == total(bits=best) < min(total(bits=width) for width in range(1, 17))


def test_the_papers_widths_follow_the_kind_of_layer(tmp_path: Path):
    state = {"fc1.weight": sparse(300, 784), "conv1.weight": sparse(20, 30, 5, 5), "fc1.bias": torch.ones(300)}
    save_sparse(state, tmp_path / "file", bits=PAPER_BITS)
    rows = inspect(tmp_path / "file")
    assert rows.bits.tolist()[:2] == [5, 8] and rows.coding.tolist() == ["relative", "relative", "dense"]
    cost = storage_costs.mask_cost(state["fc1.weight"] != 0, widths=[5]).iloc[0]
    row = rows.loc["fc1.weight"]
    assert 8 * row["total"] / row.kept == pytest.approx(32 + cost.total, abs=1e-3)
    assert 8 * row.fillers / row.kept == pytest.approx(cost.fillers, abs=1e-3) and cost["index"] == 5


def test_weights_are_rounded_on_demand_and_biases_are_not(tmp_path: Path):
    state = {"w": sparse(40, 50), "b": torch.rand(40), "n": torch.ones(40, 50).long()}
    state |= {"double": state["w"].double(), "brain": state["w"].bfloat16(), "half": state["w"].half()}
    state |= {"byte": torch.rand(40, 50).to(torch.float8_e4m3fn)}
    expected = {
        torch.float32: {"double": state["w"]},
        torch.float16: dict.fromkeys(("w", "double", "half"), state["w"].half()) | {"brain": state["brain"].half()},
        torch.bfloat16: dict.fromkeys(("w", "double", "brain"), state["brain"]) | {"half": state["half"].bfloat16()},
    }
    for dtype in sparse_file.VALUE_TYPES:
        save_sparse(state, tmp_path / "file", dtype=dtype)
        assert same(load_sparse(tmp_path / "file"), state | expected[dtype])
    save_sparse(state, tmp_path / "file", dtype=torch.float16)
    assert inspect(tmp_path / "file").kept["w"] == state["w"].count_nonzero()


def test_the_command_rounds_what_it_is_told_to_and_nothing_else(tmp_path: Path):
    state = {"double": sparse(40, 50, dtype=torch.float64), "brain": sparse(40, 50, dtype=torch.bfloat16)}
    model, packed = tmp_path / "model", tmp_path / "packed"
    save_file(state, model)
    for options, dtypes in (
        ([], [torch.float64, torch.bfloat16]),
        (["--dtype", "float32"], [torch.float32, torch.bfloat16]),
        (["--dtype", "float16"], [torch.float16, torch.float16]),
    ):
        assert CliRunner().invoke(main, ["pack", str(model), str(packed), *options]).exit_code == 0
        found = load_sparse(packed)
        for (name, tensor), dtype in zip(state.items(), dtypes):
            assert bits(found[name]) == bits(tensor.to(dtype)), (name, options)
    with pytest.raises(StorageError, match=r"^values cannot be float64x: choose from torch\.float32"):
        packing.pack(model, packed, dtype="float64x")


@pytest.mark.parametrize("signed", [False, True])
def test_a_view_with_the_negative_bit_is_stored_as_its_values(tmp_path: Path, signed: bool):
    view = torch.tensor([[1 + 2j, 3 - 4j], [0, -5j]], dtype=torch.complex64).conj().imag
    assert view.is_neg()
    save_sparse({"w": view}, tmp_path / "file", keep_signed_zeros=signed)
    assert load_sparse(tmp_path / "file")["w"].tolist() == [[-2, 4], [0, 5]]
    assert load_sparse(tmp_path / "file")["w"].signbit().tolist() == [[True, False], [signed, False]]


@pytest.mark.parametrize("width", [np.int64(5), {"w": np.uint8(5)}, {np.int64(2): np.int32(5)}])
def test_index_width_may_be_any_whole_number(tmp_path: Path, width):
    save_sparse({"w": sparse(40, 50)}, tmp_path / "file", bits=width)
    save_sparse({"w": sparse(40, 50)}, tmp_path / "same", bits=5)
    assert inspect(tmp_path / "file").bits["w"] == 5
    assert (tmp_path / "file").read_bytes() == (tmp_path / "same").read_bytes()


def test_no_path_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReplicationError, match=rf"^cannot write {tmp_path} \(it is not a regular file\): name another"):
        save_sparse({"w": torch.ones(3)}, "")
    assert not list(tmp_path.iterdir())


def test_a_network_and_tensors_of_any_layout_are_stored(tmp_path: Path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5), torch.nn.BatchNorm2d(8)).to(memory_format=torch.channels_last)
    save_sparse(net, tmp_path / "file")
    assert same(load_sparse(tmp_path / "file"), net.state_dict())
    state = {name: torch.ones(3, 5).to(dtype) for name, dtype in DTYPES.items()}
    state |= {"t": sparse(90, 80).T, "a/dense": net[0].bias, "a": torch.zeros(9, 99), "__metadata__": torch.ones(())}
    state["conj"] = torch.ones(3, dtype=torch.complex64).conj()
    save_sparse(state, tmp_path / "file")
    assert same(load_sparse(tmp_path / "file"), {name: t.detach().resolve_conj() for name, t in state.items()})
    save_sparse({}, tmp_path / "file")
    assert load_sparse(tmp_path / "file") == {} and inspect(tmp_path / "file").empty


@pytest.mark.parametrize(
    ("state", "options", "message"),
    [
        ({"w": torch.ones(3)}, {"bits": 17}, "index width 17: choose from 1 to 16 bits for relative"),
        ({"w": torch.ones(3)}, {"bits": True}, "index width True: "),
        ({"w": torch.ones(3)}, {"bits": {"v": 5}}, "index width for 'v', which is no tensor: choose from w"),
        ({"w": torch.ones(3)}, {"coding": "huffman"}, "unknown coding 'huffman': choose from relative, rice"),
        ({"w": torch.ones(3)}, {"dtype": torch.float64}, "values cannot be torch.float64: choose from torch.float32"),
        ({"w": torch.full((2, 2), 1e5)}, {"dtype": torch.float16}, "'w' has weights beyond torch.float16's range"),
        (
            {"w": torch.tensor([[1e-30, 0, -1e-9, 1]])},
            {"dtype": torch.float16},
            "'w' has 2 kept weights that torch.float16 rounds to 0: choose torch.float32 or torch.bfloat16, or set",
        ),
        (
            {"w": torch.tensor([[1e-44, 1]])},
            {"dtype": torch.bfloat16},
            "'w' has 1 kept weights that torch.bfloat16 rounds to 0: choose torch.float32, or",
        ),
        (
            {"w": torch.ones(3)},
            {"metadata": {"a": "b", "epoch": 3}},
            "metadata 'epoch' (int): give names and values that",
        ),
        ({"w": torch.ones(3)}, {"metadata": {5: "five"}}, "metadata 5 (str): give names and values that"),
        ({"w": torch.ones(3)}, {"metadata": {"a": "\ud800"}}, "metadata 'a' (str): give names and values that"),
        (
            {"w": torch.tensor([[1e300, 0]], dtype=torch.float64)},
            {"dtype": torch.float32},
            "'w' has weights beyond torch.float32's range: choose no dtype",
        ),
        (
            {"w": torch.tensor([[1e-9, 0]], dtype=torch.bfloat16)},
            {"dtype": torch.float16},
            "'w' has 1 kept weights that torch.float16 rounds to 0: choose torch.float32 or torch.bfloat16, or set",
        ),
        ({"w": "text"}, {}, "'w' is str: leave it out"),
        ([torch.ones(3)], {}, "list is no network and no tensors by name: give a network or its state_dict"),
        (Pruned(torch.nn.Linear(2, 2), {}, None), {}, "Pruned is no network and no tensors by name: give its `net`"),
        ({"w\ud800": torch.ones(3)}, {}, "'w\\ud800' (str): tensors have names that are UTF-8 texts"),
        ({5: torch.ones(3), "5": torch.zeros(3)}, {}, "5 (int): tensors have names that are UTF-8 texts"),
        ({5: torch.ones(3)}, {"bits": {"w": 3}}, "index width for 'w', which is no tensor: choose from 5"),
        ({"w": torch.ones(3)}, {"bits": np.int64(17)}, f"index width {np.int64(17)!r}: choose from 1 to 16 bits"),
        ({"w": torch.ones(3)}, {"bits": 5.0}, "index width 5.0: choose from 1 to 16 bits for relative"),
        ({"w": torch.ones(3, dtype=torch.complex128)}, {}, "'w' is torch.complex128"),
        ({"w": torch.eye(3).to_sparse()}, {}, "'w' is torch.float32 torch.sparse_coo"),
    ],
)
def test_what_cannot_be_stored_is_named_and_nothing_is_written(tmp_path: Path, state, options, message):
    with pytest.raises(StorageError) as caught:
        save_sparse(state, tmp_path / "file", **options)
    assert str(caught.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "way_out"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "make it writable")])
def test_full_or_readonly_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number, way_out):
    path, old = tmp_path / "file", {"w": sparse(30, 40)}
    save_sparse(old, path)

    def fail(descriptor: int):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, pytest.raises(ReplicationError) as caught:
        patch.setattr(os, "fsync", fail)
        save_sparse({"w": sparse(30, 40, seed=1)}, path)
    assert str(caught.value).startswith(f"cannot write {path} ({os.strerror(number)}): {way_out} or name another file")
    assert same(load_sparse(path), old)
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_that_the_library_meets_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, old = tmp_path / "file", {"w": sparse(30, 40)}
    save_sparse(old, path)

    def fail(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(files, "save_file", fail)
    with pytest.raises(ReplicationError, match=rf"cannot write {path} \(.*No space left.*\): free some space or name"):
        save_sparse({"w": sparse(30, 40, seed=1)}, path)
    assert same(load_sparse(path), old) and list(tmp_path.iterdir()) == [path]


def test_file_is_for_whom_other_files_are(tmp_path: Path):
    (tmp_path / "other").touch()
    save_sparse({"w": sparse(30, 40)}, tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o664])
def test_file_that_is_replaced_keeps_its_mode(tmp_path: Path, mode: int):
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    save_sparse({"w": torch.ones(3)}, path)
    assert path.stat().st_mode & 0o777 == mode and load_sparse(path)["w"].tolist() == [1, 1, 1]
    with files.replacing(path) as aside:
        assert aside.stat().st_mode & 0o777 == mode | 0o200


@pytest.mark.parametrize("there", [True, False])
def test_link_is_followed(tmp_path: Path, there: bool):
    target, path = tmp_path / "folder" / "target", tmp_path / "link"
    path.symlink_to("folder/target")
    if there:
        save_sparse({"w": torch.zeros(3)}, target)
    save_sparse({"w": torch.ones(3)}, path)
    assert path.is_symlink() and not target.is_symlink() and load_sparse(target)["w"].tolist() == [1, 1, 1]
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["folder", "link", "target"]


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder", "none"])
def test_what_is_not_a_regular_file_is_not_replaced(run_file: Path, kind: str):
    path = Path() if kind == "none" else run_file.with_name("pipe")
    if kind == "folder":
        path.mkdir()
    elif kind != "none":
        os.mkfifo(path)
        if kind != "pipe":
            path = run_file.with_name("link")
            path.symlink_to("pipe")
    before = {each.name: each.lstat().st_mode for each in run_file.parent.iterdir()}
    done = CliRunner().invoke(main, ["pack", str(run_file), "" if kind == "none" else str(path)])
    shown = paths.shown(path)
    assert done.output == f"Error: cannot write {shown} (it is not a regular file): name another file\n"
    assert done.exit_code == 1
    assert {each.name: each.lstat().st_mode for each in run_file.parent.iterdir()} == before


def test_tensors_that_share_memory_are_stored_each(tmp_path: Path):
    weight = torch.rand(8, 9)
    state = {"w": weight, "tied": weight, "part": weight[:3], "flat": weight.view(-1)[5:], "none": weight[:0]}
    save_sparse(state, tmp_path / "file")
    assert same(load_sparse(tmp_path / "file"), state)


def test_loaded_tensors_do_not_follow_the_file(tmp_path: Path):
    state = {"b": torch.rand(500), "w": sparse(30, 40)}
    save_sparse(state, tmp_path / "file")
    loaded = load_sparse(tmp_path / "file")
    with open(tmp_path / "file", "r+b") as file:
        file.write(bytes((tmp_path / "file").stat().st_size))
    assert same(loaded, state)


def split(content: bytes) -> tuple[dict, bytes]:
    """Header and data of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: dict, data: bytes, honest: bool) -> bytes:
    """The file; honest: with the checksum that a forger would compute for its header."""
    if honest:
        header["__metadata__"].pop("checksum", None)
        header["__metadata__"]["checksum"] = checksum(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def checksum(header: dict) -> str:
    """What a file says of its header, computed from the JSON alone."""
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


FORGED = 5  # the kind of damage with checksums that a forger has computed anew
LIES = (-1, 0, 1, 2, 17, 2**20, 2**47, 2**63, 10**30, 1.5, None, True, "5", "BF16", "rice", [], [3], [2**40, 2**40], {})


def mutated(content: bytes, kind: int, numbers: random.Random) -> bytes:
    """The file cut off, with bytes added, moved or flipped, or with metadata that lie."""
    if kind == 0:
        return content[: numbers.randrange(len(content))]
    if kind == 1:
        return content + numbers.randbytes(numbers.randrange(1, 20))
    if kind == 2:
        start, end = sorted(numbers.randrange(len(content)) for _ in range(2))
        return content[:start] + numbers.randbytes(numbers.randrange(1, 20)) + content[end:]
    if kind == 3:
        changed = bytearray(content)
        for _ in range(numbers.randrange(1, 5)):
            changed[numbers.randrange(len(content))] ^= 1 << numbers.randrange(8)
        return bytes(changed)
    return lying(content, numbers, honest=kind == FORGED)


def lying(content: bytes, numbers: random.Random, honest: bool) -> bytes:
    """The file with one entry of its header or of its description of a tensor replaced or left out."""
    header, data = split(content)
    described = json.loads(header["__metadata__"]["tensors"])
    places = [*described.values(), *(entry for name, entry in header.items() if name != "__metadata__"), described]
    place = numbers.choice(places)
    key = numbers.choice(list(place))
    if numbers.random() < 0.1:
        del place[key]
    else:
        place[key] = numbers.choice(LIES)
    header["__metadata__"]["tensors"] = json.dumps(described)
    return joined(header, data, honest)


def test_ten_thousand_damaged_files_load_right_or_are_named(tmp_path: Path):
    """A forged file may load as what it claims to be; it never does harm."""
    numbers, path, contents = random.Random(0), tmp_path / "file", []
    state = {"fc1.weight": sparse(12, 40), "fc1.bias": torch.rand(12), "conv": sparse(4, 4, 5, 5, dtype=torch.float16)}
    for coding in CODINGS:
        save_sparse(state | {"none": torch.zeros(0, 3)}, path, coding=coding)
        contents.append(path.read_bytes())
    loaded = 0
    for i in range(10_000):
        kind = numbers.randrange(FORGED + 1)
        path.unlink()  # a file that is cut to nothing and written again would be waited for by some disks
        path.write_bytes(mutated(contents[i % len(contents)], kind, numbers))
        for read in (inspect, load_sparse):
            try:
                found = read(path)
            except StorageError as error:
                assert re.fullmatch(rf"{path} is damaged \(.{{1,400}}\): make it again with `.* pack`", str(error))
            else:
                loaded += read is load_sparse
                assert read is inspect or kind == FORGED or same(found, state | {"none": torch.zeros(0, 3)})
    assert loaded < 500


@pytest.mark.parametrize(
    "lie", [{"shape": [2**46]}, {"shape": [2**24, 2**24]}, {"shape": [11, 40]}, {"bits": 3}, {"kept": 4}]
)
@pytest.mark.parametrize("coding", CODINGS)
def test_forged_sizes_with_right_checksums_are_refused(tmp_path: Path, lie: dict, coding: str):
    weight = sparse(12, 40)
    weight[-1, -1] = 1
    path = tmp_path / "file"
    save_sparse({"w": weight}, path, bits=6, coding=coding)
    header, data = split(path.read_bytes())
    described = json.loads(header["__metadata__"]["tensors"])
    described["w"] |= lie
    header["__metadata__"]["tensors"] = json.dumps(described)
    path.write_bytes(joined(header, data, honest=True))
    with pytest.raises(StorageError, match=r"file is damaged \(.*\): make it again with `python -m replication pack`"):
        load_sparse(path)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 100, (90).to_bytes(8, "little") + b"[" * 90, b"PK\3\4" + bytes(99)]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "file"
    path.write_bytes(content)
    for read in (load_sparse, inspect):
        with pytest.raises(StorageError, match="file is damaged"):
            read(path)
        with pytest.raises(StorageError, match=r"cannot read .*missing \(No such file or directory\): name a file"):
            read(tmp_path / "missing")
        with pytest.raises(StorageError, match=r"cannot read .*not a file"):
            read(tmp_path)


def test_deeply_nested_header_is_refused(tmp_path: Path):
    text = b'{"a":' + b"[" * 200_000
    (tmp_path / "file").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(StorageError, match="is damaged"):
        load_sparse(tmp_path / "file")


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """The weights of a run as the store keeps them, with masks."""
    weight = sparse(30, 40)
    weight[0, 0] = -0.0
    state = {"fc1.weight": weight, "fc1.bias": torch.rand(30), "mask.fc1": weight != 0, "mask.other": torch.ones(3)}
    save_file(state, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_packing_leaves_out_the_masks_that_zeros_tell(run_file: Path, tmp_path: Path):
    state = load_file(run_file)
    packing.pack(run_file, tmp_path / "packed")
    packing.unpack(tmp_path / "packed", tmp_path / "out.safetensors")
    assert state["fc1.weight"][0, 0].signbit()  # a pruned negative weight
    state["fc1.weight"][0, 0] = 0
    assert bits(load_file(tmp_path / "out.safetensors")["fc1.weight"]) == bits(state["fc1.weight"])
    assert inspect(tmp_path / "packed").kept["fc1.weight"] == state["mask.fc1"].sum()
    assert load_file(tmp_path / "out.safetensors").keys() == state.keys() - {"mask.fc1"}
    packing.pack(run_file, tmp_path / "packed", keep_masks=True)
    assert load_sparse(tmp_path / "packed").keys() == state.keys()
    state["fc1.weight"][~state["mask.fc1"]] = 1  # zeros tell no longer what the mask is
    save_file(state, run_file)
    packing.pack(run_file, tmp_path / "packed")
    assert "mask.fc1" in load_sparse(tmp_path / "packed")


def test_commands_pack_inspect_and_unpack(run_file: Path):
    packed, out = run_file.with_name("packed"), run_file.with_name("out.safetensors")
    options = ("--bits", "2", "--dtype", "bfloat16", "--coding", "rice")
    done = CliRunner().invoke(main, ["pack", str(run_file), str(packed), *options])
    size = packed.stat().st_size
    assert done.exit_code == 0 and done.output.startswith(f"{packed}: {size:,} bytes, ")
    lines = CliRunner().invoke(main, ["inspect", str(packed)]).output.splitlines()
    assert lines[0].split() == sparse_file.COLUMNS
    assert [line.split()[0] for line in lines[1:]] == ["fc1.bias", "fc1.weight", "mask.other", "header", "total"]
    assert f"{size:,}" in lines[-1].split()
    assert CliRunner().invoke(main, ["unpack", str(packed), str(out)]).exit_code == 0
    assert load_file(out)["fc1.weight"].dtype == torch.bfloat16


def test_a_files_own_metadata_come_back(run_file: Path):
    packed, out = run_file.with_name("packed"), run_file.with_name("out.safetensors")
    own = {"format": "pt", "checksum": "mine", "tensors": "two", "note": 'a "quoted" é'}
    save_file(load_file(run_file), run_file, own)
    packing.pack(run_file, packed)
    assert sparse_file.own_metadata(packed) == own
    packing.unpack(packed, out)
    with safe_open(out, "pt") as file:
        assert file.metadata() == own
    save_sparse({"w": torch.ones(3)}, packed)
    packing.unpack(packed, out)
    with safe_open(out, "pt") as file:
        assert not file.metadata()


def test_equal_networks_give_equal_files(run_file: Path):
    own = {name: "é" * len(name) for name in ("note", "format", "author", "licence", "b\n", 'a "quoted"')}
    save_file(load_file(run_file), run_file, own)
    packed, dense = set(), set()
    for number in range(9):  # the library's order of the metadata is another each time
        out = [run_file.with_name(f"{kind}{number}") for kind in ("packed", "dense")]
        packing.pack(run_file, out[0])
        packing.unpack(*out)
        packed.add(out[0].read_bytes())
        dense.add(out[1].read_bytes())
    assert (len(packed), len(dense)) == (1, 1)
    header, _ = split(packed.pop())
    assert list(header["__metadata__"]) == ["checksum", "format", "metadata", "tensors"]
    with safe_open(out[1], "pt") as file:
        assert file.metadata() == own


@pytest.mark.parametrize("lie", ["[]", '{"a": 1}', "5", "{"])
def test_forged_metadata_are_refused(tmp_path: Path, lie: str):
    path = tmp_path / "file"
    save_sparse({"w": sparse(12, 40)}, path, metadata={"a": "b"})
    header, data = split(path.read_bytes())
    header["__metadata__"]["metadata"] = lie
    path.write_bytes(joined(header, data, honest=True))
    with pytest.raises(StorageError, match=r"file is damaged \(.*\): make it again"):
        packing.unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def link(kind: str, path: Path) -> str:
    """Another name for the file `path`."""
    name = path.with_name("other")
    if kind == "relative":
        return os.path.relpath(path)
    if kind != "same":
        (name.symlink_to if kind == "symlink" else name.hardlink_to)(path)
    return str(path if kind == "same" else name)


@pytest.mark.parametrize("kind", ["same", "relative", "symlink", "hardlink"])
def test_output_that_is_the_input_is_refused(run_file: Path, kind: str):
    packed = run_file.with_name("packed")
    packing.pack(run_file, packed)
    for command, path in (("pack", run_file), ("unpack", packed)):
        before, other = path.read_bytes(), link(kind, path)
        done = CliRunner().invoke(main, [command, str(path), other])
        assert done.exit_code == 1
        assert (
            done.output == f"Error: {paths.shown(Path(other))} is the input itself: name another file for the output\n"
        )
        assert path.read_bytes() == before
        path.with_name("other").unlink(missing_ok=True)


def test_packed_file_is_not_packed_again(run_file: Path):
    packed, out = run_file.with_name("packed"), run_file.with_name("out")
    packing.pack(run_file, packed)
    before = packed.read_bytes()
    done = CliRunner().invoke(main, ["pack", str(packed), str(out)])
    assert done.exit_code == 1
    assert done.output == f"Error: {packed} is packed already: name a file of dense tensors\n"
    assert packed.read_bytes() == before and not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("pack missing OUT", "cannot read missing (No such file"),
        ("pack data OUT", "cannot read data (Is a directory): name a safetensors file"),
        ("pack README.md OUT", "cannot read README.md ("),
        ("pack RUN OUT --bits 0", "index width 0: choose from 1 to 16 bits for relative"),
        ("pack RUN OUT --bits 25 --coding rice", "index width 25: choose from 0 to 24 bits for rice"),
        (
            "pack RUN OUT --bits paper --coding rice",
            "index width 'paper' is of relative codes: for rice choose auto or",
        ),
        ("pack RUN OUT --bits some", "index width 'some': choose paper, auto or a number"),
        ("pack RUN RUN/out", "cannot write RUN/out (Not a directory): make it writable or name another file"),
        ("inspect RUN", "RUN is damaged (its header is not what was written, or it was not made by `pack`)"),
        ("unpack missing OUT", "cannot read missing (No such file or directory): name a file that"),
    ],
)
def test_mistake_of_a_command_is_one_line(run_file: Path, monkeypatch, arguments: str, message: str):
    monkeypatch.chdir(paths.ROOT)
    words = [
        word.replace("RUN", str(run_file)).replace("OUT", str(run_file.parent / "out")) for word in arguments.split()
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert done.output.startswith(f"Error: {message.replace('RUN', str(run_file))}") and done.output.count("\n") == 1
    assert [path.name for path in run_file.parent.iterdir()] == [run_file.name]


def test_true_layers_have_the_printed_densities():
    masks = dict(storage_costs.uniform_masks("lenet_300_100", torch.Generator().manual_seed(0)))
    shapes = {name: tuple(mask.shape) for name, mask in masks.items()}
    assert shapes == {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}
    assert masks["fc1"].float().mean().item() == pytest.approx(0.08, abs=0.002)
    cost = storage_costs.mask_cost(masks["fc1"])
    assert cost.width.tolist() == list(range(2, 11))
    assert cost.fillers.is_monotonic_decreasing and (cost.total > storage_costs.entropy_bound(0.08)).all()


def test_entropy_bound_at_known_densities():
    assert storage_costs.entropy_bound(0.5) == 2
    assert storage_costs.entropy_bound(0.09) == pytest.approx(4.850, abs=5e-4)
    assert storage_costs.entropy_bound(1.0) == 0


def test_a_tensor_without_values_is_named(tmp_path: Path):
    with pytest.raises(StorageError, match=r"^fc\.weight is on the meta device and has no values: load"):
        save_sparse({"fc.weight": torch.ones(3, 3, device="meta")}, tmp_path / "small.safetensors")
    assert not list(tmp_path.iterdir())
