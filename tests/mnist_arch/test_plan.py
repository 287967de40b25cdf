from __future__ import annotations

import re
import time
import tracemalloc
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mnist_arch.design import (
    MAX_INTEGER,
    AveragePool,
    Conv,
    Design,
    DesignError,
    Dropout,
    Layer,
    Linear,
    MaxPool,
)
from mnist_arch.plan import PlanError, Shape, plan
from mnist_arch.references import REFERENCE_DESIGNS
from tests.mnist_arch.strategies import designs, small_designs

ASSIGNMENT_TABLE = """\
    Conv2d       10x28x28     100
    BatchNorm2d  10x28x28      20
    Dropout2d    10x28x28       0
    Conv2d       10x28x28     910
    BatchNorm2d  10x28x28      20
    Dropout2d    10x28x28       0
    MaxPool2d    10x14x14       0
    Conv2d       20x14x14    1820
    BatchNorm2d  20x14x14      40
    Dropout2d    20x14x14       0
    Conv2d       20x14x14    3620
    BatchNorm2d  20x14x14      40
    Dropout2d    20x14x14       0
    MaxPool2d    20x7x7         0
    Dropout2d    20x7x7         0
    Conv2d       20x5x5      3620
    BatchNorm2d  20x5x5        40
    Conv2d       30x3x3      5430
    BatchNorm2d  30x3x3        60
    Conv2d       10x1x1      2710
"""  # velasoka-repo/EVA4, Session-4, README.md: its model summary, line for line

Row = tuple[str, Shape, int]
"""A line of a summary: module, output shape of one image, parameters."""


def test_assignment_is_counted_as_published_line_for_line() -> None:
    walked = plan(REFERENCE_DESIGNS["assignment"])
    table = [
        [layer.module, "x".join(map(str, layer.output_shape)), str(layer.parameters)]
        for layer in walked.layers
    ]
    assert table == [line.split() for line in ASSIGNMENT_TABLE.splitlines()]
    assert walked.parameters == 18_430
    assert walked.output_shape == (10, 1, 1)


def test_assignment_worked_by_hand() -> None:
    walked = plan(REFERENCE_DESIGNS["assignment"])
    convs = [layer for layer in walked.layers if layer.module == "Conv2d"]
    # weights of a kernel x places where it is applied
    assert [layer.macs for layer in convs] == [
        90 * 28 * 28, 900 * 28 * 28, 1800 * 14 * 14, 3600 * 14 * 14, 3600 * 5 * 5,
        5400 * 3 * 3, 2700,
    ]  # fmt: skip
    assert walked.macs == sum(layer.macs for layer in convs) == 1_975_860
    # 1 +2 +2 | pool +1, jump 2 | +4 +4 | pool +2, jump 4 | +8 +8 +8
    assert [layer.receptive_field for layer in convs] == [3, 5, 10, 14, 24, 32, 40]
    assert walked.receptive_field == 40


def test_average_pool_of_the_rest_sees_the_whole_image() -> None:
    walked = plan(Design((Conv(8, padding=0), MaxPool(), AveragePool())))
    # 28 -> 26 -> 13 -> 1; 1 + 2, then + 1 at jump 1, then + 12 at jump 2
    assert [layer.output_shape for layer in walked.layers] == [
        (8, 26, 26), (8, 26, 26), (8, 13, 13), (8, 1, 1),
    ]  # fmt: skip
    assert walked.receptive_field == 28


def test_a_pool_drops_the_rest_at_the_edge() -> None:
    assert plan(Design((MaxPool(3), MaxPool(2)))).output_shape == (1, 4, 4)  # 28 -> 9 -> 4


def test_a_relu_is_noted_on_the_line_that_it_follows() -> None:
    lines = plan(Design((Conv(4), Conv(4, batch_norm=False), Conv(4, relu=False)))).layers
    assert [(line.position, line.module, line.relu) for line in lines] == [
        (1, "Conv2d", False), (1, "BatchNorm2d", True), (2, "Conv2d", True),
        (3, "Conv2d", False), (3, "BatchNorm2d", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "label"),
    [
        (Conv(1_000, 5, 2), "layer 2 (conv 5x5 8 -> 1,000)"),
        (Linear(10), "layer 2 (linear 6,272 -> 10)"),
        (MaxPool(2), "layer 2 (max-pool 2x2)"),
        (AveragePool(), "layer 2 (average-pool)"),
        (Dropout(0.25, "element"), "layer 2 (element dropout 0.25)"),
        (Dropout(0.1), "layer 2 (channel dropout 0.1)"),
    ],
)
def test_a_layers_label_names_it_in_a_few_words(layer: Layer, label: str) -> None:
    assert plan(Design((Conv(8), layer))).layers[2].label == label


# --- torch as the oracle: lazy modules find their input widths themselves ---


def torch_modules(layer: Layer) -> list[nn.Module]:
    """A layer in torch, written without a plan; a Linear's output gets its map back."""
    if isinstance(layer, Conv):
        conv = nn.LazyConv2d(
            layer.out_channels, layer.kernel, padding=layer.padding, bias=layer.bias
        )
        return [conv, nn.LazyBatchNorm2d()] if layer.batch_norm else [conv]
    if isinstance(layer, Linear):
        linear = nn.LazyLinear(layer.out_features, bias=layer.bias)
        return [nn.Flatten(), linear, nn.Unflatten(1, (layer.out_features, 1, 1))]
    if isinstance(layer, Dropout):
        return [(nn.Dropout2d if layer.kind == "channel" else nn.Dropout)(layer.rate)]
    return [nn.MaxPool2d(layer.size) if isinstance(layer, MaxPool) else nn.AdaptiveAvgPool2d(1)]


def torch_network(design: Design) -> nn.Sequential:
    modules = [module for layer in design.layers for module in torch_modules(layer)]
    network = nn.Sequential(*modules).eval()
    network(torch.zeros(1, 1, 28, 28))  # makes the lazy modules
    return network


def torch_summary(network: nn.Sequential) -> list[Row]:
    """Module, output shape and parameters of each layer, from forward hooks."""
    rows: list[Row] = []

    def note(module: nn.Module, _inputs: object, output: Tensor) -> None:
        name = type(module).__name__.replace("AdaptiveAvgPool2d", "AvgPool2d")
        channels, rows_, columns = (*output.shape[1:], 1, 1)[:3]
        parameters = sum(parameter.numel() for parameter in module.parameters())
        if name not in ("Flatten", "Unflatten"):
            rows.append((name, (channels, rows_, columns), parameters))

    for module in network:
        module.register_forward_hook(note)
    network(torch.zeros(1, 1, 28, 28))
    return rows


@settings(max_examples=60)
@given(small_designs())
def test_modules_shapes_and_parameters_equal_torchs(design: Design) -> None:
    walked = plan(design)
    counted = [(line.module, line.output_shape, line.parameters) for line in walked.layers]
    network = torch_network(design)
    assert counted == torch_summary(network)
    assert walked.parameters == sum(parameter.numel() for parameter in network.parameters())


@given(designs() | small_designs())
def test_each_line_takes_what_the_line_before_gives(design: Design) -> None:
    try:
        lines = plan(design).layers
    except PlanError:
        return
    assert lines[0].input_shape == (1, 28, 28)
    assert all(a.output_shape == b.input_shape for a, b in pairwise(lines))
    assert [line.spec for line in lines if line.module != "BatchNorm2d"] == list(design.layers)


@settings(max_examples=60)
@given(small_designs())
def test_multiply_accumulates_equal_torchs_flop_counter(design: Design) -> None:
    network = torch_network(design)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 28, 28))
    assert plan(design).macs * 2 == counter.get_total_flops()


def seen_by_the_central_pixel(design: Design, side: int) -> int:
    """Side of the square of input pixels that move the central output pixel.

    Every weight is positive and an average stands for a maximum, so that no path is lost.
    """
    modules: list[nn.Module] = []
    for layer in design.layers:
        if isinstance(layer, Conv):
            conv = nn.Conv2d(1, 1, layer.kernel, padding=layer.padding, bias=False)
            nn.init.ones_(conv.weight)
            modules.append(conv)
        elif isinstance(layer, MaxPool):
            modules.append(nn.AvgPool2d(layer.size))
    image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    output = nn.Sequential(*modules).double()(image)  # [1, 1, rows, columns]
    output[0, 0, output.shape[2] // 2, output.shape[3] // 2].backward()
    assert image.grad is not None
    return int((image.grad[0, 0] != 0).any(dim=1).sum())


@settings(max_examples=60)
@given(
    small_designs().filter(
        lambda design: not any(isinstance(layer, AveragePool | Linear) for layer in design.layers)
    )
)
def test_receptive_field_equals_the_reach_of_gradients(design: Design) -> None:
    walked = plan(design)
    side = 2 * walked.receptive_field + 28  # wide enough that the borders play no part
    assert walked.receptive_field == seen_by_the_central_pixel(design, side)


# --- designs through which nothing passes, and huge ones ---


@pytest.mark.parametrize(
    ("layers", "layer", "side"),
    [
        ((Conv(8, kernel=29, padding=0),), "layer 1 (conv 29x29 1 -> 8)", "28x28"),
        ((MaxPool(4), MaxPool(8)), "layer 2 (max-pool 8x8)", "7x7"),
        ((AveragePool(), MaxPool()), "layer 2 (max-pool 2x2)", "1x1"),
        ((Linear(10), Conv(10, padding=0)), "layer 2 (conv 3x3 10 -> 10)", "1x1"),
    ],
)
def test_a_map_that_shrinks_to_nothing_names_the_layer(
    layers: tuple[Layer, ...], layer: str, side: str
) -> None:
    message = (
        f"{layer}: leaves nothing of its {side} input map; "
        "use a smaller kernel, more padding or fewer pools"
    )
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$") as caught:
        plan(Design(layers))
    assert isinstance(caught.value, DesignError)


@pytest.mark.parametrize(
    "design",
    [
        Design((Conv(10**12), Conv(10**12), Linear(10**12))),
        Design((Conv(MAX_INTEGER, MAX_INTEGER, MAX_INTEGER // 2),) * 1_000),
    ],
    ids=["10**12 channels", "1,000 layers of 10**15"],
)
def test_huge_designs_are_counted_at_once_and_without_memory(design: Design) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        plan(design)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.1
    tracemalloc.start()
    plan(design)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 50e6


def test_huge_designs_are_counted_exactly() -> None:
    width = 10**12
    walked = plan(Design((Conv(width, batch_norm=False), Conv(width, 1, 0, batch_norm=False))))
    assert walked.parameters == 9 * width + width**2
    assert walked.macs == 28 * 28 * (9 * width + width**2)
