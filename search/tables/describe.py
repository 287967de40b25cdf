"""Describe: a design in a few words, for tables and progress lines."""

from __future__ import annotations

from functools import singledispatch

from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Dropout,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from mnist_arch.plan import PlanError, plan


def design_cells(design: Design) -> dict[str, object]:
    """What the tables say of a design; counts are missing where no image can pass through it."""
    cells: dict[str, object] = {
        "fingerprint": design.fingerprint,
        "widths": describe_widths(design),
        "dropout": describe_dropout(design),
        "head": describe_head(design),
    }
    try:
        walked = plan(design)
    except PlanError:
        return cells
    return cells | {
        "parameters": walked.parameters,
        "macs": walked.macs,
        "receptive_field": walked.receptive_field,
    }


def describe(design: Design) -> str:
    """A design in a line, for pages that show Optuna's trials."""
    cells = design_cells(design)
    size = f"{cells['parameters']:,} parameters; " if "parameters" in cells else ""
    return f"{cells['widths']}; {size}{cells['head']}; dropout {cells['dropout']}"


def describe_widths(design: Design) -> str:
    """Output channels of the convolutions before the head: `8v 16 M 16 24 M 24 24`.

    `v` marks a convolution without padding, `k5` a 5x5 kernel, `s2` a stride, `g4` groups, `d` a
    depthwise convolution; an activation other than ReLU stands behind `/`, once at the end where
    all convolutions have the same. `M` is a max-pool, `A` a local average pool, `+3` the sum with
    layer 3.
    """
    last = max(i for i, layer in enumerate(design.layers) if isinstance(layer, Conv))
    words = list(filter(None, map(word, design.layers[:last])))
    convs = [each for each in design.layers[:last] if isinstance(each, Conv | DepthwiseConv)]
    functions = {_function(conv) for conv in convs}
    if len(convs) > 1 and len(functions) == 1 and functions != {""}:
        [function] = functions
        words = [*(text.removesuffix(function) for text in words), function]
    return " ".join(words)


@singledispatch
def word(_layer: object) -> str:
    """A layer in a word; nothing for one that other columns tell."""
    return ""


@word.register
def _conv(layer: Conv) -> str:
    groups = f"g{layer.groups}" if layer.groups > 1 else ""
    return f"{layer.out_channels}{_window(layer)}{groups}{_function(layer)}"


@word.register
def _depthwise_conv(layer: DepthwiseConv) -> str:
    return f"d{_window(layer)}{_function(layer)}"


@word.register
def _max_pool(_layer: MaxPool) -> str:
    return "M"


@word.register
def _local_average_pool(_layer: LocalAveragePool) -> str:
    return "A"


@word.register
def _sum(layer: Sum) -> str:
    return f"+{layer.layer}"


def _window(layer: Conv | DepthwiseConv) -> str:
    kernel = f"k{layer.kernel}" if layer.kernel != 3 else ""
    valid = "v" if layer.padding == 0 and layer.kernel > 1 else ""
    return kernel + valid + (f"s{layer.stride}" if layer.stride > 1 else "")


def _function(layer: Conv | DepthwiseConv) -> str:
    return "" if layer.activation in ("relu", "none") else f"/{layer.activation}"


def describe_dropout(design: Design) -> str:
    """Kind, rate and places of the dropouts: `channel 0.1 after conv 1, conv 2, pool 2`."""
    places: list[str] = []
    kinds: list[str] = []
    convs = pools = 0
    place = "input"
    for layer in design.layers:
        if isinstance(layer, Dropout):
            places.append(place)
            kinds.append(f"{layer.kind} {layer.rate:g}")
        elif isinstance(layer, Conv | DepthwiseConv):
            convs += 1
            place = f"conv {convs}"
        elif isinstance(layer, MaxPool | LocalAveragePool):
            pools += 1
            place = f"pool {pools}"
    return f"{', '.join(dict.fromkeys(kinds))} after {', '.join(places)}" if places else "none"


def describe_head(design: Design) -> str:
    """How the last map becomes logits: `average pool`, or the last convolution's kernel."""
    if any(isinstance(layer, AveragePool) for layer in design.layers):
        return "average pool"
    last = next(layer for layer in reversed(design.layers) if isinstance(layer, Conv))
    return f"convolution {last.kernel}x{last.kernel}"
