"""Which networks lanes takes, and how it refuses the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from mnist_arch import lanes
from mnist_arch.build import Network, build
from mnist_arch.design import AveragePool, Conv, Design, Layer, LocalAveragePool, MaxPool
from mnist_arch.lanes.lower import activation
from mnist_arch.plan import plan
from mnist_arch.references import BASELINE
from tests.mnist_arch.lanes.chains import accelerate
from tests.mnist_arch.lanes.reference import check_step, distance

REFUSED: dict[str, tuple[list[Layer], str]] = {
    "stride": ([Conv(4, stride=3)], r"layer 1 \(conv 3x3 stride 3 1 -> 4\): the stride must be 1"),
    "pool of three": ([Conv(4), MaxPool(3)], r"layer 2 \(max-pool 3x3\): a pool must be 2x2"),
    "average of three": ([Conv(4), LocalAveragePool(3)], r"layer 2 \(.*\): a pool must be 2x2"),
}


def _network(*layers: Layer) -> Network:
    return Network(plan(Design(layers)))


@pytest.mark.needs_no_library
@pytest.mark.parametrize(("layers", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_other_layers_are_refused_by_name(layers: list[Layer], reason: str) -> None:
    network = _network(*layers)
    with pytest.raises(lanes.Unsupported, match=reason):
        lanes.accelerate(network)
    assert lanes.supports(network)


@pytest.mark.needs_no_library
def test_networks_without_a_plan_or_changed_since_are_refused() -> None:
    convolution = nn.Conv2d(1, 1, 3)
    assert lanes.supports(convolution) == "lanes takes a network that build made, not a Conv2d"
    with pytest.raises(TypeError, match="that build made"):
        lanes.accelerate(nn.Sequential(convolution, nn.Flatten()))
    network = build(BASELINE)
    network[2] = nn.Tanh()
    assert lanes.supports(network) == "layer 1 (conv 3x3 1 -> 10): is a Tanh now, not as built"
    network = build(BASELINE)
    network[3].register_forward_hook(lambda *_: None)
    assert (
        lanes.supports(network)
        == "layer 2 (channel dropout 0.1): has hooks, which lanes would not call"
    )
    network = build(BASELINE)
    network[0] = nn.Linear(3, 3)
    assert "is a Linear now, not as built" in str(lanes.supports(network))
    network.append(nn.Flatten())
    assert "has 28 modules, its plan 27" in str(lanes.supports(network))


@pytest.mark.needs_no_library
@pytest.mark.parametrize(
    ("place", "name", "value"),
    [(0, "padding", (0, 0)), (0, "padding_mode", "reflect"), (0, "groups", 2), (3, "p", 0.3)],
)
def test_modules_set_otherwise_since_are_refused(place: int, name: str, value: object) -> None:
    network = build(BASELINE)
    setattr(network[place], name, value)
    assert "its module was set otherwise after it was built" in str(lanes.supports(network))


@pytest.mark.needs_no_library
def test_an_operation_that_lanes_does_not_know_is_refused_by_name() -> None:
    network = _network(Conv(4), AveragePool())
    first = network.plan.nodes[0]
    odd = replace(first, operation=object())  # type: ignore[arg-type]
    network.plan = replace(network.plan, nodes=(odd, *network.plan.nodes[1:]))
    assert lanes.supports(network) == (
        "layer 1 (conv 3x3 1 -> 4): lanes does not know the operation object"
    )
    odd = replace(first, activation="gelu")  # type: ignore[arg-type]
    with pytest.raises(lanes.Unsupported, match="does not know the activation gelu"):
        activation(odd, 0, 1)


@pytest.mark.needs_no_library
def test_supported_networks_have_no_reason() -> None:
    assert lanes.supports(build(BASELINE)) is None


def _conv(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3)


UNUSUAL: dict[str, Callable[[], list[nn.Module]]] = {
    "no convolution": lambda: [nn.MaxPool2d(2)],
    "dropout of images": lambda: [nn.Dropout(0.3), nn.Dropout2d(0.3), _conv(1, 3)],
    "norm of images": lambda: [nn.BatchNorm2d(1), nn.ReLU(), _conv(1, 3)],
    "norm after pool": lambda: [_conv(1, 3), nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.ReLU()],
    "norm after dropout": lambda: [_conv(1, 3), nn.Dropout2d(0.4), nn.BatchNorm2d(3)],
    "two norms": lambda: [_conv(1, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3)],
    "two pools": lambda: [_conv(1, 3), nn.MaxPool2d(2), nn.MaxPool2d(2), _conv(3, 2)],
    "average of a pool": lambda: [_conv(1, 3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)],
    "average twice": lambda: [_conv(1, 3), nn.AvgPool2d(26), nn.AdaptiveAvgPool2d(1)],
    "norm after silu": lambda: [_conv(1, 3), nn.SiLU(), nn.BatchNorm2d(3), nn.Dropout(0.2)],
    "norm after relu and silu": lambda: [_conv(1, 3), nn.ReLU(), nn.SiLU(), nn.BatchNorm2d(3)],
    "relu after norm after silu": lambda: [nn.SiLU(), nn.BatchNorm2d(1), nn.ReLU(), _conv(1, 3)],
    "norm between two": lambda: [_conv(1, 3), nn.Hardswish(), nn.BatchNorm2d(3), nn.SiLU()],
    "dropped silu in a pool": lambda: [
        _conv(1, 3),
        nn.BatchNorm2d(3),
        nn.SiLU(),
        nn.Dropout(0.3),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
        _conv(3, 2),
        nn.BatchNorm2d(2),
        nn.SiLU(),
        nn.AvgPool2d(2),
    ],
    "dropped hard-swish": lambda: [
        _conv(1, 3),
        nn.Hardswish(),
        nn.BatchNorm2d(3),
        nn.Dropout(0.3),
        nn.Dropout2d(0.2),
        _conv(3, 2),
        nn.BatchNorm2d(2),
        nn.Hardswish(),
        nn.Dropout(0.2),
        _conv(2, 2),
    ],
    "silu after dropout": lambda: [_conv(1, 3), nn.Dropout2d(0.4), nn.SiLU(), nn.MaxPool2d(2)],
    "relu after hard-swish": lambda: [_conv(1, 3), nn.Hardswish(), nn.ReLU(), nn.AvgPool2d(2)],
    "silu after relu": lambda: [_conv(1, 3), nn.ReLU(), nn.SiLU(), nn.AdaptiveAvgPool2d(1)],
    "two average pools": lambda: [_conv(1, 3), nn.AvgPool2d(2), nn.AvgPool2d(2), nn.ReLU()],
    "norm twice after pools": lambda: [nn.AvgPool2d(2), nn.BatchNorm2d(1), nn.Conv2d(1, 3, 3, 2)],
    "relu after pool": lambda: [_conv(1, 3), nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.ReLU()],
    "relu after average": lambda: [_conv(1, 3), nn.AvgPool2d(26), nn.ReLU()],
    "relu after dropout": lambda: [_conv(1, 3), nn.Dropout(0.4), nn.ReLU(), nn.MaxPool2d(2)],
    "two dropouts": lambda: [_conv(1, 3), nn.Dropout(0.2), nn.Dropout(0.3), _conv(3, 2)],
    "five dropouts": lambda: [_conv(1, 9), *(nn.Dropout2d(0.2) for _ in range(5))],
    "max pool without relu": lambda: [_conv(1, 3), nn.Dropout(0.4), nn.MaxPool2d(2)],
    "dropout of none": lambda: [_conv(1, 3), nn.Dropout(0.0), nn.Dropout2d(0.0), nn.Dropout(0.1)],
}


@pytest.mark.parametrize("layers", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_unusual_orders_train_as_in_float64(layers: Callable[[], list[nn.Module]]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*layers(), nn.Flatten(1))
    if list(network.parameters()):
        check_step(network, images=18)
    network.zero_grad()
    fast = accelerate(network)
    images = torch.randn(18, 1, 28, 28)
    fast.eval()
    with torch.no_grad():
        found, expected = fast(images), network.double()(images.double())
    assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("kind", [nn.SiLU, nn.Hardswish])
def test_smooth_activations_are_exact_over_all_numbers(kind: type[nn.Module]) -> None:
    """To two units in the last place of the number itself: small results are differences of it."""
    numbers = torch.cat(
        [torch.linspace(-30, 30, 777), torch.tensor([-1e30, -90.0, 89.0, 1e30, 0, 3, -3])]
    )
    images = numbers.reshape(1, 1, 28, 28)
    fast = accelerate(nn.Sequential(kind(), nn.Flatten(1))).eval()
    with torch.no_grad():
        found, expected = fast(images)[0].double(), kind()(numbers.double())
    assert (found - expected).abs().div(numbers.abs() + 1e-30).max() < 3e-7
    with torch.no_grad():
        assert fast(torch.full((1, 1, 28, 28), torch.nan)).isnan().all()
