"""Convolution by minimal filtering: as exact as its head comment says, on maps of any width."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.mnist_arch.lanes.chains import accelerate
from tests.mnist_arch.lanes.reference import distance, gradient, reference

CHANNELS = 12  # enough for lanes to prefer it to direct convolution


def convolutions(side: int, padding: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution of CHANNELS maps of `side` x `side`, which another makes of an image."""
    torch.manual_seed(side)
    return nn.Sequential(
        nn.Conv2d(1, CHANNELS, 29 - side),
        nn.Conv2d(CHANNELS, outputs, 3, padding=padding),
        nn.Flatten(1),
    )


def train(network: nn.Module, images: Tensor, gradients: Tensor) -> dict[str, Tensor]:
    """Outputs and gradients, where `gradients` is the loss differentiated by the outputs."""
    outputs = network(images)
    outputs.backward(gradients)
    return {"outputs": outputs, **{name: gradient(p) for name, p in network.named_parameters()}}


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("side", [28, 27, 14, 13, 12, 7, 5, 3])
def test_its_error_is_less_than_four_times_that_of_pytorch(
    side: int, padding: int, instruction_set: str
) -> None:
    network = convolutions(side, padding, outputs=9)
    fast = accelerate(copy.deepcopy(network), instruction_set=instruction_set)
    images = torch.randn(18, 1, 28, 28)
    gradients = torch.randn(network(images).shape)
    expected = train(reference(network), images.double(), gradients.double())
    eager, ours = train(network, images, gradients), train(fast, images, gradients)
    for name, exact in expected.items():
        error, usual = (distance(found[name], exact) for found in (ours, eager))
        assert error < 4 * max(usual, 2.5e-7), (name, error, usual)


def test_a_row_takes_nothing_from_beyond_its_end(instruction_set: str) -> None:
    network = convolutions(14, 1, outputs=8)  # 14: three quads of outputs and a half
    fast = accelerate(network, instruction_set=instruction_set)
    images = torch.randn(16, 1, 28, 28)
    images[:, :, 16:, :8] = 1e30  # seen by the left ends of the lower rows only
    with torch.no_grad():
        ours, expected = (
            found.unflatten(1, (8, 14, 14)) for found in (fast(images), network(images))
        )
    unseen = (slice(None), slice(None), slice(None, 13), slice(9, None))
    assert expected[unseen].abs().max() < 100
    torch.testing.assert_close(ours[unseen], expected[unseen], rtol=1e-5, atol=1e-5)
