"""Reading photographs, as ratios from one run: `make benchmark`. The loader against decoding JPEG files alone.

Decoding alone is Pillow's, file after file in one process, which no loader that decodes each image in full can beat
per process. What the loader does beside it: a random part of the image, resized, mirrored, collated, normalised.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parent.parent))
import photos

from replication.imagenet import photographs, scan

ROUNDS, MICRO = 5, 25
SIZE = (500, 375)  # pixels: as most of ImageNet's images


def decoding(part: photographs.Photographs) -> float:
    """Images per second of decoding alone."""
    start = time.perf_counter()
    for name in part.names:
        photographs.read(part.root / name)
    return len(part.names) / (time.perf_counter() - start)


def loading(part: photographs.Photographs, seed: int | None, workers: int) -> float:
    """Images per second of the loader, the start of its processes left out."""
    data = replace(part, seed=seed)
    places = [part.tolist() for part in torch.arange(len(part.y)).split(MICRO)]
    start, images = 0.0, 0
    for number, batch in enumerate(photographs.batches(data, places, workers, torch.device("cpu"))):
        if number == workers:  # each process has started
            start = time.perf_counter()
        elif number > workers:
            images += len(batch.y)
    return images / (time.perf_counter() - start)


def report(title: str, values: list[float]) -> None:
    print(f"{title:66} {statistics.median(values):6.2f}  ({min(values):.2f} to {max(values):.2f})", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        part = photographs.split(scan(photos.make(Path(folder), train=400, val=50, size=SIZE))).train
        decoding(part)  # the files are in memory from here on
        rows = []
        for _ in range(ROUNDS):
            rows.append([decoding(part), *(loading(part, seed, workers) for workers in (0, 2) for seed in (0, None))])
    report("JPEG decoding alone, 500 x 375, one process: images per second", [row[0] for row in rows])
    kinds = [f"{kind}, {n}" for n in ("no worker", "2 workers") for kind in ("training", "evaluation")]
    for column, kind in enumerate(kinds, 1):
        report(f"loader / decoding alone: {kind}", [row[column] / row[0] for row in rows])


if __name__ == "__main__":
    main()
