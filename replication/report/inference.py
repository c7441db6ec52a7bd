"""Does sparsity pay on this processor? Products with a pruned layer's weights, dense against CSR, timed on one thread.

The paper (section 5) leaves sparse computation to special hardware; this measures the processor at hand.
"""

import statistics
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from torch import Tensor

LAYERS = {  # name: (outputs, inputs), true sizes of Tables 2 and 4
    "AlexNet fc1": (4096, 9216),
    "AlexNet fc2": (4096, 4096),
    "AlexNet fc3": (1000, 4096),
    "LeNet-300-100 fc1": (300, 784),
}
WAYS = ("dense", "CSR (torch)", "CSR (scipy)")
Matrix = Tensor | scipy.sparse.csr_array


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread within the block; scipy's products never use more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def densities(least: float, most: float, per_decade: int) -> list[float]:
    """Densities from `least` to `most`, both included, spaced evenly on a logarithmic axis."""
    steps = max(1, round(per_decade * np.log10(most / least)))
    return np.geomspace(least, most, steps + 1).tolist()


def forms(weight: Tensor) -> dict[str, Matrix]:
    """The same matrix (outputs, inputs) in each of WAYS, with 32-bit column numbers and row starts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        rows = weight.to_sparse_csr()
        starts, columns, values = rows.crow_indices().int(), rows.col_indices().int(), rows.values()
        torchs = torch.sparse_csr_tensor(starts, columns, values, weight.shape, check_invariants=False)
    scipys = scipy.sparse.csr_array((values.numpy(), columns.numpy(), starts.numpy()), shape=weight.shape)
    return dict(zip(WAYS, (weight, torchs, scipys)))


def seconds(matrices: Mapping[str, Matrix], inputs: Tensor, repetitions: int) -> dict[str, float]:
    """Median seconds of each matrix @ inputs, (inputs, batch): `repetitions` rounds of one product of each in turn.

    One round goes before, to warm up.
    """
    array, times = inputs.numpy(), {name: [] for name in matrices}
    for _ in range(repetitions + 1):
        for name, matrix in matrices.items():
            own = inputs if isinstance(matrix, Tensor) else array
            start = time.perf_counter()
            matrix @ own
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(own[1:]) for name, own in times.items()}


def moved(weight: Tensor) -> dict[str, int]:
    """Bytes of the weights that a product reads: dense, and CSR with 32-bit values, columns and row starts."""
    return {"dense": 4 * weight.numel(), "CSR": 8 * int(weight.count_nonzero()) + 4 * (len(weight) + 1)}


def measure(
    at: Sequence[float], repetitions: int, batches: Sequence[int] = (1, 64), shrink: int = 1, seed: int = 0
) -> pd.DataFrame:
    """Median times of every layer, density and batch size, dense and sparse, interleaved, on one thread.

    at: densities, 0 to 1, of random masks; shrink: divide the layers' sides by this. Columns: layer,
    density %, batch, way, ms, time ratio (to dense: below 1 is faster), MB (of weights read), bytes ratio.
    """
    generator, rows = torch.Generator().manual_seed(seed), []
    with one_thread():
        for layer, (outputs, inputs) in LAYERS.items():
            shape = (outputs // shrink, inputs // shrink)
            values, place = torch.randn(shape, generator=generator), torch.rand(shape, generator=generator)
            x = torch.randn(shape[1], max(batches), generator=generator)
            for density in at:
                about = {"layer": layer, "density %": 100 * density}
                rows += _rows(about, forms(values * (place < density)), x, batches, repetitions)
    return pd.DataFrame(rows)


def _rows(
    about: dict, matrices: Mapping[str, Matrix], x: Tensor, batches: Sequence[int], repetitions: int
) -> list[dict]:
    """The rows of one layer at one density; a function, so that its matrices are gone before the next are made."""
    size = moved(matrices["dense"])
    measured = {batch: seconds(matrices, x[:, :batch].contiguous(), repetitions) for batch in batches}
    return [
        about
        | {"batch": batch, "way": way, "ms": 1e3 * time, "time ratio": time / times["dense"]}
        | {"MB": size[way.split()[0]] / 1e6, "bytes ratio": size[way.split()[0]] / size["dense"]}
        for batch, times in measured.items()
        for way, time in times.items()
    ]
