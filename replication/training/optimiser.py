"""Stochastic gradient descent with momentum, without the overhead that counts in a small network's step."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from ..networks.connections import prunable, weight_parameters
from .phases import Training


class Optimiser:
    """torch's fused SGD called as a function, without what `torch.optim.SGD` looks up anew at every step.

    momentum: by the name of the parameter; left out: it starts at rest.
    """

    def __init__(self, net: nn.Module, settings: Training, momentum: Mapping[str, Tensor]):
        self.settings = settings
        trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
        self.parameters = list(trained.values())
        self.momentum = {name: torch.zeros_like(p) for name, p in trained.items()}  # laid out as the parameters
        for name, tensor in momentum.items():
            self.momentum[name].copy_(tensor)
        self.penalised = _penalised(net) if settings.l1 else set()

    def accumulated(self) -> list[Tensor | None]:
        """The gradients that `backward` has left, which starts anew."""
        gradients = [p.grad for p in self.parameters]
        for p in self.parameters:
            p.grad = None
        return gradients

    @torch.no_grad()
    def step(self, gradients: list[Tensor | None], learning_rate: float) -> None:
        """Go one step down the gradients; a parameter without one stays as it is."""
        parts = zip(self.parameters, gradients, self.momentum.values())
        parts = [each for each in parts if each[1] is not None]
        for parameter, gradient, _ in parts:
            if parameter in self.penalised:  # the subgradient of l1 * |w|, as Caffe's L1 regularisation has it
                gradient.add_(parameter.sign(), alpha=self.settings.l1)
        sgd(
            *map(list, zip(*parts)),
            fused=True,
            weight_decay=self.settings.weight_decay,
            momentum=self.settings.momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


def _penalised(net: nn.Module) -> set[Tensor]:
    """The weights that an L1 penalty draws to zero: those that can be pruned."""
    names = set(prunable(net))
    return {weight for name, weight in weight_parameters(net).items() if name in names}


def gradients(loss: Tensor, parameters: list[Tensor]) -> list[Tensor | None]:
    """The gradients by the parameters, laid out as these: the optimiser goes through both in step. None: no part.

    Without `.grad` and its hooks, which cost as much as a small network's step.
    """
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [
        gradient
        if gradient is None or gradient.stride() == parameter.stride()
        else torch.empty_like(parameter).copy_(gradient)
        for parameter, gradient in zip(parameters, found)
    ]
