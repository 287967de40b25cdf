"""Taint: what a tensor's values derive from, images, weights or neither; by memory, not by name.

Views, transposes, `.detach()` and `.data` share memory with what they show, so a ledger by memory
follows them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mnist_arch.audit.fields import Field


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from: a parameter, a buffer, a plain tensor, or drawn at random."""

    name: str
    kind: Literal["parameter", "buffer", "tensor", "drawn"]
    values: int


@dataclass(frozen=True, slots=True)
class Taint:
    """What a tensor derives from; both `image` and `sources` mean weights moved by images.

    A layer's output is `image` alone: its weights are in it, but it is no weight any more.
    """

    image: bool = False
    sources: frozenset[int] = frozenset()
    field: Field | None = None

    @property
    def weight(self) -> bool:
        """Whether the tensor can serve as a layer's weights."""
        return bool(self.sources)

    @property
    def activation(self) -> bool:
        """Whether the tensor is something computed from images."""
        return self.image and not self.sources

    def without_field(self) -> Taint:
        """The same, with a receptive field that cannot be told."""
        return replace(self, field=None)


NOTHING = Taint()

OUTSIDE = "a tensor from outside the module"


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors_in(each)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def memory_of(tensor: Tensor) -> int | None:
    """The address of a tensor's memory; None where it has no values."""
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (NotImplementedError, RuntimeError):  # sparse tensors have no memory of their own
        return -id(tensor)


@dataclass(slots=True)
class Ledger:
    """The taint of every piece of memory met so far, and the sources of weights."""

    sources: list[Source] = field(default_factory=list)
    _taints: dict[int, Taint] = field(default_factory=dict)
    _names: dict[int, Source] = field(default_factory=dict)
    _kept: list[Tensor] = field(default_factory=list)  # so that no address is used twice

    @staticmethod
    def of(module: nn.Module) -> Ledger:
        """A ledger that knows a module's parameters, buffers and tensors among its attributes."""
        ledger = Ledger()
        for path, owner in module.named_modules():
            for name, held in vars(owner).items():
                for tensor in () if name.startswith("_") else tensors_in(held):
                    ledger._name(tensor, "tensor", f"{path}.{name}".lstrip("."))
        for name, tensor in module.named_buffers():
            ledger._name(tensor, "buffer", name)
        for name, tensor in module.named_parameters():
            ledger._name(tensor, "parameter", name)
        return ledger

    def _name(
        self, tensor: Tensor, kind: Literal["parameter", "buffer", "tensor"], name: str
    ) -> None:
        memory = memory_of(tensor)
        if memory is not None:
            self._names[memory] = Source(name, kind, tensor.numel())
            self._kept.append(tensor)

    def taint_of(self, tensor: Tensor) -> Taint:
        """What a tensor derives from; memory never met before was made outside: a source."""
        memory = memory_of(tensor)
        if memory is None:
            return NOTHING
        if memory not in self._taints:
            outside = Source(OUTSIDE, "tensor", _size(tensor))
            self.add_source(tensor, self._names.get(memory, outside))
        return self._taints[memory]

    def add_source(self, tensor: Tensor, source: Source) -> None:
        """Enter a tensor's memory as a source of weights; a lone number outside is a constant."""
        lone = source.kind == "tensor" and source.values == 1
        self.sources.append(source)
        number = frozenset[int]() if lone else frozenset({len(self.sources) - 1})
        self.set(tensor, Taint(sources=number))

    def set(self, tensor: Tensor, taint: Taint) -> None:
        """Enter what a tensor's memory derives from now."""
        memory = memory_of(tensor)
        if memory is not None:
            self._taints[memory] = taint
            self._kept.append(tensor)

    def is_known(self, tensor: Tensor) -> bool:
        """Whether a tensor's memory has been met."""
        return memory_of(tensor) in self._taints

    def is_source(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in the memory of a parameter, buffer or attribute."""
        return memory_of(tensor) in self._names


def _size(tensor: Tensor) -> int:
    """How many values lie in a tensor's memory, whatever part of it the tensor shows."""
    if tensor.layout != torch.strided:
        return tensor.numel()
    return tensor.untyped_storage().nbytes() // max(tensor.element_size(), 1)


def is_plain_pooling(matrix: Tensor) -> bool:
    """Whether a matrix [.., rows, columns] only adds up, copies or moves values.

    All that is not zero is one number, and either it is everywhere, or each row or each column
    has at most one of it: averages, identities, permutations, repetitions.
    """
    if matrix.layout != torch.strided or matrix.is_complex() or matrix.dim() < 2:
        return False
    there = matrix != 0
    values = matrix[there]
    if values.numel() and not torch.equal(values, values[:1].expand_as(values)):
        return False
    sparse = any(bool((there.sum(axis) <= 1).all()) for axis in (-1, -2))
    return bool(there.all()) or sparse
