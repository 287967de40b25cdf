"""The table that the native library takes: one node an operation, in the order of computation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from torch import nn

from mnist_arch.lanes.library import NodeStruct

Shape = tuple[int, int, int]

IMAGE: Shape = (1, 28, 28)
"""Channels, rows and columns of the images that a network takes."""


class Operation(IntEnum):
    """`LanesOperation` of `native/lanes.h`."""

    CONVOLUTION = 0
    BATCH_NORM = 1
    ACTIVATION = 2
    MAX_POOL = 3
    AVERAGE_POOL = 4
    WHOLE_AVERAGE = 5
    CHANNEL_DROPOUT = 6
    ELEMENT_DROPOUT = 7
    SUM = 8


ACTIVATIONS = {"none": 0, "relu": 1, "silu": 2, "hard_swish": 3}


class Unsupported(ValueError):
    """A layer that lanes cannot train, by name, with the reason."""

    def __init__(self, name: str, reason: str) -> None:
        """Name the layer and say why."""
        super().__init__(f"{name}: {reason}")


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: what it reads, its settings, and the module that has its parameters.

    `inputs` are numbers of earlier nodes, -1 for the images: one, two for a sum. `output` is the
    map that it makes: channels, rows, columns. `layer` is its module's place in the network, which
    also names the masks of a dropout.
    """

    operation: Operation
    inputs: tuple[int, ...]
    output: Shape
    layer: int
    module: nn.Module | None = None
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    activation: int = 0
    probability: float = 0.0

    @property
    def is_dropout(self) -> bool:
        """Whether it draws a mask."""
        dropouts = (Operation.CHANNEL_DROPOUT, Operation.ELEMENT_DROPOUT)
        return self.operation in dropouts and self.probability > 0

    def struct(self) -> NodeStruct:
        """What the native library is told of this node."""
        struct = NodeStruct()
        struct.operation, struct.layer = self.operation, self.layer
        struct.inputs[0], struct.inputs[1] = (*self.inputs, -2)[:2]
        struct.channels, struct.kernel, struct.stride = self.output[0], self.kernel, self.stride
        struct.padding, struct.groups = self.padding, self.groups
        struct.activation, struct.probability = self.activation, self.probability
        struct.epsilon = self.module.eps if isinstance(self.module, nn.BatchNorm2d) else 0.0
        return struct


def modules(nodes: Sequence[Node]) -> list[nn.Module]:
    """The modules that have parameters, in the order of their nodes."""
    kinds = (Operation.CONVOLUTION, Operation.BATCH_NORM)
    return [node.module for node in nodes if node.operation in kinds and node.module is not None]
