"""Which networks lanes takes, and how it refuses the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mnist_arch import lanes
from tests.mnist_arch.lanes.designs import seed_network, small_network
from tests.mnist_arch.lanes.reference import check_step, distance

REFUSED: dict[str, tuple[list[nn.Module], str]] = {
    "linear": (
        [nn.Conv2d(1, 4, 3), nn.Flatten(1), nn.Linear(2704, 10)],
        r"layer 1 \(Flatten\): must be the last layer",
    ),
    "stride": ([nn.Conv2d(1, 4, 3, stride=2)], r"layer 0 \(Conv2d\): stride, dilation and groups"),
    "groups": ([nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2)], r"layer 1 \(Conv2d\): stride"),
    "oblong kernel": ([nn.Conv2d(1, 4, (3, 1))], r"layer 0 \(Conv2d\): the kernel must be square"),
    "padding": ([nn.Conv2d(1, 4, 3, padding=2)], r"padding must be zeros, from 0 to 1 wide"),
    "reflection": (
        [nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect")],
        r"layer 0 \(Conv2d\): padding must be zeros",
    ),
    "channels": ([nn.Conv2d(1, 4, 3), nn.Conv2d(5, 4, 3)], r"layer 1 \(Conv2d\): takes 5 channels"),
    "colours": ([nn.Conv2d(3, 4, 3)], r"layer 0 \(Conv2d\): takes 3 channels, but is given 1"),
    "shrunk": (
        [nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 3)],
        r"layer 2 \(Conv2d\): its kernel of 3 is larger than its map of 1x1",
    ),
    "norm channels": (
        [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(5)],
        r"layer 1 \(BatchNorm2d\): takes 5 channels, but is given 4",
    ),
    "norm without statistics": (
        [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)],
        r"layer 1 \(BatchNorm2d\): must be affine and keep running statistics",
    ),
    "other norm": ([nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4)], r"layer 1 \(GroupNorm\): not a layer"),
    "other activation": ([nn.Conv2d(1, 4, 3), nn.GELU()], r"layer 1 \(GELU\): not a layer"),
    "dropout of all": ([nn.Conv2d(1, 4, 3), nn.Dropout(1.0)], r"less than 1, not 1.0"),
    "pool of three": ([nn.Conv2d(1, 4, 3), nn.MaxPool2d(3)], r"layer 1 \(MaxPool2d\): must be 2x2"),
    "ceiling": (
        [nn.Conv2d(1, 4, 3), nn.MaxPool2d(2, ceil_mode=True)],
        r"layer 1 \(MaxPool2d\): must have no padding, no dilation and no ceil_mode",
    ),
    "partial average": (
        [nn.Conv2d(1, 4, 3), nn.AvgPool2d(2)],
        r"layer 1 \(AvgPool2d\): must average the whole map of 26x26",
    ),
    "no flatten": ([nn.Conv2d(1, 4, 3)], r"the last layer must be Flatten"),
    "nested": (
        [nn.Sequential(nn.Conv2d(1, 4, 3)), nn.Flatten(1)],
        r"layer 0 \(Sequential\): not a",
    ),
    "empty": ([], r"the last layer must be Flatten"),
}


@pytest.mark.needs_no_library
@pytest.mark.parametrize(("layers", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_other_layers_are_refused_by_name(layers: list[nn.Module], reason: str) -> None:
    network = nn.Sequential(*layers)
    with pytest.raises(lanes.Unsupported, match=reason):
        lanes.accelerate(network)
    assert lanes.supports(network)


@pytest.mark.needs_no_library
def test_shared_layers_hooks_and_other_modules_are_refused() -> None:
    convolution = nn.Conv2d(1, 1, 3)
    twice = nn.Sequential(convolution, convolution, nn.Flatten(1))
    assert lanes.supports(twice) == "layer 1 (Conv2d): used twice"
    hooked = small_network()
    hooked[1].register_forward_hook(lambda *_: None)
    assert "layer 1 (BatchNorm2d): has hooks" in str(lanes.supports(hooked))
    assert "a flat nn.Sequential, not a Conv2d" in str(lanes.supports(convolution))
    with pytest.raises(TypeError, match=r"flat nn\.Sequential"):
        lanes.accelerate(convolution)  # type: ignore[arg-type]


@pytest.mark.needs_no_library
def test_supported_networks_have_no_reason() -> None:
    assert lanes.supports(seed_network()) is None
    assert lanes.supports(small_network("rb")) is None


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
    fast = lanes.accelerate(network)
    images = torch.randn(18, 1, 28, 28)
    fast.eval()
    with torch.no_grad():
        found, expected = fast(images), network.double()(images.double())
    assert distance(found, expected) < 1e-5
