from __future__ import annotations

import re
import time
import tracemalloc
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from mnist_arch.design import (
    MAX_INTEGER,
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    DesignError,
    Dropout,
    Layer,
    Linear,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from mnist_arch.layers import Activation
from mnist_arch.plan import PlanError, Shape, plan
from mnist_arch.references import REFERENCE_DESIGNS
from tests.mnist_arch.strategies import designs, small_graphs

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
        for layer in walked.nodes
    ]
    assert table == [line.split() for line in ASSIGNMENT_TABLE.splitlines()]
    assert walked.parameters == 18_430
    assert walked.output_shape == (10, 1, 1)


def test_assignment_worked_by_hand() -> None:
    walked = plan(REFERENCE_DESIGNS["assignment"])
    convs = [layer for layer in walked.nodes if layer.module == "Conv2d"]
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
    assert [layer.output_shape for layer in walked.nodes] == [
        (8, 26, 26), (8, 26, 26), (8, 13, 13), (8, 1, 1),
    ]  # fmt: skip
    assert walked.receptive_field == 28


def test_a_pool_drops_the_rest_at_the_edge() -> None:
    assert plan(Design((MaxPool(3), MaxPool(2)))).output_shape == (1, 4, 4)  # 28 -> 9 -> 4


def test_an_activation_is_noted_on_the_line_that_it_follows() -> None:
    layers = (
        Conv(4), Conv(4, batch_norm=False), Conv(4, relu=False),
        Conv(4, activation="silu", activation_first=True), DepthwiseConv(activation="hard_swish"),
    )  # fmt: skip
    found = [(node.position, node.module, node.activation) for node in plan(Design(layers)).nodes]
    assert found == [
        (1, "Conv2d", "none"), (1, "BatchNorm2d", "relu"), (2, "Conv2d", "relu"),
        (3, "Conv2d", "none"), (3, "BatchNorm2d", "none"),
        (4, "Conv2d", "silu"), (4, "BatchNorm2d", "none"),
        (5, "Conv2d", "none"), (5, "BatchNorm2d", "hard_swish"),
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
        (DepthwiseConv(5, 2, stride=2), "layer 2 (depthwise conv 5x5 stride 2 8)"),
        (Conv(12, groups=4), "layer 2 (conv 3x3 8 -> 12, 4 groups)"),
        (LocalAveragePool(), "layer 2 (average-pool 2x2)"),
    ],
)
def test_a_layers_label_names_it_in_a_few_words(layer: Layer, label: str) -> None:
    assert plan(Design((Conv(8), layer))).nodes[2].label == label


# --- torch as the oracle: lazy modules find their input widths themselves ---


FUNCTIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU, "silu": nn.SiLU, "hard_swish": nn.Hardswish, "none": nn.Identity,
}  # fmt: skip


def torch_convolution(layer: Conv | DepthwiseConv, channels: int) -> list[nn.Module]:
    wide = (layer.out_channels, layer.groups) if isinstance(layer, Conv) else (channels, channels)
    conv = nn.LazyConv2d(
        wide[0], layer.kernel, layer.stride, layer.padding, groups=wide[1], bias=layer.bias
    )
    last: list[nn.Module] = [nn.LazyBatchNorm2d()] if layer.batch_norm else []
    function = FUNCTIONS[layer.activation]()
    return [conv, function, *last] if layer.activation_first else [conv, *last, function]


def torch_modules(layer: Layer, channels: int) -> list[nn.Module]:
    """A layer in torch, written without a plan; a Linear's output gets its map back."""
    if isinstance(layer, Conv | DepthwiseConv):
        return torch_convolution(layer, channels)
    if isinstance(layer, Linear):
        linear = nn.LazyLinear(layer.out_features, bias=layer.bias)
        return [nn.Flatten(), linear, nn.Unflatten(1, (layer.out_features, 1, 1))]
    if isinstance(layer, Dropout):
        return [(nn.Dropout2d if layer.kind == "channel" else nn.Dropout)(layer.rate)]
    if isinstance(layer, MaxPool | LocalAveragePool):
        return [(nn.MaxPool2d if isinstance(layer, MaxPool) else nn.AvgPool2d)(layer.size)]
    return [nn.AdaptiveAvgPool2d(1)]


class TorchNetwork(nn.Module):
    """A design in torch, layer by layer; a sum adds the output of a numbered layer."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        self.blocks = nn.ModuleList()
        maps = torch.zeros(1, 1, 28, 28)
        outputs: list[Tensor] = []
        for layer in design.layers:
            adds = isinstance(layer, Sum)
            block = [Sums()] if adds else torch_modules(layer, maps.shape[1])
            self.blocks.append(nn.Sequential(*block).eval())
            other = (outputs[layer.layer - 1],) if isinstance(layer, Sum) else ()
            maps = self.apply_block(len(self.blocks) - 1, maps, *other)
            outputs.append(maps)

    def apply_block(self, index: int, maps: Tensor, *other: Tensor) -> Tensor:
        layer, block = self.design.layers[index], self.blocks[index]
        if isinstance(layer, Sum):
            added: Tensor = FUNCTIONS[layer.activation]()(block[0](maps, *other))  # type: ignore[index]
            return added
        result: Tensor = block(maps)
        return result

    def forward(self, maps: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for index, layer in enumerate(self.design.layers):
            other = (outputs[layer.layer - 1],) if isinstance(layer, Sum) else ()
            maps = self.apply_block(index, maps, *other)
            outputs.append(maps)
        return maps


class Sums(nn.Module):
    def forward(self, maps: Tensor, other: Tensor) -> Tensor:
        return torch.add(maps, other)


def torch_network(design: Design) -> TorchNetwork:
    return TorchNetwork(design).eval()


def torch_summary(network: TorchNetwork) -> list[Row]:
    """Module, output shape and parameters of each layer, from forward hooks."""
    rows: list[Row] = []
    names = {"AdaptiveAvgPool2d": "AvgPool2d", "Sums": "Sum"}
    silent = ("Flatten", "Unflatten", "Identity", "ReLU", "SiLU", "Hardswish")

    def note(module: nn.Module, _inputs: object, output: Tensor) -> None:
        name = names.get(type(module).__name__, type(module).__name__)
        channels, rows_, columns = (*output.shape[1:], 1, 1)[:3]
        parameters = sum(parameter.numel() for parameter in module.parameters())
        if name not in silent:
            rows.append((name, (channels, rows_, columns), parameters))

    for block in network.blocks:
        for module in block.children():
            module.register_forward_hook(note)
    network(torch.zeros(1, 1, 28, 28))
    return rows


@settings(max_examples=60)
@given(small_graphs())
def test_modules_shapes_and_parameters_equal_torchs(design: Design) -> None:
    walked = plan(design)
    counted = [(line.module, line.output_shape, line.parameters) for line in walked.nodes]
    network = torch_network(design)
    assert counted == torch_summary(network)
    assert walked.parameters == sum(parameter.numel() for parameter in network.parameters())


@given(designs() | small_graphs())
def test_each_line_takes_what_the_line_before_gives(design: Design) -> None:
    try:
        lines = plan(design).nodes
    except PlanError:
        return
    assert lines[0].input_shape == (1, 28, 28)
    assert all(a.output_shape == b.input_shape for a, b in pairwise(lines))
    assert [line.spec for line in lines if line.module != "BatchNorm2d"] == list(design.layers)
    assert [line.inputs[:1] for line in lines] == [(), *((i,) for i in range(len(lines) - 1))]
    for line in lines:
        if isinstance(line.operation, Sum):
            other = lines[line.inputs[1]]
            assert other.output_shape == line.output_shape
            assert other.position == line.operation.layer
            assert other is [each for each in lines if each.position == other.position][-1]
        else:
            assert len(line.inputs) < 2


@settings(max_examples=60)
@given(small_graphs())
def test_multiply_accumulates_equal_torchs_flop_counter(design: Design) -> None:
    network = torch_network(design)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 28, 28))
    assert plan(design).macs * 2 == counter.get_total_flops()


def seen_by_the_central_pixel(design: Design, side: int) -> int:
    """Side of the square of input pixels that move the central output pixel.

    Every weight is positive and an average stands for a maximum, so that no path is lost.
    """
    image = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    outputs = [image]
    for layer in design.layers:
        maps = outputs[-1]
        if isinstance(layer, Conv | DepthwiseConv):
            kernel = torch.ones(1, 1, layer.kernel, layer.kernel, dtype=torch.float64)
            maps = functional.conv2d(maps, kernel, stride=layer.stride, padding=layer.padding)
        elif isinstance(layer, MaxPool | LocalAveragePool):
            maps = functional.avg_pool2d(maps, layer.size)
        elif isinstance(layer, Sum):
            maps = maps + outputs[layer.layer]
        outputs.append(maps)
    output = outputs[-1]  # [1, 1, rows, columns]
    output[0, 0, output.shape[2] // 2, output.shape[3] // 2].backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    rows = (image.grad[0, 0] != 0).any(dim=1).nonzero()
    return int(rows[-1] - rows[0] + 1)  # a stride above the kernel leaves gaps


def _has_a_sum_of_an_even_kernel(design: Design) -> bool:
    """Its paths are shifted against one another: no square holds the union as counted."""
    kernels = [layer.kernel for layer in design.layers if isinstance(layer, Conv | DepthwiseConv)]
    sums = any(isinstance(layer, Sum) for layer in design.layers)
    return sums and any(kernel % 2 == 0 for kernel in kernels)


def _has_a_sum_over_a_stride(design: Design) -> bool:
    """It fits a map of one pixel, which a stride leaves as it is, but not one of a larger image."""
    return any(
        isinstance(layer, Sum)
        and any(getattr(each, "stride", 1) > 1 for each in design.layers[layer.layer : position])
        for position, layer in enumerate(design.layers)
    )


@example(
    Design(
        (
            MaxPool(2),
            MaxPool(3),
            DepthwiseConv(2, padding=1, stride=3, batch_norm=False),
            Conv(1, kernel=1, padding=0, stride=3, batch_norm=False),
        )
    )
)
@settings(max_examples=60)
@given(
    small_graphs().filter(
        lambda design: (
            not any(isinstance(layer, AveragePool | Linear) for layer in design.layers)
            and not _has_a_sum_of_an_even_kernel(design)
            and not _has_a_sum_over_a_stride(design)
        )
    )
)
def test_receptive_field_equals_the_reach_of_gradients(design: Design) -> None:
    walked = plan(design)
    stride = walked.nodes[-1].jump  # of the whole network: outputs must lie on both sides
    side = 2 * walked.receptive_field + 2 * stride + 28  # so that the borders play no part
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


def test_groups_that_do_not_divide_the_input_are_named_with_the_most_allowed() -> None:
    message = (
        "layer 2 (conv 3x3 10 -> 12, 4 groups): 4 groups do not divide its 10 input channels; use "
        "a number of groups that divides both widths"
    )
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$") as caught:
        plan(Design((Conv(10), Conv(12, groups=4))))
    assert (caught.value.limit, caught.value.counted, caught.value.allowed) == ("groups", 4, 2)
    assert [node.position for node in caught.value.nodes] == [1, 1]


def test_a_sum_of_unequal_shapes_names_both() -> None:
    message = "layer 3 (sum with layer 1): adds 8x28x28 to 8x14x14; both must have the same shape"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$") as caught:
        plan(Design((Conv(8), Conv(8, stride=2), Sum(1))))
    assert (caught.value.limit, caught.value.counted, caught.value.allowed) == ("sum", 1, 0)


def test_a_residual_block_by_hand() -> None:
    layers = (Conv(8), Conv(8, groups=2), DepthwiseConv(5, 2, batch_norm=False), Sum(1, "relu"))
    walked = plan(Design(layers))
    # 9 x 8 + 16; 9 x 4 x 8 + 16; 25 x 8; nothing
    assert [node.parameters for node in walked.nodes] == [72, 16, 288, 16, 200, 0]
    assert [node.macs for node in walked.nodes] == [
        72 * 784, 0, 288 * 784, 0, 200 * 784, 0,
    ]  # fmt: skip
    assert [node.inputs for node in walked.nodes] == [(), (0,), (1,), (2,), (3,), (4, 1)]
    assert [node.receptive_field for node in walked.nodes] == [3, 3, 5, 5, 9, 9]
    assert walked.nodes[-1].activation_module == "ReLU"
    # modules: conv norm relu | conv norm relu | conv relu | add relu
    assert walked.places == (0, 1, 3, 4, 6, 8)
    assert walked.sums == {8: 2}


def test_strides_by_hand() -> None:
    walked = plan(Design((Conv(4, 5, 2, stride=2), DepthwiseConv(stride=3), LocalAveragePool())))
    convs = [node for node in walked.nodes if node.module != "BatchNorm2d"]
    # 28 -> (28 + 4 - 5) // 2 + 1 = 14 -> (14 + 2 - 3) // 3 + 1 = 5 -> 2
    assert [node.output_shape[1] for node in convs] == [14, 5, 2]
    assert [node.jump for node in convs] == [2, 6, 12]
    assert [node.receptive_field for node in convs] == [5, 5 + 2 * 2, 9 + 6]


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
