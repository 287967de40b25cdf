"""Labels: for each value computed from images, where it comes from and which weights are in it.

Beside the memory of every such tensor lies a shadow of labels. Views of the tensor are the same
views of its shadow, so that whatever moves values moves their labels too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from mnist_arch.audit.taint import memory_of

ROW = 2048
"""The step of a place's code from one row to the next; a column's is 1."""

_FIRST, _SECOND = 1.6180339887498949, 2.2360679774997896  # mix two labels into one


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of each value of a tensor; every field is float64 in the tensor's shape.

    `place` codes the row and column on the map (`ROW` * row + column, counted from 1), 0 is
    nowhere: padding, or all of a map at once. `first` and `second` are numbers of the values that
    the weights met. `weight` tells the weights met value by value apart, 0 where there are none;
    `scales` is 1 where they do more than add.
    """

    place: Tensor
    first: Tensor
    second: Tensor
    weight: Tensor
    scales: Tensor

    def mapped(self, move: Callable[[Tensor], Tensor]) -> Labels:
        """The labels after the same thing happened to them as to the values."""
        return Labels(*(move(each) for each in self.all()))

    def all(self) -> list[Tensor]:
        """The five tensors of labels."""
        return [getattr(self, each.name) for each in fields(self)]

    @property
    def weighted(self) -> bool:
        """Whether weights were met value by value on the way here."""
        return bool(self.weight.any())


@dataclass(slots=True)
class Shadows:
    """The labels beside each piece of memory."""

    _stores: dict[tuple[int, int], list[Tensor]] = field(default_factory=dict)
    """By memory and by the bytes of a value: one memory may be seen as complex and as real."""

    def get(self, tensor: Tensor) -> Labels | None:
        """A tensor's labels, or None if its memory has none."""
        if tensor.layout != torch.strided:
            return None
        memory, size = memory_of(tensor) or 0, tensor.element_size()
        if (memory, size) not in self._stores:
            self._see_as(memory, size)
        stores = self._stores.get((memory, size))
        if stores is None:
            return None
        where = tensor.shape, tensor.stride(), tensor.storage_offset()
        return Labels(*(store.as_strided(*where) for store in stores))

    def put(self, tensor: Tensor, labels: Labels) -> None:
        """Write a tensor's labels; a tensor that shows a value twice keeps what it has."""
        if tensor.layout != torch.strided:
            return
        memory, size = memory_of(tensor), tensor.element_size()
        overlaps = any(
            side > 1 and step == 0 for side, step in zip(tensor.shape, tensor.stride(), strict=True)
        )
        if memory is None or overlaps:
            return
        if (memory, size) not in self._stores:
            count = tensor.untyped_storage().nbytes() // size
            self._stores[memory, size] = [
                torch.zeros(count, dtype=torch.float64) for _ in fields(Labels)
            ]
        shadow = self.get(tensor)
        assert shadow is not None
        for mine, new in zip(shadow.all(), labels.all(), strict=True):
            mine.copy_(new)
        for other in (size // 2, 2 * size):
            if self._stores.pop((memory, other), None) is not None:
                self._see_as(memory, other)

    def _see_as(self, memory: int, size: int) -> None:
        """Make the labels of a memory's values of `size` bytes from those twice or half as large.

        Both parts of a complex number have its labels; it has those of its parts, mixed.
        """
        if (memory, 2 * size) in self._stores:
            wide = self._stores[memory, 2 * size]
            self._stores[memory, size] = [each.repeat_interleave(2) for each in wide]
        elif (memory, size // 2) in self._stores:
            narrow = self._stores[memory, size // 2]
            pairs = [each[: len(each) // 2 * 2].view(-1, 2) for each in narrow]
            self._stores[memory, size] = [mixed(each.unbind(-1)) for each in pairs]


def fresh(tensor: Tensor) -> Labels:
    """Labels of a new map: the last two dimensions are rows and columns, of three the last one.

    What has fewer dimensions is a vector of no place.
    """
    shape, rank = tensor.shape, tensor.dim()
    place = torch.zeros(shape, dtype=torch.float64)
    if rank >= 3:
        place = place + torch.arange(1, shape[-1] + 1)
        rows = torch.arange(1, shape[-2] + 1)[:, None] if rank >= 4 else torch.ones(1)
        place = place + ROW * rows
    numbers = torch.arange(1, tensor.numel() + 1, dtype=torch.float64).reshape(shape)
    nothing = torch.zeros(shape, dtype=torch.float64)
    return Labels(place, numbers, numbers, nothing, nothing)


def of_weights(weight: Tensor) -> Tensor:
    """A label for each value of a tensor of weights, never 0: equal values are one weight."""
    value = weight.detach().to("cpu")
    if value.is_complex():
        value = value.real + _FIRST * value.imag
    return value.to(torch.float64) + torch.pi


def mixed(labels: Iterable[Tensor]) -> Tensor:
    """One label for each combination of labels; 0 and what is equal leave a label as it is."""
    total: Tensor | None = None
    for each in labels:
        if total is None:
            total = each
            continue
        one, other = torch.broadcast_tensors(total, each)  # type: ignore[no-untyped-call]
        both = torch.where(one == other, one, one * _FIRST + other * _SECOND)
        total = torch.where(one == 0, other, torch.where(other == 0, one, both))
    assert total is not None
    return total


def paired(one: Tensor, other: Tensor) -> Tensor:
    """A label for each pair of labels; unlike `mixed` the order matters."""
    return one * _FIRST + other * _SECOND


def distinct(labels: Tensor) -> int:
    """How many different labels there are."""
    return int(torch.unique(labels).numel())
