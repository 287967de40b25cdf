"""Describe: a design in a few cells and words, for tables and progress lines."""

from __future__ import annotations

from mnist_arch.design import AveragePool, Conv, Design, Dropout, MaxPool
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


def describe_widths(design: Design) -> str:
    """Output channels of the convolutions before the head: `8v 16 M 16 24 M 24 24`.

    `v` marks a convolution without padding, `k5` a 5x5 kernel, `M` a max-pool.
    """
    words = []
    last = max(i for i, layer in enumerate(design.layers) if isinstance(layer, Conv))
    for layer in design.layers[:last]:
        if isinstance(layer, Conv):
            valid = "v" if layer.padding == 0 and layer.kernel > 1 else ""
            kernel = f"k{layer.kernel}" if layer.kernel != 3 else ""
            words.append(f"{layer.out_channels}{kernel}{valid}")
        elif isinstance(layer, MaxPool):
            words.append("M")
    return " ".join(words)


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
        elif isinstance(layer, Conv):
            convs += 1
            place = f"conv {convs}"
        elif isinstance(layer, MaxPool):
            pools += 1
            place = f"pool {pools}"
    return f"{', '.join(dict.fromkeys(kinds))} after {', '.join(places)}" if places else "none"


def describe_head(design: Design) -> str:
    """How the last map becomes logits: `average pool`, or the last convolution's kernel."""
    if any(isinstance(layer, AveragePool) for layer in design.layers):
        return "average pool"
    last = next(layer for layer in reversed(design.layers) if isinstance(layer, Conv))
    return f"convolution {last.kernel}x{last.kernel}"
