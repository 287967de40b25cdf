"""Networks to test with: the assignment's own, and random ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from torch import nn

from mnist_arch.build import Network
from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Dropout,
    Layer,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from mnist_arch.plan import plan

Draw = Any


def block(
    inputs: int, outputs: int, kernel: int = 3, padding: int = 1, then: str = "brd"
) -> list[nn.Module]:
    """A convolution and what follows: b(atch norm), r(elu), d(ropout2d), e(lement dropout), m, a.

    m is a 2x2 maximum pool, a the average of the map.
    """
    followers: dict[str, Callable[[], nn.Module]] = {
        "b": lambda: nn.BatchNorm2d(outputs),
        "r": nn.ReLU,
        "d": lambda: nn.Dropout2d(0.1),
        "e": lambda: nn.Dropout(0.2),
        "m": lambda: nn.MaxPool2d(2),
        "a": lambda: nn.AdaptiveAvgPool2d(1),
    }
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding)
    return [convolution, *(followers[letter]() for letter in then)]


def seed_network(dropout: str = "d") -> nn.Sequential:
    """The assignment's design: 18,430 parameters."""
    return nn.Sequential(
        *block(1, 10, then="br" + dropout),
        *block(10, 10, then="br" + dropout + "m"),
        *block(10, 20, then="br" + dropout),
        *block(20, 20, then="br" + dropout + "m" + dropout),
        *block(20, 20, padding=0, then="br"),
        *block(20, 30, padding=0, then="br"),
        nn.Conv2d(30, 10, 3),
        nn.Flatten(1),
    )


def small_network(then: str = "br", width: int = 6) -> nn.Sequential:
    """Two convolutions and an average, for tests that are not about arithmetic."""
    return nn.Sequential(
        *block(1, width, then=then + "m"),
        *block(width, width + 1, padding=0, then=then + "a"),
        nn.Conv2d(width + 1, 10, 1),
        nn.Flatten(1),
    )


@st.composite
def networks(draw: Draw, images: int) -> nn.Sequential:
    """Networks of every layer that lanes knows, for a batch of `images`."""
    channels, side = 1, 28
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 4))):
        most = 40 if side < 15 else 12
        width = draw(st.integers(1, most))
        kernel, padding = _kernel(draw, side)
        layers.append(nn.Conv2d(channels, width, kernel, padding=padding, bias=draw(st.booleans())))
        channels, side = width, side + 2 * padding - kernel + 1
        if side > 1 and (draw(st.booleans()) or side == 28):
            layers.append(nn.MaxPool2d(2))
            side //= 2
            layers = [*layers[:-1], *_middle(draw, width, images * side * side), layers[-1]]
        else:
            layers += _middle(draw, width, images * side * side)
        layers += _dropouts(draw)
        if side < 3:
            break
    if draw(st.booleans()):
        layers += [nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 10, 1)]
    else:
        layers.append(
            nn.Conv2d(channels, draw(st.integers(1, 10)), draw(st.sampled_from([1, side])))
        )
    return nn.Sequential(*layers, nn.Flatten(1))


def _kernel(draw: Draw, side: int) -> tuple[int, int]:
    kernel = draw(st.sampled_from([size for size in (1, 2, 3, 3, 3, 4, 5, 6, 7) if size <= side]))
    return kernel, draw(st.integers(0, kernel // 2))


def _middle(draw: Draw, width: int, values: int) -> list[nn.Module]:
    norm: nn.Module = nn.BatchNorm2d(
        width, eps=draw(st.sampled_from([1e-5, 1e-3])), momentum=draw(st.sampled_from([0.1, 0.3]))
    )
    orders: list[list[nn.Module]] = [[nn.ReLU()], [nn.Identity()]]
    if values > 8:
        orders = [
            [nn.ReLU(), norm],
            [norm, nn.ReLU()],
            [norm],
            [nn.ReLU(), norm, nn.ReLU()],
            *orders,
        ]
    order = draw(st.sampled_from(orders))
    return [layer for layer in order if not isinstance(layer, nn.Identity)] + _dropouts(draw)


def _dropouts(draw: Draw) -> list[nn.Module]:
    rate = draw(st.sampled_from([0.05, 0.1, 0.5]))
    choices: list[list[nn.Module]] = [[], [], [nn.Dropout(rate)], [nn.Dropout2d(rate)]]
    chosen: list[nn.Module] = draw(
        st.sampled_from([*choices, [nn.Dropout2d(rate), nn.Dropout(rate)]])
    )
    return chosen


@st.composite
def graphs(draw: Draw, images: int) -> Network:
    """Designs of every layer: groups, strides, sums, pools, activations in either order."""
    layers: list[Layer] = [_convolution(draw, 1, 28, images)]
    for _ in range(draw(st.integers(1, 6))):
        shapes = _shapes(layers)
        channels, side, _ = shapes[-1]
        earlier = [i for i, shape in enumerate(shapes[:-1], 1) if shape == shapes[-1]]
        kinds = ["convolution", "convolution", "dropout"] + ["pool"] * (side > 3)
        kind = draw(st.sampled_from(kinds + ["sum"] * (3 * bool(earlier))))
        if kind == "convolution":
            layers.append(_convolution(draw, channels, side, images))
        elif kind == "pool":
            layers.append(draw(st.sampled_from([MaxPool(), LocalAveragePool()])))
        elif kind == "sum":
            layers.append(Sum(draw(st.sampled_from(earlier)), draw(_ACTIVATIONS)))
        else:
            layers.append(Dropout(0.2, draw(st.sampled_from(["channel", "element"]))))
    ends: list[Layer] = [AveragePool(), Conv(10, 1, 0, batch_norm=False, relu=False)]
    layers += ends if draw(st.booleans()) else ends[::-1]
    return Network(plan(Design(tuple(layers))))


_ACTIVATIONS = st.sampled_from(["relu", "silu", "hard_swish", "none"])


def _shapes(layers: list[Layer]) -> list[tuple[int, int, int]]:
    """The map after each layer."""
    shapes = {node.position: node.output_shape for node in plan(Design(tuple(layers))).nodes}
    return list(shapes.values())


def _convolution(draw: Draw, channels: int, side: int, images: int) -> Layer:
    kernel = draw(st.sampled_from([size for size in (1, 3, 3, 5, 7) if size <= side]))
    stride = draw(st.sampled_from([1, 1, 2])) if kernel > 1 and side > 3 else 1
    padding = draw(st.integers(0, kernel // 2))
    after = (side + 2 * padding - kernel) // stride + 1
    norm = images * after * after > 8 and draw(st.booleans())
    settings: dict[str, Any] = {
        "kernel": kernel, "padding": padding, "stride": stride, "batch_norm": norm,
        "bias": draw(st.booleans()), "activation": draw(_ACTIVATIONS),
    }  # fmt: skip
    if norm and settings["activation"] != "none":
        settings["activation_first"] = draw(st.booleans())
    if draw(st.booleans()) and channels > 1:
        return DepthwiseConv(**settings)
    most = 12 if side > 14 else 40
    divisors = [n for n in range(1, channels + 1) if channels % n == 0]
    groups = draw(st.sampled_from([1, *divisors[1:], *divisors[1:-1]]))
    whole = list(range(groups, max(most, groups) + 1, groups))
    width = draw(st.sampled_from([*whole, *(n for n in whole if n in (4, 6, 8, 12))]))
    return Conv(width, groups=groups, **settings)
