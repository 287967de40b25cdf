"""Arithmetic: what each kind of layer computes, what comes out of it and what it costs.

Integers only: no torch, no allocation, whatever the widths. A new layer has one function here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch

from mnist_arch.layers import (
    Activation,
    AveragePool,
    Conv,
    DepthwiseConv,
    Dropout,
    Linear,
    LocalAveragePool,
    MaxPool,
    Shape,
    Sum,
)


@dataclass(frozen=True, slots=True)
class Convolution:
    """The operation of a convolution layer: zeros around the map, `groups` at least 1."""

    kernel: int
    stride: int
    padding: int
    groups: int
    bias: bool


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch norm over images, rows and columns of each channel, with a scale and a shift."""


Operation = (
    Convolution | BatchNorm | Dropout | MaxPool | LocalAveragePool | AveragePool | Sum | Linear
)  # fmt: skip
"""What a node computes; a layer that makes one node is its own operation."""


ACTIVATION_MODULES: dict[Activation, str] = {
    "relu": "ReLU", "silu": "SiLU", "hard_swish": "Hardswish", "none": "",
}  # fmt: skip
"""The torch module of each activation; a new activation has one entry here."""


@dataclass(frozen=True, slots=True)
class Part:
    """One operation of a layer: the torch module that does it, its output and its cost.

    `window` pixels a side of the input reach one pixel of the output, which lie `stride` apart;
    `activation` is applied to the output.
    """

    operation: Operation
    module: str
    output_shape: Shape
    parameters: int = 0
    macs: int = 0
    window: int = 1
    stride: int = 1
    activation: Activation = "none"


class Misfit(ValueError):
    """A layer that cannot take its input map: the broken limit, the count, the largest allowed."""

    def __init__(self, limit: str, counted: int, allowed: int, reason: str) -> None:
        super().__init__(reason)
        self.limit, self.counted, self.allowed = limit, counted, allowed


@singledispatch
def parts(layer: object, _shape: Shape) -> tuple[Part, ...]:
    """The parts of one layer on an input map of `shape`, in order: one for each operation.

    A side below 1 in an output says that nothing is left of the map. Raises `Misfit` where the
    layer cannot take the map, `TypeError` for a layer that is not known here.
    """
    raise TypeError(f"{type(layer).__name__} has no function in mnist_arch/arithmetic.py")


@parts.register
def _conv(layer: Conv, shape: Shape) -> tuple[Part, ...]:
    return _convolution(layer, shape, layer.out_channels, layer.groups)


@parts.register
def _depthwise_conv(layer: DepthwiseConv, shape: Shape) -> tuple[Part, ...]:
    return _convolution(layer, shape, shape[0], shape[0])


def _convolution(
    layer: Conv | DepthwiseConv, shape: Shape, out_channels: int, groups: int
) -> tuple[Part, ...]:
    """A convolution, and the batch norm after it where there is one."""
    in_channels, side, _ = shape
    if in_channels % groups:
        raise Misfit(
            "groups", groups, math.gcd(in_channels, out_channels),
            f"{groups:,} groups do not divide its {in_channels:,} input channels; use a number "
            "of groups that divides both widths",
        )  # fmt: skip
    after = (side + 2 * layer.padding - layer.kernel) // layer.stride + 1
    output = (out_channels, after, after)
    weights = out_channels * (in_channels // groups) * layer.kernel**2
    first = layer.activation_first or not layer.batch_norm
    convolution = Part(
        Convolution(layer.kernel, layer.stride, layer.padding, groups, layer.bias), "Conv2d",
        output, weights + out_channels * layer.bias, weights * after**2, layer.kernel,
        layer.stride, layer.activation if first else "none",
    )  # fmt: skip
    if not layer.batch_norm:
        return (convolution,)
    last = "none" if first else layer.activation
    norm = Part(BatchNorm(), "BatchNorm2d", output, 2 * out_channels, activation=last)
    return (convolution, norm)


@parts.register
def _dropout(layer: Dropout, shape: Shape) -> tuple[Part, ...]:
    return (Part(layer, "Dropout2d" if layer.kind == "channel" else "Dropout", shape),)


@parts.register
def _max_pool(layer: MaxPool, shape: Shape) -> tuple[Part, ...]:
    return (_pool(layer, "MaxPool2d", shape),)


@parts.register
def _local_average_pool(layer: LocalAveragePool, shape: Shape) -> tuple[Part, ...]:
    return (_pool(layer, "AvgPool2d", shape),)


def _pool(layer: MaxPool | LocalAveragePool, module: str, shape: Shape) -> Part:
    after = shape[1] // layer.size
    output = (shape[0], after, after)
    return Part(layer, module, output, window=layer.size, stride=layer.size)


@parts.register
def _average_pool(layer: AveragePool, shape: Shape) -> tuple[Part, ...]:
    return (Part(layer, "AvgPool2d", (shape[0], 1, 1), window=shape[1]),)


@parts.register
def _sum(layer: Sum, shape: Shape) -> tuple[Part, ...]:
    return (Part(layer, "Sum", shape, activation=layer.activation),)


@parts.register
def _linear(layer: Linear, shape: Shape) -> tuple[Part, ...]:
    weights = layer.out_features * math.prod(shape)
    parameters = weights + layer.out_features * layer.bias
    output = (layer.out_features, 1, 1)
    return (Part(layer, "Linear", output, parameters, weights, window=shape[1]),)
