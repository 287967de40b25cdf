"""A batch norm that the weights of the convolution after it take in: `is_folded` in schedule.h."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.mnist_arch.lanes.chains import accelerate
from tests.mnist_arch.lanes.reference import TOLERANCE, check_step, distance, gradient, reference

RAGGED = 21
"""Images: a tile and a part of one."""


def folded(convolution: nn.Module, first: nn.Module | None = None) -> nn.Sequential:
    """Batch norm between an activation and the unpadded `convolution` of 6 channels."""
    return nn.Sequential(
        first or nn.Conv2d(1, 6, 3), nn.SiLU(), nn.BatchNorm2d(6), convolution, nn.ReLU(),
        nn.BatchNorm2d(12), nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 10, 1), nn.Flatten(1),
    )  # fmt: skip


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(6, 12, 1),
        nn.Conv2d(6, 12, 3, bias=False),
        nn.Conv2d(6, 12, 5, stride=2),
        nn.Conv2d(6, 12, 3, groups=6),
        nn.Conv2d(6, 12, 3, stride=2, groups=2, bias=False),
        nn.Conv2d(6, 12, 26),
        nn.Conv2d(6, 12, 3, padding=1),  # which folds nothing
    ],
    ids=["1x1", "3x3", "5x5 stride 2", "depthwise", "two groups", "whole map", "padded"],
)
def test_a_step_is_that_of_float64(convolution: nn.Module, instruction_set: str) -> None:
    torch.manual_seed(3)
    check_step(folded(convolution), RAGGED, instruction_set)


def batch() -> tuple[Tensor, Tensor]:
    """Images, and the gradients of their logits."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(RAGGED, 1, 28, 28, generator=generator)
    return images, torch.randn(RAGGED, 10, generator=generator)


def test_its_gradients_need_no_gradient_of_the_weights() -> None:
    torch.manual_seed(4)
    network = folded(nn.Conv2d(6, 12, 3))
    network[3].requires_grad_(False)
    oracle, fast = reference(network), accelerate(network)
    images, weights = batch()
    (fast(images) * weights).sum().backward()
    (oracle(images.double()) * weights.double()).sum().backward()
    assert network[3].weight.grad is None
    for mine, theirs in zip(network[2].parameters(), oracle[2].parameters(), strict=True):
        assert distance(gradient(mine), gradient(theirs)) < TOLERANCE


def test_gradients_by_running_statistics_are_those_of_float64() -> None:
    torch.manual_seed(5)
    network = folded(nn.Conv2d(6, 12, 3, groups=2))
    images, weights = batch()
    network(images)  # statistics that are not those of the batch
    oracle, fast = reference(network).eval(), accelerate(network).eval()
    (fast(images[:18]) * weights[:18]).sum().backward()
    (oracle(images[:18].double()) * weights[:18].double()).sum().backward()
    for mine, theirs in zip(network.parameters(), oracle.parameters(), strict=True):
        assert distance(gradient(mine), gradient(theirs)) < TOLERANCE


def test_a_mean_far_from_zero_costs_some_digits_and_no_more() -> None:
    torch.manual_seed(6)
    first = nn.Conv2d(1, 6, 3)
    nn.init.constant_(first.bias, 30)  # type: ignore[arg-type]  # about 60 times the deviation
    network = folded(nn.Conv2d(6, 12, 3), first)
    oracle, fast = reference(network), accelerate(network)
    images, weights = batch()
    (fast(images) * weights).sum().backward()
    (oracle(images.double()) * weights.double()).sum().backward()
    for mine, theirs in zip(network.parameters(), oracle.parameters(), strict=True):
        assert distance(gradient(mine), gradient(theirs), floor=0.1) < 10 * TOLERANCE
