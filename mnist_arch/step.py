"""Step: one training step on one batch, by autograd or in the network's own way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Trains on images and int64 labels: the logits before the step, [batch, 10], the mean loss."""


@runtime_checkable
class TakesSteps(Protocol):
    """A network that can take a whole training step by itself, faster than autograd."""

    def stepper(
        self, optimiser: torch.optim.Optimizer, label_smoothing: float = 0.0
    ) -> Step | None:
        """What takes the steps of an optimiser, or None for one that it does not know."""


def stepper(
    network: nn.Module, optimiser: torch.optim.Optimizer, label_smoothing: float = 0.0
) -> Step:
    """What trains a network by an optimiser: its own way where it has one, else autograd.

    The loss is the mean cross-entropy in nats, with labels smoothed as torch's `cross_entropy`
    does it.
    """
    own = None
    if isinstance(network, TakesSteps):
        own = network.stepper(optimiser, label_smoothing)
    if own is not None:
        return own

    def step(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        optimiser.zero_grad(set_to_none=True)
        logits = network(images)
        loss = functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return logits.detach(), loss.detach()

    return step
