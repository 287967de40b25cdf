"""Geometry of a convolution: whether each of its outputs sees the whole input map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution as ATen runs it; every list has one number for each axis of the map."""

    channels_in: int
    channels_out: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    groups: int

    @staticmethod
    def of(weight: Tensor, arguments: Sequence[object]) -> Geometry:
        """The geometry of `aten.convolution(input, weight, bias, stride, padding, ...)`."""
        stride, padding, dilation, transposed, _, groups = arguments[3:9]
        assert isinstance(groups, int)
        rank = weight.dim() - 2
        first, second = weight.shape[0], weight.shape[1] * groups
        sizes = (second, first) if not transposed else (first, second)
        return Geometry(
            *sizes, tuple(weight.shape[2:]), _of_rank(stride, rank), _of_rank(padding, rank),
            _of_rank(dilation, rank), bool(transposed), groups,
        )  # fmt: skip

    @property
    def text(self) -> str:
        """In a few words: `conv 3x3 1 -> 10`."""
        sides = "x".join(f"{side}" for side in self.kernel)
        kind = "transposed conv" if self.transposed else "conv"
        groups = "" if self.groups == 1 else f" in {self.groups:,} groups"
        return f"{kind} {sides} {self.channels_in:,} -> {self.channels_out:,}{groups}"

    def macs(self, images: Tensor, out: Tensor) -> int:
        """Multiply-accumulates for a whole batch."""
        taps = 1
        for side in self.kernel:
            taps *= side
        if self.transposed:
            return images.numel() * taps * self.channels_out // self.groups
        return out.numel() * taps * self.channels_in // self.groups

    def connects_fully(self, images: Tensor, out: Tensor, distinct: bool) -> bool:
        """Whether each output sees each value of its input map, several outputs the same values.

        Of a depthwise convolution with one output a channel each output sees one channel: that is
        a learned pooling. Copies of one map (`distinct` says that equal values mean copies) count
        as one map, and an axis along which a map only repeats as one pixel; a layer that gives
        several images the same values is dead, and its equal values mean nothing.
        """
        sides = list(images.shape[2:])
        if distinct and _differ(images):
            sides = [1 if repeats(images, axis + 2) else side for axis, side in enumerate(sides)]
        if not all(self._covers(axis, side, out) for axis, side in enumerate(sides)):
            return False
        inputs, outputs = self.channels_in // self.groups, self.channels_out // self.groups
        if inputs > 1 or self.groups == 1:
            return True
        pixels = max([1, *sides])
        return pixels > 1 and (
            outputs > 1 or (distinct and _differ(images) and _holds_copies(images))
        )

    def whole_places(self, images: Tensor, out: Tensor) -> frozenset[int]:
        """The numbers, row by row, of the output places that see all of their input map."""
        sees = torch.ones((), dtype=torch.bool)
        for axis, side in enumerate(images.shape[2:]):
            line = [self._sees(axis, side, place) for place in range(out.shape[axis + 2])]
            sees = sees[..., None] & torch.tensor(line)
        return frozenset(sees.flatten().nonzero()[:, 0].tolist())

    @property
    def inputs_of_a_group(self) -> int:
        """How many channels each output sees."""
        return self.channels_in // self.groups

    @property
    def pools_each_channel(self) -> bool:
        """Whether each output sees one channel that no other output sees: a learned pooling."""
        return self.groups == self.channels_in == self.channels_out

    def _covers(self, axis: int, side: int, out: Tensor) -> bool:
        """Whether along an axis every output pixel sees all of a side."""
        last = out.shape[axis + 2] - 1
        return side == 1 or all(self._sees(axis, side, place) for place in {0, last})

    def _sees(self, axis: int, side: int, place: int) -> bool:
        """Whether the output pixel at `place` of an axis sees all of a side."""
        kernel, step = self.kernel[axis], self.dilation[axis]
        stride, padding = self.stride[axis], self.padding[axis]
        if self.transposed:  # input i lands on output i * stride - padding + tap
            taps = [place + padding - pixel * stride for pixel in range(side)]
        else:
            taps = [pixel - place * stride + padding for pixel in range(side)]
        return all(tap in range(0, kernel * step, step) for tap in taps)


def _holds_copies(images: Tensor) -> bool:
    """Whether all channels of a map that is not constant hold the same values."""
    return repeats(images, 1) and not all(repeats(images, axis) for axis in range(2, images.dim()))


def repeats(tensor: Tensor, axis: int) -> bool:
    """Whether all slices along a dimension hold the same values."""
    if tensor.shape[axis] <= 1 or tensor.stride(axis) == 0:
        return True
    return bool((tensor == tensor.narrow(axis, 0, 1)).all())


def _differ(images: Tensor) -> bool:
    """Whether no two images of a batch have the same values: a dead layer gives them the same."""
    known = torch.unique(images.detach().reshape(len(images), -1), dim=0)
    return len(known) == len(images) > 1


def _of_rank(value: object, rank: int) -> tuple[int, ...]:
    assert isinstance(value, list | tuple)
    numbers = tuple(int(each) for each in value)
    return numbers if len(numbers) == rank else numbers * rank
