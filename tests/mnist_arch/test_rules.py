from __future__ import annotations

import re
from typing import Any

import pytest

from mnist_arch.design import AveragePool, Conv, Design, Dropout, Layer, Linear, MaxPool
from mnist_arch.errors import UserError
from mnist_arch.plan import plan
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.rules import Rejected, Rejection, Rules, notes

ASSIGNMENT = REFERENCE_DESIGNS["assignment"]
LOGITS = Conv(10, kernel=1, padding=0, batch_norm=False, relu=False)


def with_linear(width: int) -> Design:
    """Nine layers that end in a fully connected one, on a map of 10x7x7."""
    first = (Conv(width), Dropout(0.1), Conv(width), MaxPool())
    return Design((*first, Conv(width), Dropout(0.1), Conv(10), MaxPool(), Linear(10)))


def refusal(design: Design, rules: Rules | None = None, epochs: int | None = None) -> str:
    """The message that refuses a design."""
    with pytest.raises(Rejected) as caught:
        (rules or Rules()).check(design, epochs)
    assert isinstance(caught.value, UserError)
    assert str(caught.value) == "; ".join(map(str, caught.value.rejections))
    return str(caught.value)


def test_the_assignments_design_passes() -> None:
    assert Rules().check(ASSIGNMENT, epochs=19) == plan(ASSIGNMENT)


def test_a_fully_connected_layer_is_refused_by_name() -> None:
    assert refusal(with_linear(10)) == (
        "layer 9 (linear 490 -> 10): fully connected layers are not allowed"
    )


def test_each_fully_connected_layer_is_named() -> None:
    assert refusal(Design((MaxPool(7), Linear(12), Linear(10)))) == (
        "layer 2 (linear 16 -> 12): fully connected layers are not allowed; "
        "layer 3 (linear 12 -> 10): fully connected layers are not allowed"
    )


def test_too_many_parameters_are_refused_with_both_counts() -> None:
    design = Design((Conv(47), Conv(47), AveragePool(), LOGITS))
    # 9 x 47 + 94; 9 x 47 x 47 + 94; 470
    assert refusal(design) == "parameters: 20,962, must be fewer than 20,000"


def test_too_many_epochs_are_refused() -> None:
    Rules().check(ASSIGNMENT, epochs=19)
    assert refusal(ASSIGNMENT, epochs=20) == "epochs: 20, must be fewer than 20"
    assert refusal(ASSIGNMENT, epochs=1_000) == "epochs: 1,000, must be fewer than 20"


@pytest.mark.parametrize(
    ("last", "shape"),
    [
        (Conv(10, padding=0), "10x26x26"),
        (Conv(12, 28, 0), "12x1x1"),
        (AveragePool(), "1x1x1"),
        (Conv(10_000, 28, 0, False), "10,000x1x1"),
    ],
)
def test_other_than_ten_logits_are_refused(last: Layer, shape: str) -> None:
    assert refusal(Design((last,)), Rules(parameter_limit=None)) == (
        f"output: {shape} for each image, must be 10 logits (10x1x1)"
    )


def test_a_map_that_shrinks_to_nothing_is_refused() -> None:
    assert refusal(Design((MaxPool(29),)), epochs=20) == (
        "epochs: 20, must be fewer than 20; layer 1 (max-pool 29x29): leaves nothing of its 28x28 "
        "input map; use a smaller kernel, more padding or fewer pools"
    )


def test_every_broken_limit_is_named() -> None:
    wide = Design((Conv(100), Conv(100), Linear(12)))
    assert refusal(wide, epochs=25).split("; ") == [
        "epochs: 25, must be fewer than 20",
        "parameters: 1,032,112, must be fewer than 20,000",
        "layer 3 (linear 78,400 -> 12): fully connected layers are not allowed",
        "output: 12x1x1 for each image, must be 10 logits (10x1x1)",
    ]


def test_a_rejection_carries_what_was_counted_and_allowed() -> None:
    with pytest.raises(Rejected) as caught:
        Rules().check(Design((Conv(100), Conv(100), Linear(12))), epochs=25)
    facts = [(each.limit, each.counted, each.allowed) for each in caught.value.rejections]
    assert facts == [
        ("epochs", 25, 19),
        ("parameters", 1_032_112, 19_999),
        ("fully connected layers", 1, 0),
        ("logits", 12, 10),
    ]


def test_a_rejection_of_a_shrunken_map_says_so() -> None:
    with pytest.raises(Rejected) as caught:
        Rules().check(Design((MaxPool(29),)))
    (rejection,) = caught.value.rejections
    assert rejection == Rejection("feature map", 0, 1, str(caught.value))


def test_a_fully_connected_layer_before_a_shrunken_map_is_named_too() -> None:
    message = refusal(Design((Linear(10), MaxPool())))
    assert "layer 1 (linear 784 -> 10): fully connected layers are not allowed" in message


def test_the_parameter_limit_is_exclusive() -> None:
    Rules(parameter_limit=18_431).check(ASSIGNMENT)
    assert refusal(ASSIGNMENT, Rules(parameter_limit=18_430)) == (
        "parameters: 18,430, must be fewer than 18,430"
    )


def test_the_epoch_limit_is_exclusive() -> None:
    Rules(epoch_limit=6).check(ASSIGNMENT, epochs=5)
    assert refusal(ASSIGNMENT, Rules(epoch_limit=6), epochs=6) == (
        "epochs: 6, must be fewer than 6"
    )


def test_none_is_no_limit() -> None:
    wide = Design((Conv(10**12), AveragePool(), LOGITS))
    assert Rules(parameter_limit=None).check(wide).parameters > 10**12
    Rules(epoch_limit=None).check(ASSIGNMENT, epochs=10**6)
    Rules().check(ASSIGNMENT, epochs=None)


def test_huge_designs_are_refused_with_their_count() -> None:
    assert refusal(Design((Conv(10**12), AveragePool(), LOGITS))) == (
        "parameters: 21,000,000,000,000, must be fewer than 20,000"
    )


COVERS = (
    "layer 14 (conv 3x3 30 -> 10): on its 3x3 map it computes what a fully connected layer computes"
)
ONE_PIXEL = (
    "layer 2 (conv 1x1 1 -> 10): on its 1x1 map it computes what a fully connected layer computes"
)


@pytest.mark.parametrize(
    ("design", "note"),
    [(ASSIGNMENT, COVERS), (Design((AveragePool(), LOGITS)), ONE_PIXEL)],
    ids=["kernel covers its map", "1x1 on 1x1"],
)  # fmt: skip
def test_a_fully_connected_layer_in_disguise_is_noted_and_strictly_refused(
    design: Design, note: str
) -> None:
    assert notes(Rules().check(design)) == [note]
    assert refusal(design, Rules(strict=True)) == f"{note} (--strict)"


def test_a_stride_that_leaves_one_output_pixel_is_a_disguise() -> None:
    assert notes(plan(Design((Conv(10, 27, 0, stride=2, batch_norm=False),)))) == [
        "layer 1 (conv 27x27 stride 2 1 -> 10): on its 28x28 map it computes what a fully "
        "connected layer computes"
    ]
    assert notes(plan(Design((Conv(10, 26, 0, stride=2, batch_norm=False),)))) == []


def test_groups_and_sums_that_do_not_fit_are_rejections() -> None:
    with pytest.raises(Rejected) as caught:
        Rules().check(Design((Conv(10), Conv(12, groups=4))))
    (rejection,) = caught.value.rejections
    assert (rejection.limit, rejection.counted, rejection.allowed) == ("groups", 4, 2)


AVERAGED = (
    "layer 2 (conv 1x1 8 -> 10): averaged over its 28x28 map it computes what a fully connected "
    "layer computes"
)


@pytest.mark.parametrize(
    "between",
    [(), (Dropout(0.1),), (Conv(10, 1, 0, relu=False),)],
    ids=["average", "dropout", "another 1x1"],
)
def test_a_1x1_then_an_average_is_judged_as_an_average_then_a_1x1(
    between: tuple[Layer, ...],
) -> None:
    then_average = Design((Conv(8), LOGITS, *between, AveragePool()))
    average_first = Design((Conv(8), AveragePool(), LOGITS))
    found = notes(plan(then_average))
    assert found[0] == AVERAGED
    assert len(found) == 1 + sum(isinstance(layer, Conv) for layer in between)
    assert f"{AVERAGED} (--strict)" in refusal(then_average, Rules(strict=True))
    assert len(notes(plan(average_first))) == 1


@pytest.mark.parametrize(
    "last",
    [Conv(10, 3, 1, batch_norm=False, relu=False), Conv(10, 1, 0), Conv(10, 5, 2, relu=False)],
    ids=["3x3", "1x1 with ReLU", "5x5"],
)
def test_strict_admits_averages_of_what_is_no_matrix_on_the_averaged_map(last: Conv) -> None:
    averaged = Design((Conv(8), last, AveragePool()))
    assert notes(Rules(strict=True).check(averaged)) == []


@pytest.mark.parametrize(
    "layers",
    [
        (AveragePool(), Conv(10, kernel=3, padding=1, batch_norm=False)),
        (MaxPool(9), Conv(10, kernel=5, padding=1, batch_norm=False)),
    ],
    ids=["3x3 on 1x1", "5x5 on 3x3"],
)
def test_padding_is_no_disguise(layers: tuple[Layer, ...]) -> None:
    assert len(notes(plan(Design(layers)))) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parameter_limit": 0}, "parameter limit must be at least 1, got 0"),
        ({"parameter_limit": -5}, "parameter limit must be at least 1, got -5"),
        ({"epoch_limit": 1}, "epoch limit must be at least 2, got 1"),
        ({"target": 0}, "target must be above 0 and at most 1, got 0"),
        ({"target": 99.4}, "target must be above 0 and at most 1, got 99.4"),
        ({"target": float("nan")}, "target must be above 0 and at most 1, got nan"),
    ],
)
def test_limits_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Rules(**values)


def test_limits_at_their_bounds_are_valid() -> None:
    assert Rules(parameter_limit=1, epoch_limit=2, target=1).target == 1
