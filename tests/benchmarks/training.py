"""Training speed as ratios from one run: `make benchmark`. Every line compares things timed in turn, on one thread
unless it says otherwise.

Operations are counted as in the paper (2 x multiply-accumulates), forward and backward: three times the forward pass,
less the gradient of the first layer's input, which nobody needs.
"""

import gzip
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torchvision import transforms
from torchvision.datasets import MNIST

from replication import networks, paths, pruning, training
from replication.data import datasets
from replication.networks import accounting, registry
from replication.training.machine import described

ROUNDS = 5  # each ratio is the median of so many; within a round the two sides follow one another


def tutorial_mnist(folder: Path) -> MNIST:
    """torchvision's MNIST with the usual transforms, its files unpacked into `folder`."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in datasets.MNIST_SHA256:
        (raw / name).write_bytes(gzip.decompress((paths.MNIST / f"{name}.gz").read_bytes()))
    return MNIST(
        str(folder), transform=transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.1307, 0.3081)])
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matmul_rate(size: int = 2_048, dtype: torch.dtype = torch.float32) -> float:
    """The machine's own rate: FLOP per second of a large matrix product."""
    a, b = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(3))


def training_flop(net: nn.Module, x: torch.Tensor) -> int:
    """Operations of one forward and backward pass of one image."""
    rows = accounting.account(net, x[:1])
    return int(3 * rows.flop.sum() - rows.flop.iloc[0])


def epoch(name: str, split: datasets.Split, batch_size: int, masks: dict | None = None, **settings) -> float:
    """Seconds of one epoch of our own loop."""
    net = registry.build(name, torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    how = training.Training(1, 0.01, batch_size=batch_size, **settings)
    return seconds(lambda: training.train(net, split, how, torch.Generator().manual_seed(0), masks))


def tutorial_epoch(data: MNIST, images: int) -> float:
    """Seconds of the usual loop over the first `images` images: data set, transforms, DataLoader, batch 64."""
    part = torch.utils.data.Subset(data, range(images))
    loader = torch.utils.data.DataLoader(part, batch_size=64, shuffle=True)
    net = networks.lenet_300_100()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)

    def one_epoch() -> float:
        running = 0.0
        for x, y in loader:
            optimiser.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimiser.step()
            running += loss.item()
        return running

    return seconds(one_epoch)


def plain_epoch(name: str, split: datasets.Split, batch_size: int) -> float:
    """Seconds of one epoch of the plain loop: float32, images and weights contiguous."""
    net = registry.build(name, torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    x = split.x.contiguous()

    def one_epoch() -> None:
        for batch in torch.randperm(len(x)).split(batch_size):
            optimiser.zero_grad()
            F.cross_entropy(net(x[batch]), split.y[batch]).backward()
            optimiser.step()

    return seconds(one_epoch)


def stand_ins(images: int = 2_048, batch: int = 128) -> None:
    """Images per second of both stand-ins, against matrix products and against the plain loop; random images."""
    x = torch.randn(images, 3, 32, 32).to(memory_format=torch.channels_last)
    split = datasets.Split(x, torch.arange(images) % 10)
    for name in ("alexnet_32", "vgg16_32"):
        epoch(name, split, batch, precision="bfloat16")  # warm up
        flop, rows = training_flop(registry.build(name), x) * images, []
        for _ in range(ROUNDS):
            ours, plain = epoch(name, split, batch, precision="bfloat16"), plain_epoch(name, split, batch)
            rows.append((images / ours, flop / ours, plain / ours, matmul_rate(), matmul_rate(dtype=torch.bfloat16)))
        title = f"{registry.TITLES[name]}, {torch.get_num_threads()} threads:"
        report(f"{title} images per second", [row[0] for row in rows], "")
        report(f"{title} rate / float32 matrix product rate", [row[1] / row[3] for row in rows], "")
        report(f"{title} rate / bfloat16 matrix product rate", [row[1] / row[4] for row in rows], "")
        report(f"{title} plain float32 epoch / our epoch", [row[2] for row in rows], "")


def precisions(data: datasets.Split, images: int = 1_024) -> None:
    """Speed in the precision of the recipes, as a share of float32's: at least as fast on any processor."""
    photographs = torch.randn(images, 3, 32, 32).to(memory_format=torch.channels_last)
    stand_in = datasets.Split(photographs, torch.arange(images) % 10)
    digits = datasets.Split(data.x[:4_096], data.y[:4_096])
    for name, split, batch in (("lenet_5", digits, 64), ("alexnet_32", stand_in, 64), ("vgg16_32", stand_in, 64)):
        epoch(name, split, batch)  # warm up
        values = [epoch(name, split, batch) / epoch(name, split, batch, precision="bfloat16") for _ in range(ROUNDS)]
        title = f"{registry.TITLES[name]}: recipe's precision ({described('bfloat16', 'cpu')}) / float32"
        report(title, values, "0.95 or more")


def lenet_5_steps(data: datasets.Split, images: int = 1_024) -> None:
    """What a step of LeNet-5 at batch 8 would gain by another layout or batch: its time over today's, per image."""

    def timed(batch: int = 8, layout: torch.memory_format = torch.channels_last) -> float:
        net = networks.lenet_5(torch.Generator().manual_seed(0)).to(memory_format=layout)
        split = datasets.Split(data.x[:images].contiguous(memory_format=layout), data.y[:images])
        how = training.Training(1, 0.01, batch_size=batch)
        return seconds(lambda: training.train(net, split, how, torch.Generator().manual_seed(0)))

    timed()  # warm up
    for title, changes in {
        "contiguous": {"layout": torch.contiguous_format},
        "batch 32": {"batch": 32},
        "batch 64": {"batch": 64},
    }.items():
        values = [timed(**changes) / timed() for _ in range(ROUNDS)]
        report(f"LeNet-5, an image in {title} / in channels last, batch 8", values, "")


def masked_over_dense(name: str, split: datasets.Split, batch_size: int) -> float:
    tensors = networks.weights(registry.build(name, torch.Generator().manual_seed(0)))
    masks = pruning.prune(tensors, {layer: 1.0 for layer in tensors})
    return epoch(name, split, batch_size, masks) / epoch(name, split, batch_size)


def batched_epoch(split: datasets.Split, seeds: int, batch_size: int) -> float:
    """Seconds of one epoch of `seeds` LeNet-300-100s at once: their weights stacked, one matrix product for all."""
    nets = [networks.lenet_300_100(torch.Generator().manual_seed(seed)) for seed in range(seeds)]
    layers = [[networks.layers(net)[name] for net in nets] for name in ("fc1", "fc2", "fc3")]
    stacked = [(torch.stack([m.weight.t() for m in each]), torch.stack([m.bias for m in each])) for each in layers]
    parameters = [(w.detach().contiguous().requires_grad_(), b.detach().requires_grad_()) for w, b in stacked]
    optimiser = torch.optim.SGD([p for pair in parameters for p in pair], 0.01, 0.9, weight_decay=5e-4, fused=True)
    x, orders = split.x.flatten(1), [torch.randperm(len(split.y)).split(batch_size) for _ in range(seeds)]

    def one_epoch() -> None:
        for batches in zip(*orders):
            chosen = torch.cat(batches)
            values = x.index_select(0, chosen).view(seeds, -1, x.shape[1])
            for number, (weight, bias) in enumerate(parameters):
                values = torch.baddbmm(bias[:, None], values.relu() if number else values, weight)
            optimiser.zero_grad()
            (F.cross_entropy(values.flatten(0, 1), split.y[chosen]) * seeds).backward()
            optimiser.step()

    return seconds(one_epoch)


def many_seeds(data: datasets.Split, seeds: int = 5, images: int = 11_000) -> None:
    """Does it pay to train several seeds in one matrix product? One after the other over all at once."""
    part = datasets.Split(data.x[:images], data.y[:images])
    for batch in (16, 64, 256):
        batched_epoch(part, seeds, batch)  # warm up
        values = [
            sum(epoch("lenet_300_100", part, batch) for _ in range(seeds)) / batched_epoch(part, seeds, batch)
            for _ in range(ROUNDS)
        ]
        title = f"LeNet-300-100, {torch.get_num_threads()} threads: {seeds} seeds in turn / at once, batch {batch}"
        report(title, values, "")


def report(title: str, values: list[float], bar: str) -> None:
    middle = statistics.median(values)
    print(f"{title:66} {middle:6.2f}  ({min(values):.2f} to {max(values):.2f}{bar and f'; aim: {bar}'})", flush=True)


def main() -> None:
    all_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = datasets.mnist().train
    parts = {"lenet_300_100": data, "lenet_5": datasets.Split(data.x[:8_192], data.y[:8_192])}
    aims = {"lenet_300_100": "0.70 or more", "lenet_5": "0.40 or more"}
    for name, part in parts.items():
        epoch(name, datasets.Split(part.x[:2_048], part.y[:2_048]), 64)  # warm up
        flop = training_flop(registry.build(name), part.x) * len(part.y)
        for batch in (64, 256):
            values = [flop / epoch(name, part, batch) / matmul_rate() for _ in range(ROUNDS)]
            report(f"{registry.TITLES[name]}, batch {batch}: training rate / matrix product rate", values, aims[name])
        values = [masked_over_dense(name, part, 64) for _ in range(ROUNDS)]
        report(f"{registry.TITLES[name]}, batch 64: masked epoch / dense epoch", values, "1.05 or less")
    precisions(data)
    lenet_5_steps(data)
    images = 11_000
    part = datasets.Split(data.x[:images], data.y[:images])
    with tempfile.TemporaryDirectory() as folder:
        usual = tutorial_mnist(Path(folder))
    for threads in (1, all_threads):
        torch.set_num_threads(threads)
        for batch in (64, 256):
            values = [tutorial_epoch(usual, images) / epoch("lenet_300_100", part, batch) for _ in range(ROUNDS)]
            title = f"LeNet-300-100, {threads} threads: tutorial epoch / our epoch, batch {batch}"
            report(title, values, "5 or more")
        for precision in ("medium", "bfloat16"):
            values = [
                tutorial_epoch(usual, images) / epoch("lenet_300_100", part, 256, precision=precision)
                for _ in range(ROUNDS)
            ]
            report(f"LeNet-300-100, {threads} threads: the same, precision {precision}, batch 256", values, "5 or more")
        many_seeds(data)
        stand_ins()


if __name__ == "__main__":
    main()
