"""Saving and loading a pruned AlexNet at its true size beside scipy.sparse, as ratios from one run on one core.

Layers have uniform masks of the densities that Table 4 prints. Both sides work on files; scipy's matrices are built
beforehand, and what it loads stays sparse, while ours saves from dense tensors and gives dense tensors back.
"""

import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import scipy.sparse
import torch

from replication import storage
from replication.claims import storage_costs
from replication.storage import gap_coding

ROUNDS = 3  # each ratio is the median of so many; within a round the two sides follow one another


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(title: str, value: float, aim: str, values: list[float] | None = None) -> None:
    spread = f"{min(values):.2f} to {max(values):.2f}; " if values else ""
    print(f"{title:64} {value:6.3f}  ({spread}aim: {aim})", flush=True)


def compare(title: str, ours: Callable, theirs: Callable, aim: str, faster: bool) -> None:
    """Time both in turn and report theirs over ours (`faster`) or ours over theirs."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS + 1)][1:]  # memory is slow when first touched
    values = [b / a if faster else a / b for a, b in pairs]
    report(title, statistics.median(values), aim, values)


def peak(work: Callable[[], object]) -> int:
    """Bytes that `work` had in use at most, beyond what was there before and what it returns."""
    tracemalloc.start()
    result = work()
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kept = sum(tensor.nbytes for tensor in result.values()) if result else 0
    return highest - kept


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    masks = storage_costs.uniform_masks("alexnet", generator)
    state = {f"{n}.weight": torch.randn(m.shape, generator=generator).masked_fill_(~m, 0) for n, m in masks}
    matrices = {name: scipy.sparse.csr_matrix(w.flatten(1).numpy()) for name, w in state.items()}
    largest = max(tensor.nbytes for tensor in state.values())
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), state, matrices, largest)


def measure(folder: Path, state: dict, matrices: dict, largest: int) -> None:
    path = folder / "ours.safetensors"
    of = {name: folder / f"{name}.npz" for name in matrices}

    def scipy_save() -> None:
        for name, matrix in matrices.items():
            scipy.sparse.save_npz(of[name], matrix, compressed=True)

    def scipy_load() -> list:
        return [scipy.sparse.load_npz(file) for file in of.values()]

    def scipy_dense() -> list:
        return [matrix.toarray() for matrix in scipy_load()]

    def load() -> dict:
        return storage.load_sparse(path)

    for title, options in (
        ("relative", {}),
        ("relative, the paper's widths", {"bits": storage.PAPER_BITS}),
        ("rice", {"coding": "rice"}),
    ):

        def save(options: dict = options) -> None:
            storage.save_sparse(state, path, **options)

        compare(f"{title}: scipy's saving / ours", save, scipy_save, "5 or more", True)
        compare(f"{title}: our loading / scipy's, which stays sparse", load, scipy_load, "1 or less", False)
        compare(f"{title}: our loading / scipy's with toarray", load, scipy_dense, "1 or less", False)
        size = path.stat().st_size
        report(f"{title}: our file / scipy's", size / sum(file.stat().st_size for file in of.values()), "0.87 or less")
        report(f"{title}: our file / arithmetic of the format", size / arithmetic(path, state), "1.02 or less")
        report(f"{title}: memory to save / largest dense layer", peak(save) / largest, "2 or less")
        report(f"{title}: memory to load / largest dense layer", peak(load) / largest, "2 or less")
        loaded = load()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def arithmetic(path: Path, state: dict) -> float:
    """Bytes that the masks give: 32 bits and the index bits of each kept weight and filler, no header."""
    rows, total = storage.inspect(path), 0.0
    for name, tensor in state.items():
        mask, row = tensor != 0, rows.loc[name]
        if row.coding == "rice":
            distances, kept = gap_coding.gaps(mask.view(-1).view(torch.int8).numpy())
            bits = kept.size * (33 + row.bits) + gap_coding.spill(distances)[row.bits]
        elif row.coding == "relative":
            bits = int(mask.sum()) * (32 + storage_costs.mask_cost(mask, [int(row.bits)]).total.item())
        else:
            bits = 32 * mask.numel()
        total += bits / 8
    return total


if __name__ == "__main__":
    main()
