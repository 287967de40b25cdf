"""Averaging: an exponential moving average of a network's weights, as training goes on.

The average of the last steps lies nearer the middle of the valley that descent wanders in than any
of them does (Polyak and Juditsky, 1992, SIAM J. Control Optim. 30:838; Izmailov et al.,
arXiv:1803.05407). Batch norm's statistics belong to weights, so the average gets its own.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Average:
    """The average of a network's weights over the steps of its training.

    After step n, counted from 0, it is d average + (1 - d) weights, with d the `decay`, but at
    most n / (9 + n): the first step is taken as it is, and a short training does not remember its
    initial weights. Nothing is read back to the host.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self._weights = [parameter.detach() for parameter in network.parameters()]
        self._average = [weight.clone() for weight in self._weights]
        self._latest = [weight.clone() for weight in self._weights]

    def shares(self, steps: int) -> list[float]:
        """The share that the weights after each of `steps` steps have in the average: 1 - d."""
        return [1 - min(self._decay, step / (9 + step)) for step in range(steps)]

    def update(self, share: float | Tensor) -> None:
        """Take in the weights after a step; a share that stands on a device is not read back."""
        if isinstance(share, float):
            torch._foreach_lerp_(self._average, self._weights, share)
            return
        moves = torch._foreach_sub(self._weights, self._average)
        torch._foreach_mul_(moves, share)
        torch._foreach_add_(self._average, moves)

    def put_in(self, batches: Iterable[Tensor]) -> None:
        """Put the average in the place of the weights, with batch norm's statistics of its own.

        These are the mean of the statistics of `batches` of images; the network is left in
        training mode, and torch's global generator as it was.
        """
        torch._foreach_copy_(self._latest, self._weights)
        torch._foreach_copy_(self._weights, self._average)
        take_statistics(self._network, batches)

    def take_out(self) -> None:
        """Put the latest weights back; the statistics stay, which training does not read."""
        torch._foreach_copy_(self._weights, self._latest)


@torch.no_grad()
def take_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Make batch norm's running statistics the mean of those of `batches` of images."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    device = next(network.parameters()).device
    network.train()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):  # dropout draws
        for number, images in enumerate(batches, 1):
            for norm in norms:
                norm.momentum = 1 / number  # the first batch replaces what was there
            network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
