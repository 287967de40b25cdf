"""A network that trains with lanes: an `nn.Module` that shares everything with its original."""

from __future__ import annotations

import ctypes
import operator
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mnist_arch.lanes.engine import Engine, parameters
from mnist_arch.lanes.layers import read
from mnist_arch.lanes.library import DescentStruct, ParameterStruct
from mnist_arch.lanes.stage import IMAGE, Stage
from mnist_arch.lanes.step import Step, descends


def accelerate(
    network: nn.Sequential, threads: int = 1, instruction_set: str | None = None
) -> Accelerated:
    """A module that computes what `network` does, with the same layers, faster.

    `network` is a flat `nn.Sequential` of CPU float32 layers; raises `Unsupported`, naming the
    layer, for one that lanes cannot train, OSError where the library was not built. `threads` (at
    least 1) share the images of a batch. `instruction_set` is for tests: None takes the best.
    """
    return Accelerated(network, threads, instruction_set)


class Accelerated(nn.Sequential):
    """The layers of the given network, run by the native engine.

    Parameters, buffers, their names and the training flags are those of the given network. The
    gradient by the images is not computed.
    """

    def __init__(
        self, network: nn.Sequential, threads: int = 1, instruction_set: str | None = None
    ) -> None:
        """Share the layers of `network`; see `accelerate`."""
        if operator.index(threads) < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        read(network)
        super().__init__(OrderedDict(network.named_children()))
        self.training = network.training
        self.threads = threads
        self.instruction_set = instruction_set
        self.seed: int | None = None
        self._prepare()

    def _prepare(self) -> None:
        self._stages = read(self)
        self._has_dropout = any(stage.has_dropout() for stage in self._stages)
        self._needs_two_images = any(
            stage.batch_norm is not None and stage.convolved[1:] == (1, 1) for stage in self._stages
        )
        self._drawn = torch.empty((), dtype=torch.int64)  # a seed
        self._idle = [Engine(self._stages, self.threads, self.instruction_set)]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the native memory, which a copy builds for itself."""
        return {key: value for key, value in self.__dict__.items() if key not in _NATIVE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy and build its own native memory."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._prepare()

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, outputs] of float32 images [N, 1, 28, 28] on the CPU; N is at least 1."""
        _check_images(images)
        _check_modes(self)
        mine = parameters(self._stages)
        if self.training:
            self._begin_step(len(images))
        keep = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in mine)
        images = images.detach().contiguous()
        if keep:
            logits: Tensor = _Step.apply(self, images, *mine)
            return logits
        engine = self._take()
        try:
            return engine.forward(images, self.training, False, self.seed or 0)
        finally:
            self._idle.append(engine)

    def stepper(self, optimiser: torch.optim.Optimizer) -> Step | None:
        """What takes a whole training step natively, or None for an optimiser it does not know."""
        return Step(self, optimiser) if descends(self, optimiser) else None

    def train_batch(
        self,
        images: Tensor,
        labels: Tensor,
        descended: ctypes.Array[ParameterStruct],
        descent: DescentStruct,
    ) -> tuple[Tensor, Tensor]:
        """What `Step` does with a batch, on the parameters that it lists."""
        _check_images(images)
        _check_modes(self)
        if not self.training:
            raise ValueError("lanes trains a network in training mode: call train()")
        self._begin_step(len(images))
        engine = self._take()
        try:
            images = images.detach().contiguous()
            return engine.train(images, labels, self.seed or 0, descended, descent)
        finally:
            self._idle.append(engine)

    def masks(self, images: int) -> dict[int, Tensor]:
        """The dropout masks of the last training pass, by layer, for a batch of `images`.

        bool, True where kept: [N, C] for dropout of channels, else [N, C, rows, columns].
        """
        from mnist_arch.lanes.dropout import dropout_mask

        if self.seed is None:
            return {}
        return {
            dropout.layer: dropout_mask(self.seed, dropout, images)
            for stage in self._stages
            for dropout in stage.dropouts()
        }

    def _begin_step(self, images: int) -> None:
        """Draw this step's seed; refuse a batch without a variance."""
        if images == 1 and self._needs_two_images:
            raise ValueError("batch norm needs more than one value per channel when training")
        if self._has_dropout:
            self.seed = int(self._drawn.random_().item())

    def _take(self) -> Engine:
        """An engine whose last forward pass is not waiting for its backward pass."""
        if self._idle:
            return self._idle.pop()
        return Engine(self._stages, self.threads, self.instruction_set)


_NATIVE = ("_stages", "_drawn", "_idle")


class _Lease:
    """An engine in use by one step, handed back when its backward pass or its graph is gone."""

    def __init__(self, owner: Accelerated) -> None:
        self._idle: list[Engine] = owner._idle
        self._engine: Engine | None = owner._take()

    def engine(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("lanes: this graph was backpropagated already; it can be only once")
        return self._engine

    def end(self) -> None:
        if self._engine is not None:
            self._idle.append(self._engine)
            self._engine = None

    def __del__(self) -> None:
        self.end()


class _Step(torch.autograd.Function):
    """The whole network as one function of its parameters."""

    @staticmethod
    def forward(ctx: Any, owner: Accelerated, images: Tensor, *_: Tensor) -> Tensor:
        lease = ctx.lease = _Lease(owner)
        return lease.engine().forward(images, owner.training, True, owner.seed or 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        engine = ctx.lease.engine()
        gradients = engine.backward(slopes.contiguous(), ctx.needs_input_grad[2:])
        ctx.lease.end()
        return (None, None, *gradients)


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a tensor, not {type(images).__name__}")
    if images.dtype != torch.float32 or not images.is_cpu:
        raise TypeError(f"images must be float32 on the CPU, not {images.dtype} on {images.device}")
    shape = images.shape
    if len(shape) != 4 or shape[1:] != IMAGE or shape[0] < 1:
        raise ValueError(f"images must be [N, 1, 28, 28], N at least 1, not {list(images.shape)}")
    if images.requires_grad and torch.is_grad_enabled():
        raise ValueError("lanes does not compute the gradient by the images: detach them")


def _check_modes(network: Accelerated) -> None:
    mode = network.training
    for layer in network._modules.values():
        if layer is not None and layer.training is not mode:
            raise ValueError("lanes needs every layer in the same mode: call train() or eval()")


__all__ = ["Accelerated", "Stage", "accelerate"]
