"""One stage of a network: a convolution and what follows it up to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import nn

from mnist_arch.lanes.library import MAX_CHANNEL_DROPOUTS, StageStruct

IMAGE = (1, 28, 28)
"""Channels, rows and columns of the images that a network takes."""

NO_POOL, MAX_POOL, AVERAGE_POOL = 0, 1, 2


class Dropout(NamedTuple):
    """One dropout: its position in the network, and what its mask covers.

    `shape` is the map it acts on: channels, rows, columns.
    """

    layer: int
    probability: float
    element_wise: bool
    shape: tuple[int, int, int]


@dataclass
class Stage:
    """A convolution (None: the input passes as it is), the map it reads, and what follows it.

    `map` is channels, rows, columns. Dropouts are (position in the network, probability); those
    of whole channels commute with ReLU and pooling, so their order among these does not matter.
    """

    convolution: nn.Conv2d | None
    map: tuple[int, int, int]
    relu_before: bool = False
    batch_norm: nn.BatchNorm2d | None = None
    relu_after: bool = False
    before_pool: tuple[int, float] | None = None
    pool: int = NO_POOL
    after_pool: tuple[int, float] | None = None
    channel_dropouts: list[tuple[int, float]] = field(default_factory=list)

    @property
    def convolved(self) -> tuple[int, int, int]:
        """The convolution's output: channels, rows, columns."""
        if self.convolution is None:
            return self.map
        shrink = self.convolution.kernel_size[0] - 1 - 2 * int(self.convolution.padding[0])
        return (self.convolution.out_channels, self.map[1] - shrink, self.map[2] - shrink)

    @property
    def output(self) -> tuple[int, int, int]:
        """The map after the pool: channels, rows, columns."""
        channels, height, width = self.convolved
        if self.pool == MAX_POOL:
            return (channels, height // 2, width // 2)
        return (channels, 1, 1) if self.pool == AVERAGE_POOL else (channels, height, width)

    def has_dropout(self) -> bool:
        """Whether any dropout follows the convolution."""
        return bool(self.before_pool or self.after_pool or self.channel_dropouts)

    def dropouts(self) -> list[Dropout]:
        """Every dropout of the stage."""
        places = ((self.before_pool, self.convolved), (self.after_pool, self.output))
        return [Dropout(*dropout, False, self.output) for dropout in self.channel_dropouts] + [
            Dropout(*dropout, True, shape) for dropout, shape in places if dropout
        ]

    def struct(self) -> StageStruct:
        """What the native library is told of this stage."""
        struct = StageStruct()
        struct.in_channels, struct.height, struct.width = self.map
        struct.out_channels = self.convolved[0]
        struct.kernel = self.convolution.kernel_size[0] if self.convolution else 1
        struct.padding = int(self.convolution.padding[0]) if self.convolution else 0
        struct.relu_before, struct.relu_after = self.relu_before, self.relu_after
        struct.batch_norm, struct.pool = self.batch_norm is not None, self.pool
        struct.epsilon = self.batch_norm.eps if self.batch_norm else 0.0
        struct.before_layer, struct.before_probability = self.before_pool or (-1, 0.0)
        struct.after_layer, struct.after_probability = self.after_pool or (-1, 0.0)
        unused = [(-1, 0.0)] * MAX_CHANNEL_DROPOUTS
        for slot in range(MAX_CHANNEL_DROPOUTS):
            layer, probability = [*self.channel_dropouts, *unused][slot]
            struct.channel_layers[slot] = layer
            struct.channel_probabilities[slot] = probability
        return struct
