"""The paper's networks, their stand-ins, and what they cost: weights, FLOPs, densities. Imports the ground alone."""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__,
    models="lenet_300_100 lenet_5 alexnet vgg16 alexnet_32 vgg16_32 alexnet_torchvision factorised initialise",
    connections="layers weights left_out prunable shapes",
    registry="NETWORKS TITLES build outline",
    accounting="account total dram_energy",
)
