"""MNIST and CIFAR-10 as tensors, with checksums and splits, and the paper's own numbers.

Imports networks, for their names, and storage, for files.
"""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__, datasets="Dataset Split idx mnist cifar10 cifar10_sample load split_indices"
)
