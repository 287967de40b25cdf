from __future__ import annotations

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
from mnist_arch.references import BASELINE, REFERENCE_DESIGNS
from search.tables.describe import describe_dropout, describe_head, describe_widths, design_cells


def test_the_assignments_design_in_words() -> None:
    assert describe_widths(BASELINE) == "10 10 M 20 20 M 20v 30v"
    assert describe_dropout(BASELINE) == "channel 0.1 after conv 1, conv 2, conv 3, conv 4, pool 2"
    assert describe_head(BASELINE) == "convolution 3x3"
    assert design_cells(BASELINE)["parameters"] == 18_430


def test_kernels_pools_and_heads_are_told_apart() -> None:
    design = Design((Conv(8, 5, 2), MaxPool(), Conv(6, 5, 0), AveragePool(), Conv(10, 1, 0)))
    assert describe_widths(design) == "8k5 M 6k5v"
    assert describe_dropout(design) == "none"
    assert describe_head(design) == "average pool"


def test_a_design_that_cannot_be_walked_has_no_counts() -> None:
    design = Design((*(MaxPool(),) * 6, Conv(10)))
    assert "parameters" not in design_cells(design)
    assert design_cells(design)["fingerprint"] == design.fingerprint


def test_element_dropout_after_a_pool() -> None:
    design = Design((Conv(4), MaxPool(), Dropout(0.05, "element"), Conv(10)))
    assert describe_dropout(design) == "element 0.05 after pool 1"


def test_depthwise_grouped_strided_convolutions_sums_and_activations() -> None:
    design = Design(
        (
            Conv(8, 5, 2, stride=2), Conv(8, groups=4, activation="silu"),
            DepthwiseConv(padding=0, activation="hard_swish"), Dropout(0.1), LocalAveragePool(),
            Conv(8, 1, 0), Conv(8), Sum(6), Conv(10, 1, 0), AveragePool(),
        )
    )  # fmt: skip
    assert describe_widths(design) == "8k5s2 8g4/silu dv/hard_swish A 8k1 8 +6"
    assert describe_dropout(design) == "channel 0.1 after conv 3"
    published = REFERENCE_DESIGNS["published-4392"]
    assert describe_widths(published) == "16v dv 16k1 dv 32k1 M 16k1 dv 16k1 dv 24k1 dv 32k1"
    assert describe_head(published) == "average pool"
    assert design_cells(published)["parameters"] == 4_392


def test_an_activation_that_all_convolutions_share_is_told_once() -> None:
    silu = {"activation": "silu"}
    design = Design(
        (Conv(8, **silu), DepthwiseConv(**silu), MaxPool(), Conv(6, 1, 0, **silu), Conv(10, 1, 0))  # type: ignore[arg-type]
    )
    assert describe_widths(design) == "8 d M 6k1 /silu"
    assert describe_widths(Design((Conv(8, activation="silu"), Conv(10, 1, 0)))) == "8/silu"
