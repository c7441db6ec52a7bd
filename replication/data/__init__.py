"""MNIST and CIFAR-10 as tensors, with checksums and splits. Imports the ground alone."""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__, datasets="Dataset Split mnist mnist_whole cifar10 cifar10_sample load split_indices"
)
