"""A network that trains with lanes: an `nn.Module` that shares everything with its original."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mnist_arch.lanes.descent import NativeStep, descends
from mnist_arch.lanes.handle import Descended, Handle, parameters
from mnist_arch.lanes.library import DescentStruct
from mnist_arch.lanes.lower import lower
from mnist_arch.lanes.masks import dropout_mask
from mnist_arch.lanes.nodes import IMAGE, Node, Operation, Unsupported


def accelerate(
    network: nn.Module,
    threads: int = 1,
    instruction_set: str | None = None,
    nodes: Sequence[Node] | None = None,
) -> Accelerated:
    """A module that computes what `network` does, with the same layers, faster.

    `network` is one that `build` made, with float32 layers on the CPU; raises `Unsupported`, naming
    the layer, for one that lanes cannot train, OSError where the library was not built. `threads`
    (at least 1) share the images of a batch. `instruction_set` is for tests: None takes the best.
    `nodes`: the table of a network that has no plan.
    """
    return Accelerated(network, threads, instruction_set, nodes)


class Accelerated(nn.Module):
    """The layers of the given network, run by the native library.

    Parameters, buffers, their names and the training flags are those of the given network. The
    gradient by the images is not computed. Layers cannot be added, replaced, set otherwise or
    hooked: that is refused.
    """

    def __init__(
        self,
        network: nn.Module,
        threads: int = 1,
        instruction_set: str | None = None,
        nodes: Sequence[Node] | None = None,
    ) -> None:
        """Share the layers of `network`; see `accelerate`."""
        _require_threads(threads)
        nodes = tuple(lower(network) if nodes is None else nodes)
        super().__init__()
        for name, layer in network.named_children():
            self.add_module(name, layer)
        self.training = network.training
        self.threads = threads
        self.instruction_set = instruction_set
        self.seed: int | None = None
        self._places = [(node, _place(network, node)) for node in nodes]
        self._prepare()

    def _prepare(self) -> None:
        layers = list(self._modules.values())
        self._nodes = tuple(
            node if place is None else replace(node, module=layers[place])
            for node, place in self._places
        )
        self._has_dropout = any(node.is_dropout for node in self._nodes)
        self._needs_two_images = any(
            node.operation is Operation.BATCH_NORM and node.output[1:] == (1, 1)
            for node in self._nodes
        )
        self._drawn = torch.empty((), dtype=torch.int64)  # a seed
        self._layers = [layer for layer in layers if layer is not None]
        self._settings = _settings(self._layers)
        _check_layers(self)
        self._idle = [Handle(self._nodes, self.threads, self.instruction_set)]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the native memory, which a copy builds for itself."""
        return {key: value for key, value in self.__dict__.items() if key not in _NATIVE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy and build its own native memory."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._prepare()

    def use_threads(self, threads: int) -> None:
        """From the next call on, share the work among so many threads; no bit of it changes."""
        _require_threads(threads)
        if threads != self.threads:
            self.threads = threads
            self._idle = []  # what is in use goes back to the old list, and is gone with it

    def __iter__(self) -> Iterator[nn.Module]:
        """The layers, in order."""
        return iter(list(self.children()))

    def __getitem__(self, place: int) -> nn.Module:
        """The layer at a place, to read."""
        return list(self.children())[place]

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, outputs] of float32 images [N, 1, 28, 28] on the CPU; N is at least 1."""
        _check_images(images)
        _check_layers(self)
        mine = parameters(self._nodes)
        if self.training:
            self._begin_step(len(images))
        keep = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in mine)
        images = images.detach().contiguous()
        if keep:
            logits: Tensor = _Pass.apply(self, images, *mine)
            return logits
        handle = self._take()
        try:
            return handle.forward(images, self.training, False, self.seed or 0)
        finally:
            self._idle.append(handle)

    def stepper(
        self, optimiser: torch.optim.Optimizer, label_smoothing: float = 0.0
    ) -> NativeStep | None:
        """What takes a whole training step natively, or None for an optimiser it does not know.

        `label_smoothing` as in torch's `cross_entropy`, a share in [0, 1).
        """
        mine = parameters(self._nodes)
        hooked = self._forward_hooks or self._forward_pre_hooks or self._backward_hooks
        known = not hooked and descends(mine, optimiser)
        return NativeStep(self, mine, optimiser, label_smoothing) if known else None

    def train_batch(
        self,
        images: Tensor,
        labels: Tensor,
        descended: Descended,
        descent: DescentStruct,
    ) -> tuple[Tensor, Tensor]:
        """What `NativeStep` does with a batch, on the parameters that it lists."""
        _check_images(images)
        _check_layers(self)
        if not self.training:
            raise ValueError("lanes trains a network in training mode: call train()")
        self._begin_step(len(images))
        handle = self._take()
        try:
            images = images.detach().contiguous()
            return handle.train(images, labels, self.seed or 0, descended, descent)
        finally:
            self._idle.append(handle)

    def masks(self, images: int) -> dict[int, Tensor]:
        """The dropout masks of the last training pass, by layer, for a batch of `images`.

        bool, True where kept: [N, C] for dropout of channels, else [N, C, rows, columns].
        """
        if self.seed is None:
            return {}
        return {
            node.layer: dropout_mask(self.seed, node, images)
            for node in self._nodes
            if node.is_dropout
        }

    def _begin_step(self, images: int) -> None:
        """Draw this step's seed; refuse a batch without a variance."""
        if images == 1 and self._needs_two_images:
            raise ValueError("batch norm needs more than one value per channel when training")
        if self._has_dropout:
            self.seed = int(self._drawn.random_().item())

    def _take(self) -> Handle:
        """A handle whose last forward pass is not waiting for its backward pass."""
        if self._idle:
            return self._idle.pop()
        return Handle(self._nodes, self.threads, self.instruction_set)


_NATIVE = ("_nodes", "_drawn", "_idle", "_layers", "_settings")


class _Lease:
    """A handle in use by one step, handed back when its backward pass or its graph is gone."""

    def __init__(self, owner: Accelerated) -> None:
        self._idle: list[Handle] = owner._idle
        self._handle: Handle | None = owner._take()

    def handle(self) -> Handle:
        if self._handle is None:
            raise RuntimeError("lanes: this graph was backpropagated already; it can be only once")
        return self._handle

    def end(self) -> None:
        if self._handle is not None:
            self._idle.append(self._handle)
            self._handle = None

    def __del__(self) -> None:
        self.end()


class _Pass(torch.autograd.Function):
    """The whole network as one function of its parameters."""

    @staticmethod
    def forward(ctx: Any, owner: Accelerated, images: Tensor, *_: Tensor) -> Tensor:
        lease = ctx.lease = _Lease(owner)
        return lease.handle().forward(images, owner.training, True, owner.seed or 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        handle = ctx.lease.handle()
        gradients = handle.backward(gradient.contiguous(), ctx.needs_input_grad[2:])
        ctx.lease.end()
        return (None, None, *gradients)


def _require_threads(threads: int) -> None:
    if operator.index(threads) < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")


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


def _place(network: nn.Module, node: Node) -> int | None:
    """The place of a node's module among the network's own."""
    places = (place for place, layer in enumerate(network.children()) if layer is node.module)
    return None if node.module is None else next(places)


_SETTINGS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("stride", "padding", "dilation", "groups", "padding_mode"),
    nn.BatchNorm2d: ("eps",),
    nn.Dropout: ("p",),
    nn.Dropout2d: ("p",),
    nn.MaxPool2d: ("kernel_size", "stride", "padding", "ceil_mode"),
    nn.AvgPool2d: ("kernel_size", "stride", "padding", "ceil_mode"),
}


def _settings(layers: list[nn.Module]) -> list[tuple[nn.Module, str, object]]:
    """What the native library was told of the layers, which it does not read again."""
    return [
        (layer, name, getattr(layer, name))
        for layer in layers
        for name in _SETTINGS.get(type(layer), ())
    ]


def _check_layers(network: Accelerated) -> None:
    """Refuse layers that are no longer as lanes took them, or that ask for what it does not do."""
    layers = list(network._modules.values())
    if len(layers) != len(network._layers) or any(map(operator.is_not, layers, network._layers)):
        raise ValueError("lanes runs the layers it was given: accelerate the changed network anew")
    mode = network.training
    for layer in network._layers:
        if layer.training is not mode:
            raise ValueError("lanes needs every layer in the same mode: call train() or eval()")
        if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:
            raise Unsupported(type(layer).__name__, "has hooks, which lanes would not call")
    for layer, name, value in network._settings:
        if getattr(layer, name) != value:
            raise ValueError(
                f"{type(layer).__name__}.{name} was {value} when lanes took the network, and is"
                f" now {getattr(layer, name)}: accelerate it anew"
            )
