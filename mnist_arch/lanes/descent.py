"""A whole training step in one native call: forward, cross-entropy, backward, descent.

Autograd and the optimiser's loop over parameters cost a small network a twentieth of its step.
The optimiser stays torch's: its settings are read at every step, its momentum is where it keeps it.
"""

from __future__ import annotations

import operator
from typing import Protocol

import torch
from torch import Tensor

from mnist_arch.lanes.handle import Descended, require
from mnist_arch.lanes.library import DescentStruct


class Trains(Protocol):
    """A network that takes a training step on the parameters listed."""

    def train_batch(
        self, images: Tensor, labels: Tensor, descended: Descended, descent: DescentStruct
    ) -> tuple[Tensor, Tensor]:
        """Return the logits before the step, [N, outputs], and the mean loss."""


def descends(parameters: list[Tensor], optimiser: torch.optim.Optimizer) -> bool:
    """Whether an optimiser is one whose step the native library takes for these parameters.

    That is plain `torch.optim.SGD`, undampened, over all of them at once, none with a hook.
    """
    if type(optimiser) is not torch.optim.SGD or len(optimiser.param_groups) != 1:
        return False
    group = optimiser.param_groups[0]
    same = len(parameters) == len(group["params"]) and all(
        ours is theirs for ours, theirs in zip(parameters, group["params"], strict=True)
    )
    hooks = optimiser._optimizer_step_pre_hooks or optimiser._optimizer_step_post_hooks
    plain = not (group["dampening"] or group["maximize"] or hooks)
    rates = not isinstance(group["lr"], Tensor)
    return same and plain and rates and all(map(_is_plain, parameters))


def _is_plain(parameter: Tensor) -> bool:
    """Whether a parameter is trained, and nobody asked to be called with its gradient."""
    hooks = parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None)
    return parameter.requires_grad and not hooks


class NativeStep:
    """Trains a network on one batch at a time, descending as its optimiser would."""

    def __init__(
        self,
        network: Trains,
        parameters: list[Tensor],
        optimiser: torch.optim.Optimizer,
        label_smoothing: float = 0.0,
    ) -> None:
        """Use an optimiser that `descends`."""
        self._network = network
        self._optimiser = optimiser
        self._parameters = parameters
        self._kept: list[dict[str, Tensor]] = []  # of each parameter: what its momentum is in
        self._seen: list[dict[str, Tensor]] = []  # the same in the optimiser's order
        self._addresses: list[int] = []
        self._descended = Descended(parameters)
        self._descent = DescentStruct(label_smoothing=label_smoothing)
        # A schedule warns where nobody has called the optimiser's own step.
        optimiser._opt_called = True  # type: ignore[attr-defined]

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The logits before the step, [N, outputs], and the mean loss; see `Accelerated.forward`.

        `labels`: int64 [N] on the CPU. The parameters' `.grad` stay what they are.
        """
        if not all(map(_is_plain, self._parameters)):
            raise ValueError("lanes trains all parameters, and calls no hooks of theirs")
        if labels.dtype != torch.int64 or not labels.is_cpu or labels.shape != images.shape[:1]:
            raise TypeError(f"labels must be int64 [{len(images)}] on the CPU, one an image")
        group, descent = self._optimiser.param_groups[0], self._descent
        descent.learning_rate, descent.momentum = group["lr"], group["momentum"]
        descent.weight_decay, descent.nesterov = group["weight_decay"], group["nesterov"]
        self._point()
        return self._network.train_batch(images, labels.contiguous(), self._descended, descent)

    def _point(self) -> None:
        """Write the addresses of parameters and momenta, if any is not where it was."""
        state = self._optimiser.state
        same = len(state) == len(self._seen) and all(map(operator.is_, state.values(), self._seen))
        if not (same and self._kept):  # new, loaded or cleared
            self._kept = [state[each] for each in self._parameters]
            self._seen = list(state.values())
            for kept, parameter in zip(self._kept, self._parameters, strict=True):
                if kept.get("momentum_buffer") is None:
                    kept["momentum_buffer"] = torch.zeros_like(parameter)
        momenta = [kept["momentum_buffer"] for kept in self._kept]
        addresses = [tensor.data_ptr() for tensor in (*self._parameters, *momenta)]
        if addresses != self._addresses:
            for struct, value, momentum in zip(
                self._descended.structs, self._parameters, momenta, strict=True
            ):
                require(value, torch.float32, struct.size, "a parameter")
                require(momentum, torch.float32, struct.size, "a momentum")
                struct.value, struct.momentum = value.data_ptr(), momentum.data_ptr()
            self._addresses = addresses
