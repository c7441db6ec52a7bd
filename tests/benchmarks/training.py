"""Training speed as ratios from one run: `make benchmark`. Every line compares things timed in turn, one thread each.

Operations are counted as in the paper (2 x multiply-accumulates), forward and backward: three times the forward pass,
less the gradient of the first layer's input, which nobody needs.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F
from torchvision import transforms
from torchvision.datasets import VisionDataset

from replication import accounting, datasets, networks, pruning, training

ROUNDS = 5  # each ratio is the median of so many; within a round the two sides follow one another


class TutorialMNIST(VisionDataset):
    """MNIST as torchvision serves it: one PIL image at a time through the transforms."""

    def __init__(self, transform: Callable):
        super().__init__(str(datasets.paths.MNIST), transform=transform)
        files = datasets.mnist_bytes()
        train, _ = datasets.split_indices()
        self.images = files["train-images-idx3-ubyte"][train.numpy()]
        self.labels = files["train-labels-idx1-ubyte"][train.numpy()].tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        image = transforms.functional.to_pil_image(self.images[index])
        return self.transform(image), self.labels[index]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matmul_rate(size: int = 2_048) -> float:
    """The machine's own rate: FLOP per second of a large float32 matrix product."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(3))


def training_flop(net: nn.Module, x: torch.Tensor) -> int:
    """Operations of one forward and backward pass of one image."""
    rows = accounting.account(net, x[:1])
    return int(3 * rows.flop.sum() - rows.flop.iloc[0])


def epoch(name: str, split: datasets.Split, batch_size: int, masks: dict | None = None) -> float:
    """Seconds of one epoch of our own loop."""
    net = networks.build(name, torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    settings = training.Training(1, 0.05, batch_size=batch_size)
    return seconds(lambda: training.train(net, split, settings, torch.Generator().manual_seed(0), masks))


def tutorial_epoch(images: int) -> float:
    """Seconds of the usual loop over `images` images: data set, transforms, DataLoader, batch 64."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    part = torch.utils.data.Subset(TutorialMNIST(transform), range(images))
    loader = torch.utils.data.DataLoader(part, batch_size=64, shuffle=True)
    net = networks.lenet_300_100()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)

    def one_epoch() -> None:
        for x, y in loader:
            optimiser.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimiser.step()

    return seconds(one_epoch)


def masked_over_dense(name: str, split: datasets.Split, batch_size: int) -> float:
    tensors = networks.weights(networks.build(name, torch.Generator().manual_seed(0)))
    masks = pruning.prune(tensors, {layer: 1.0 for layer in tensors})
    return epoch(name, split, batch_size, masks) / epoch(name, split, batch_size)


def report(title: str, values: list[float], bar: str) -> None:
    middle = statistics.median(values)
    print(f"{title:66} {middle:6.2f}  ({min(values):.2f} to {max(values):.2f}; aim: {bar})", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    data = datasets.mnist().train
    parts = {"lenet_300_100": data, "lenet_5": datasets.Split(data.x[:8_192], data.y[:8_192])}
    aims = {"lenet_300_100": "0.70 or more", "lenet_5": "0.40 or more"}
    for name, part in parts.items():
        epoch(name, datasets.Split(part.x[:2_048], part.y[:2_048]), 64)  # warm up
        flop = training_flop(networks.build(name), part.x) * len(part.y)
        for batch in (64, 128):
            values = [flop / epoch(name, part, batch) / matmul_rate() for _ in range(ROUNDS)]
            report(f"{networks.TITLES[name]}, batch {batch}: training rate / matrix product rate", values, aims[name])
        values = [masked_over_dense(name, part, 64) for _ in range(ROUNDS)]
        report(f"{networks.TITLES[name]}, batch 64: masked epoch / dense epoch", values, "1.05 or less")
    images = 11_000
    part = datasets.Split(data.x[:images], data.y[:images])
    for batch in (64, 128):
        values = [tutorial_epoch(images) / epoch("lenet_300_100", part, batch) for _ in range(ROUNDS)]
        report(f"LeNet-300-100: tutorial epoch (batch 64) / our epoch (batch {batch})", values, "5 or more")


if __name__ == "__main__":
    main()
