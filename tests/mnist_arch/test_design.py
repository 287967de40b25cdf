from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from mnist_arch.design import (
    MAX_INTEGER,
    MAX_JSON_CHARACTERS,
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
from mnist_arch.errors import UserError
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.rules import Rejected, Rules
from tests.mnist_arch.strategies import designs, nearly_designs

ASSIGNMENT = REFERENCE_DESIGNS["assignment"]


def text_of(*specs: Any) -> str:
    return json.dumps({"layers": specs})


def conv(**changes: Any) -> str:
    return text_of({"type": "conv", "out_channels": 10, **changes})


@given(designs())
def test_json_gives_back_the_design(design: Design) -> None:
    assert Design.from_json(design.to_json()) == design
    assert Design.from_dict(design.to_dict()) == design


def test_json_is_one_line_a_layer() -> None:
    assert Design((Conv(8), Dropout(0.1), MaxPool(), AveragePool())).to_json() == (
        '{\n  "layers": [\n'
        '    {"type": "conv", "out_channels": 8, "kernel": 3, "padding": 1, '
        '"batch_norm": true, "relu": true, "bias": false},\n'
        '    {"type": "dropout", "rate": 0.1, "kind": "channel"},\n'
        '    {"type": "max_pool", "size": 2},\n'
        '    {"type": "average_pool"}\n'
        "  ]\n}\n"
    )


def test_fields_with_a_default_may_be_left_out() -> None:
    text = text_of(
        {"type": "conv", "out_channels": 8},
        {"type": "dropout", "rate": 0},
        {"type": "max_pool"},
        {"type": "linear", "out_features": 10},
    )
    assert Design.from_json(text) == Design((Conv(8), Dropout(0), MaxPool(2), Linear(10)))


def test_the_assignments_fingerprint_never_changes() -> None:
    assert ASSIGNMENT.fingerprint == "59aea58c103e"  # studies on disk hold it


@given(designs())
def test_fingerprint_ignores_the_order_of_keys(design: Design) -> None:
    turned = {"layers": [dict(reversed(spec.items())) for spec in design.to_dict()["layers"]]}
    assert Design.from_json(json.dumps(turned, indent=3)).fingerprint == design.fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        Conv(9), Conv(8, kernel=5), Conv(8, padding=0), Conv(8, batch_norm=False),
        Conv(8, relu=False), Conv(8, bias=True), Dropout(0.1), Dropout(0.2),
        Dropout(0.1, "element"), MaxPool(), MaxPool(3), AveragePool(), Linear(10),
        Linear(10, bias=False), Conv(8, stride=2), Conv(8, groups=2), Conv(8, activation="silu"),
        Conv(8, activation="hard_swish"), Conv(8, activation_first=True), DepthwiseConv(),
        DepthwiseConv(5), DepthwiseConv(padding=0), DepthwiseConv(batch_norm=False),
        DepthwiseConv(bias=True), DepthwiseConv(stride=2), DepthwiseConv(activation="none"),
        DepthwiseConv(activation_first=True), LocalAveragePool(), LocalAveragePool(3),
    ],
)  # fmt: skip
def test_fingerprint_changes_with_every_field(changed: Layer) -> None:
    bases: tuple[Layer, ...] = (Conv(8), Dropout(0.3), MaxPool(4), Linear(11), DepthwiseConv(7))
    others = {Design((layer,)).fingerprint for layer in bases}
    assert Design((changed,)).fingerprint not in others


def test_fingerprint_changes_with_the_layer_that_a_sum_adds() -> None:
    first = (Conv(8), Conv(8), Conv(8))
    sums = (Sum(1), Sum(2), Sum(1, "relu"))
    assert len({Design((*first, layer)).fingerprint for layer in sums}) == 3


def test_a_new_field_stands_in_json_only_where_it_tells() -> None:
    old = {"out_channels", "kernel", "padding", "batch_norm", "relu", "bias", "type"}
    layers = (
        Conv(8), Conv(8, relu=False), Conv(8, activation="silu", stride=2), DepthwiseConv(),
        Conv(8, groups=4, activation_first=True), LocalAveragePool(), LocalAveragePool(3),
    )  # fmt: skip
    first, second, third, *others = Design(layers).to_dict()["layers"]
    assert first.keys() == second.keys() == old
    assert third.keys() - old == {"stride", "activation"}
    assert others == [
        {"type": "depthwise_conv", "kernel": 3, "padding": 1, "batch_norm": True, "bias": False},
        {"type": "conv", "out_channels": 8, "kernel": 3, "padding": 1, "batch_norm": True,
         "relu": True, "bias": False, "groups": 4, "activation_first": True},
        {"type": "local_average_pool", "size": 2},
        {"type": "local_average_pool", "size": 3},
    ]  # fmt: skip


def test_relu_and_activation_say_the_same() -> None:
    assert Conv(8) == Conv(8, relu=True) == Conv(8, activation="relu")
    assert Conv(8, relu=False) == Conv(8, activation="none")
    assert not Conv(8, activation="silu").relu
    assert Design.from_json(conv(relu=False, activation="silu")) == Design(
        (Conv(10, activation="silu"),)
    )


def test_an_activation_stands_first_only_where_there_is_a_batch_norm_and_an_activation() -> None:
    assert Conv(8, batch_norm=False, activation_first=True) == Conv(8, batch_norm=False)
    assert DepthwiseConv(activation="none", activation_first=True) == DepthwiseConv(
        activation="none"
    )


def test_fingerprint_changes_with_order_and_length() -> None:
    first, second = Conv(8), MaxPool()
    orders: list[tuple[Layer, ...]] = [
        (first, second), (second, first), (first,), (first, second, second),
    ]  # fmt: skip
    assert len({Design(order).fingerprint for order in orders}) == len(orders)


@pytest.mark.parametrize("rate", [0, -0.0])
def test_equal_designs_have_equal_fingerprints(rate: float) -> None:
    one, other = Design((Dropout(rate),)), Design((Dropout(0.0),))
    assert one == other
    assert one.fingerprint == other.fingerprint


WHOLE = "must be a whole number, got"
RANGE = "must be from 1 to 1,000,000,000,000,000, got"
SHAPE = 'a design must be an object {"layers": [...]}, got'
RATE = "layer 1: dropout: rate must be at least 0 and below 1, got"

TYPES = (
    "must be one of conv, depthwise_conv, dropout, max_pool, local_average_pool, average_pool, "
    "sum, linear"
)

MISTAKES = {
    "empty": ("", "not JSON: Expecting value: line 1 column 1 (char 0)"),
    "not JSON": (
        "{layers}",
        "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    ),
    "cut short": (
        '{"layers": [',
        "not JSON: Expecting value: line 1 column 13 (char 12)",
    ),
    "a list": ("[1, 2]", f"{SHAPE} [1, 2]"),
    "a long list": (json.dumps([7] * 100), f"{SHAPE} [{'7, ' * 18}7,..."),
    "a number": ("3", f"{SHAPE} 3"),
    "no layers": ("{}", f"{SHAPE} {{}}"),
    "layers not a list": ('{"layers": 3}', f"{SHAPE} {{'layers': 3}}"),
    "unknown key": (
        '{"layers": [], "name": 1}',
        "design: unknown key 'name', allowed are layers",
    ),
    "repeated key": (
        '{"layers": [], "layers": []}',
        "key 'layers' stands twice in one object",
    ),
    "repeated key in a layer": (
        '{"layers": [{"type": "max_pool", "size": 2, "size": 3}]}',
        "key 'size' stands twice in one object",
    ),
    "empty layers": (text_of(), "a design must have from 1 to 1,000 layers, got 0"),
    "too many layers": (
        text_of(*[{"type": "average_pool"}] * 1_001),
        "a design must have from 1 to 1,000 layers, got 1,001",
    ),
    "layer not an object": (text_of(3), "layer 1: must be an object with a type, got 3"),
    "no type": (
        text_of({"size": 2}),
        f"layer 1: type {TYPES}, got None",
    ),
    "unknown type": (
        text_of({"type": "max_pool"}, {"type": "lstm"}),
        f"layer 2: type {TYPES}, got 'lstm'",
    ),
    "type not a text": (
        text_of({"type": ["conv"]}),
        f"layer 1: type {TYPES}, got ['conv']",
    ),
    "unknown key in a layer": (
        conv(dilation=2),
        "layer 1 (conv): unknown key 'dilation', allowed are activation, activation_first, "
        "batch_norm, bias, groups, kernel, out_channels, padding, relu, stride, type",
    ),
    "missing width": (text_of({"type": "conv"}), "layer 1 (conv): out_channels is missing"),
    "missing rate": (text_of({"type": "dropout"}), "layer 1 (dropout): rate is missing"),
    "missing features": (
        text_of({"type": "linear", "bias": True}),
        "layer 1 (linear): out_features is missing",
    ),
    "bool for a width": (conv(out_channels=True), f"layer 1: conv: out_channels {WHOLE} True"),
    "float for a width": (conv(out_channels=8.0), f"layer 1: conv: out_channels {WHOLE} 8.0"),
    "text for a width": (conv(out_channels="8"), f"layer 1: conv: out_channels {WHOLE} '8'"),
    "null for a kernel": (conv(kernel=None), f"layer 1: conv: kernel {WHOLE} None"),
    "list for a padding": (conv(padding=[1, 1]), f"layer 1: conv: padding {WHOLE} [1, 1]"),
    "infinite width": (conv(out_channels=float("inf")), f"layer 1: conv: out_channels {WHOLE} inf"),
    "negative width": (conv(out_channels=-8), f"layer 1: conv: out_channels {RANGE} -8"),
    "zero width": (conv(out_channels=0), f"layer 1: conv: out_channels {RANGE} 0"),
    "width too large": (
        conv(out_channels=MAX_INTEGER + 1),
        f"layer 1: conv: out_channels {RANGE} 1000000000000001",
    ),
    "width of 4,000 digits": (
        '{"layers": [{"type": "conv", "out_channels": ' + "9" * 4_000 + "}]}",
        f"layer 1: conv: out_channels {RANGE} an integer of 13288 bits",
    ),
    "zero kernel": (conv(kernel=0, padding=0), f"layer 1: conv: kernel {RANGE} 0"),
    "negative padding": (
        conv(padding=-1),
        "layer 1: conv: padding must be from 0 to 1,000,000,000,000,000, got -1",
    ),
    "padding above half the kernel": (
        conv(kernel=3, padding=2),
        "layer 1: conv: padding must be at most half the kernel (1), got 2",
    ),
    "number for true": (conv(relu=1), "layer 1: conv: relu must be true or false, got 1"),
    "text for true": (conv(bias="no"), "layer 1: conv: bias must be true or false, got 'no'"),
    "null for true": (
        conv(batch_norm=None),
        "layer 1: conv: batch_norm must be true or false, got None",
    ),
    "rate 1.0": (text_of({"type": "dropout", "rate": 1.0}), f"{RATE} 1.0"),
    "negative rate": (text_of({"type": "dropout", "rate": -0.1}), f"{RATE} -0.1"),
    "rate NaN": (text_of({"type": "dropout", "rate": float("nan")}), f"{RATE} nan"),
    "rate Infinity": (text_of({"type": "dropout", "rate": float("inf")}), f"{RATE} inf"),
    "bool for a rate": (
        text_of({"type": "dropout", "rate": False}),
        "layer 1: dropout: rate must be a number, got False",
    ),
    "text for a rate": (
        text_of({"type": "dropout", "rate": "0.1"}),
        "layer 1: dropout: rate must be a number, got '0.1'",
    ),
    "unknown kind": (
        text_of({"type": "dropout", "rate": 0.1, "kind": "spatial"}),
        "layer 1: dropout: kind must be 'channel' or 'element', got 'spatial'",
    ),
    "list for a kind": (
        text_of({"type": "dropout", "rate": 0.1, "kind": []}),
        "layer 1: dropout: kind must be 'channel' or 'element', got []",
    ),
    "pool of one pixel": (
        text_of({"type": "max_pool", "size": 1}),
        "layer 1: max_pool: size must be from 2 to 1,000,000,000,000,000, got 1",
    ),
    "no features": (
        text_of({"type": "linear", "out_features": 0}),
        f"layer 1: linear: out_features {RANGE} 0",
    ),
    "text for a linear bias": (
        text_of({"type": "linear", "out_features": 10, "bias": "yes"}),
        "layer 1: linear: bias must be true or false, got 'yes'",
    ),
    "groups that do not divide": (
        conv(groups=3),
        "layer 1: conv: groups must divide out_channels (10), got 3",
    ),
    "no groups": (conv(groups=0), f"layer 1: conv: groups {RANGE} 0"),
    "no stride": (conv(stride=0), f"layer 1: conv: stride {RANGE} 0"),
    "unknown activation": (
        conv(activation="gelu"),
        "layer 1: conv: activation must be 'relu', 'silu', 'hard_swish' or 'none', got 'gelu'",
    ),
    "null for an activation": (
        conv(activation=None),
        "layer 1: conv: activation must be 'relu', 'silu', 'hard_swish' or 'none', got None",
    ),
    "null for relu": (conv(relu=None), "layer 1: conv: relu must be true or false, got None"),
    "relu against activation": (
        conv(relu=True, activation="silu"),
        "layer 1: conv: relu true contradicts activation 'silu'; give one",
    ),
    "no relu against activation": (
        conv(relu=False, activation="relu"),
        "layer 1: conv: relu false contradicts activation 'relu'; give one",
    ),
    "number for an order": (
        conv(activation_first=1),
        "layer 1: conv: activation_first must be true or false, got 1",
    ),
    "padding of a depthwise convolution": (
        text_of({"type": "depthwise_conv", "kernel": 3, "padding": 2}),
        "layer 1: depthwise conv: padding must be at most half the kernel (1), got 2",
    ),
    "local pool of one pixel": (
        text_of({"type": "local_average_pool", "size": 1}),
        "layer 1: local_average_pool: size must be from 2 to 1,000,000,000,000,000, got 1",
    ),
    "sum without a layer": (text_of({"type": "sum"}), "layer 1 (sum): layer is missing"),
    "sum of layer 0": (text_of({"type": "sum", "layer": 0}), f"layer 1: sum: layer {RANGE} 0"),
    "sum too early": (
        text_of({"type": "average_pool"}, {"type": "sum", "layer": 1}),
        "layer 2: sum: two layers must stand before it",
    ),
    "sum of the layer before": (
        text_of(*[{"type": "average_pool"}] * 2, {"type": "sum", "layer": 2}),
        "layer 3: sum: layer must be from 1 to 1 (the layer right before it is added anyway), "
        "got 2",
    ),
    "sum with an unknown activation": (
        text_of({"type": "sum", "layer": 1, "activation": "tanh"}),
        "layer 1: sum: activation must be 'relu', 'silu', 'hard_swish' or 'none', got 'tanh'",
    ),
    "text too long": (
        " " * (MAX_JSON_CHARACTERS + 1),
        "a design's JSON must have at most 1,000,000 characters, got 1,000,001",
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named_with_its_value(text: str, message: str) -> None:
    with pytest.raises(DesignError) as caught:
        Design.from_json(text)
    assert str(caught.value) == message
    assert isinstance(caught.value, UserError)


def test_an_integer_of_5_000_digits_is_refused() -> None:
    text = '{"layers": [{"type": "conv", "out_channels": ' + "9" * 5_000 + "}]}"
    with pytest.raises(DesignError, match=r"^not JSON: Exceeds the limit \(4300 digits\)"):
        Design.from_json(text)


def test_a_key_repeated_among_many_is_named() -> None:
    keys = [str(number) for number in range(3_000)]
    text = "{" + ", ".join(f'"{key}": 0' for key in [*keys, "2999"]) + "}"
    with pytest.raises(DesignError, match=r"^key '2999' stands twice in one object$"):
        Design.from_json(text)


def test_nesting_too_deep_to_parse_is_refused() -> None:
    with pytest.raises(DesignError, match=r"^not JSON: maximum recursion depth exceeded"):
        Design.from_json("[" * 100_000)


@pytest.mark.parametrize("field", ["out_channels", "relu"])
def test_nesting_of_any_depth_is_refused(field: str) -> None:
    for depth in range(1, 1_100):
        text = f'{{"layers": [{{"type": "conv", "out_channels": 1, "{field}": '
        text = text.replace('"out_channels": 1, "out_channels"', '"out_channels"')
        with pytest.raises(DesignError):
            Design.from_json(text + "[" * depth + "]" * depth + "}]}")


def test_limits_of_the_format_are_inclusive() -> None:
    Conv(MAX_INTEGER, kernel=MAX_INTEGER, padding=MAX_INTEGER // 2)
    assert len(Design((AveragePool(),) * 1_000).layers) == 1_000
    assert Design.from_json(ASSIGNMENT.to_json().ljust(MAX_JSON_CHARACTERS)) == ASSIGNMENT


def test_a_design_made_in_code_keeps_the_same_rules() -> None:
    with pytest.raises(DesignError, match=re.escape("conv: out_channels must be from 1 to")):
        replace(Conv(8), out_channels=0)
    with pytest.raises(DesignError, match="from 1 to 1,000 layers, got 1,001"):
        Design((AveragePool(),) * 1_001)
    with pytest.raises(DesignError, match="from 1 to 1,000 layers, got 0"):
        Design(())


def answer(text: str) -> str | None:
    """Read and check a design: None, or the refusal; any other exception rises."""
    try:
        Rules().check(Design.from_json(text))
    except (DesignError, Rejected) as error:
        return str(error)
    return None


def test_refusals_are_user_errors() -> None:
    assert issubclass(DesignError, UserError)
    assert issubclass(Rejected, UserError)


@settings(max_examples=300)
@given(nearly_designs())
def test_malformed_designs_give_only_user_errors(text: str) -> None:
    message = answer(text)
    assert message is None or (message and "\n" not in message)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(nearly_designs())
def test_ten_thousand_malformed_designs_give_only_user_errors(text: str) -> None:
    message = answer(text)
    assert message is None or (message and "\n" not in message)
