"""Random designs, and random texts that are nearly designs, for Hypothesis."""

from __future__ import annotations

import json
from typing import Any, get_args

from hypothesis import assume
from hypothesis import strategies as st

from mnist_arch.design import (
    LAYER_TYPES,
    MAX_INTEGER,
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Dropout,
    Layer,
    Linear,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from mnist_arch.layers import Activation
from mnist_arch.plan import PlanError, plan

ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
SWITCHES: st.SearchStrategy[bool] = st.booleans()


@st.composite
def convs(draw: st.DrawFn, max_channels: int = MAX_INTEGER, max_kernel: int = MAX_INTEGER) -> Conv:
    """A valid convolution, sometimes in groups."""
    kernel, groups = draw(st.integers(1, max_kernel)), draw(st.sampled_from((1, 1, 1, 2, 3)))
    return Conv(
        groups * draw(st.integers(1, max_channels // groups)), kernel,
        draw(st.integers(0, kernel // 2)), draw(st.booleans()), bias=draw(st.booleans()),
        stride=draw(st.sampled_from((1, 1, 2, 3))), groups=groups,
        activation=draw(st.sampled_from(ACTIVATIONS)), activation_first=draw(st.booleans()),
    )  # fmt: skip


@st.composite
def depthwise_convs(draw: st.DrawFn, max_kernel: int = MAX_INTEGER) -> DepthwiseConv:
    """A valid depthwise convolution."""
    kernel = draw(st.integers(1, max_kernel))
    return DepthwiseConv(
        kernel, draw(st.integers(0, kernel // 2)), draw(st.booleans()), draw(st.booleans()),
        draw(st.sampled_from((1, 1, 2, 3))), draw(st.sampled_from(ACTIVATIONS)),
        draw(st.booleans()),
    )  # fmt: skip


def dropouts() -> st.SearchStrategy[Dropout]:
    """A valid dropout."""
    rates = st.floats(0, 1, exclude_max=True)
    return st.builds(Dropout, rates, st.sampled_from(("channel", "element")))


def layers(max_size: int = MAX_INTEGER, max_kernel: int = MAX_INTEGER) -> st.SearchStrategy[Layer]:
    """A valid layer of any type but a sum, with at most `max_size` channels."""
    return st.one_of(
        convs(max_size, max_kernel),
        depthwise_convs(max_kernel),
        dropouts(),
        st.builds(MaxPool, st.integers(2, max_kernel)),
        st.builds(LocalAveragePool, st.integers(2, max_kernel)),
        st.builds(AveragePool),
        st.builds(Linear, st.integers(1, max_size), st.booleans()),
    )


@st.composite
def designs(draw: st.DrawFn) -> Design:
    """A valid design, which may be too large to build or lead nowhere."""
    specs: list[Layer] = draw(st.lists(layers(), min_size=1, max_size=8))
    if len(specs) > 1 and draw(SWITCHES):
        specs.append(_sum(draw, list(range(1, len(specs)))))
    return Design(tuple(specs))


def _sum(draw: st.DrawFn, earlier: list[int]) -> Sum:
    return draw(st.builds(Sum, st.sampled_from(earlier), st.sampled_from(ACTIVATIONS)))


def small_designs() -> st.SearchStrategy[Design]:
    """A design of few channels through which an image passes: plain layers, one after another."""
    plain = st.builds(_plain_conv, convs(6, 5))
    others = layers(max_size=6, max_kernel=5).filter(
        lambda layer: isinstance(layer, Dropout | MaxPool | AveragePool | Linear)
    )
    specs = st.lists(plain | others, min_size=1, max_size=7)
    return specs.map(lambda chosen: Design(tuple(chosen))).filter(can_be_walked)


def _plain_conv(conv: Conv) -> Conv:
    return Conv(conv.out_channels, conv.kernel, conv.padding, conv.batch_norm, conv.relu, conv.bias)


@st.composite
def small_graphs(draw: st.DrawFn) -> Design:
    """A design of few channels through which an image passes, sometimes with sums.

    One with a fully connected layer has no sum: a test that leaves that layer out moves no other.
    """
    drawn = draw(st.lists(layers(max_size=6, max_kernel=5), min_size=1, max_size=7))
    may_add = not any(isinstance(layer, Linear) for layer in drawn)
    specs: list[Layer] = []
    for layer in drawn:
        specs.append(layer)
        assume(can_be_walked(Design(tuple(specs))))
        equal = _equal_to_the_last(Design(tuple(specs)))
        if may_add and equal and draw(SWITCHES):
            specs.append(_sum(draw, equal))
    return Design(tuple(specs))


def _equal_to_the_last(design: Design) -> list[int]:
    """Numbers of the layers, from 1, whose output has the shape of the last one's."""
    shapes = {node.position: node.output_shape for node in plan(design).nodes}
    last = len(design.layers)
    return [position for position in range(1, last) if shapes[position] == shapes[last]]


def can_be_walked(design: Design) -> bool:
    """Whether an image passes through a design."""
    try:
        plan(design)
    except PlanError:
        return False
    return True


FIELD_NAMES = (
    "layers", "type", "out_channels", "kernel", "padding", "rate", "kind", "size", "groups",
    "stride", "activation", "activation_first", "layer",
)  # fmt: skip

KEYS = st.sampled_from(FIELD_NAMES) | st.text(max_size=6)

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 40), st.integers(-(10**60), 10**60), st.floats(),
    st.text(max_size=8), st.sampled_from([*LAYER_TYPES, "channel", "element"]),
)  # fmt: skip

JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def damaged_documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid design's JSON document with one to three changes that may break it."""
    document = draw(designs() | small_designs()).to_dict()
    for _ in range(draw(st.integers(1, 3))):
        owner = draw(st.sampled_from([document, *_objects_in(document)]))
        key = draw(st.sampled_from(sorted(owner)) if owner else KEYS)
        key = draw(st.just(key) | KEYS)
        if draw(st.booleans()):
            owner.pop(key, None)
        else:
            owner[key] = draw(JSON_VALUES)
    return document


def _objects_in(document: dict[str, Any]) -> list[dict[str, Any]]:
    specs = document.get("layers")
    return [spec for spec in specs if isinstance(spec, dict)] if isinstance(specs, list) else []


@st.composite
def damaged_texts(draw: st.DrawFn) -> str:
    """A valid design's text, cut short, or with some of its characters replaced."""
    text = draw(small_designs()).to_json()
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 9)))
    rest = draw(st.sampled_from(("", text[end:])))
    return (
        text[:start] + draw(st.text('[]{}",:0123456789-eE+.truefalsNI\\u \x00é', max_size=4)) + rest
    )


def nearly_designs() -> st.SearchStrategy[str]:
    """Text from anywhere between noise and a valid design."""
    return st.one_of(
        st.text(max_size=40),
        JSON_VALUES.map(json.dumps),
        st.lists(JSON_VALUES, max_size=4).map(lambda specs: json.dumps({"layers": specs})),
        damaged_documents().map(json.dumps),
        damaged_texts(),
        designs().map(Design.to_json),
    )
