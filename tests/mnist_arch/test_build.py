from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn import functional

from mnist_arch.build import build
from mnist_arch.design import AveragePool, Conv, Design, Dropout, Layer, Linear, MaxPool, Sum
from mnist_arch.plan import plan
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.rules import Rejected, Rules
from mnist_arch.training import seed_everything
from tests.mnist_arch.strategies import can_be_walked, small_graphs

ASSIGNMENT = REFERENCE_DESIGNS["assignment"]
LOGITS = Conv(10, kernel=1, padding=0, batch_norm=False, relu=False)


def closed(design: Design) -> Design:
    """The design without fully connected layers and with ten logits at its end."""
    body = [layer for layer in design.layers if not isinstance(layer, Linear)]
    return Design((*body, AveragePool(), LOGITS))


def test_the_assignments_network_as_counted() -> None:
    network = build(ASSIGNMENT).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 18_430
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@settings(max_examples=60)
@given(small_graphs().map(closed).filter(can_be_walked))
def test_counted_parameters_equal_the_built_network(design: Design) -> None:
    network = build(design).eval()
    assert plan(design).parameters == sum(parameter.numel() for parameter in network.parameters())
    assert network(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_modules_stand_in_the_order_conv_norm_relu() -> None:
    layers: tuple[Layer, ...] = (
        Conv(8), Dropout(0.1), MaxPool(), Conv(8, batch_norm=False), Dropout(0.2, "element"),
        Conv(8, relu=False), AveragePool(), LOGITS,
    )  # fmt: skip
    assert [type(module) for module in build(Design(layers))] == [
        nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Dropout2d, nn.MaxPool2d, nn.Conv2d, nn.ReLU,
        nn.Dropout, nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d, nn.Conv2d, nn.Flatten,
    ]  # fmt: skip


def test_every_field_reaches_its_module() -> None:
    layers = (Conv(6, 5, 2, bias=True), Dropout(0.3), MaxPool(3), AveragePool(), LOGITS)
    conv, _norm, _relu, dropout, pool, average, last, _flatten = build(Design(layers))
    assert isinstance(conv, nn.Conv2d)
    assert (conv.kernel_size, conv.padding, conv.stride) == ((5, 5), (2, 2), (1, 1))
    assert conv.bias is not None
    assert isinstance(dropout, nn.Dropout2d)
    assert dropout.p == 0.3
    assert isinstance(pool, nn.MaxPool2d)
    assert pool.kernel_size == 3
    assert isinstance(average, nn.AvgPool2d)
    assert average.kernel_size == (9, 9)
    assert isinstance(last, nn.Conv2d)
    assert last.bias is None


@pytest.mark.parametrize(
    "design",
    [
        Design((Conv(10**12), AveragePool(), LOGITS)),
        Design((Conv(8), Linear(10))),
        Design((Conv(8, padding=0), MaxPool(27))),
        Design((Conv(11, 28, 0),)),
    ],
    ids=["10**12 channels", "fully connected", "nothing left", "eleven logits"],
)
def test_a_refused_design_makes_no_module(design: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_nothing(*_: object, **__: object) -> None:
        raise AssertionError("a module was made")

    monkeypatch.setattr(nn, "Conv2d", make_nothing)
    monkeypatch.setattr(nn, "BatchNorm2d", make_nothing)
    with pytest.raises(Rejected):
        build(design)


def test_rules_that_are_given_replace_the_assignments() -> None:
    wide = Design((Conv(60), Conv(60), AveragePool(), LOGITS))
    with pytest.raises(Rejected, match="must be fewer than 20,000"):
        build(wide)
    build(wide, Rules(parameter_limit=40_000))
    with pytest.raises(Rejected, match=r"\(--strict\)"):
        build(ASSIGNMENT, Rules(strict=True))


def test_one_step_moves_every_parameter() -> None:
    network = build(ASSIGNMENT)
    before = {name: value.clone() for name, value in network.named_parameters()}
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    images, labels = torch.randn(16, 1, 28, 28), torch.arange(16) % 10
    functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    moved = {name for name, value in network.named_parameters() if not value.equal(before[name])}
    assert moved == before.keys()


def test_the_seed_repeats_the_weights_and_another_differs() -> None:
    def first_weights(seed: int) -> torch.Tensor:
        seed_everything(seed)
        weights: torch.Tensor = build(ASSIGNMENT).state_dict()["0.weight"]
        return weights

    assert first_weights(7).equal(first_weights(7))
    assert not first_weights(7).equal(first_weights(8))


def test_a_network_of_other_modules_than_its_plans_is_refused() -> None:
    network = build(ASSIGNMENT)
    network.append(nn.ReLU())
    message = r"^the plan asks for 27 modules, the network has 28$"
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(2, 1, 28, 28))


def test_a_module_put_in_anothers_place_is_run() -> None:
    network = build(ASSIGNMENT).eval()
    images = torch.randn(2, 1, 28, 28)
    before = network(images)
    network[2] = nn.Identity()
    assert not network(images).equal(before)


def test_a_sum_adds_what_stands_behind_the_activation() -> None:
    layers = (Conv(10, activation="silu"), Conv(10, relu=False), Sum(1), AveragePool())
    network = build(Design(layers)).eval()
    images = torch.randn(2, 1, 28, 28)
    first = network[2](network[1](network[0](images)))
    second = network[4](network[3](first))
    torch.testing.assert_close(network(images), (second + first).mean((2, 3)))
