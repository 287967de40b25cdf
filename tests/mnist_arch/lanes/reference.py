"""PyTorch in float64 with the masks that lanes drew: the oracle of these tests."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mnist_arch.lanes import Accelerated
from tests.mnist_arch.lanes.chains import accelerate

TOLERANCE = 1e-4
DECISION = 3e-2
"""More than one decision of ReLU or a pool moves a gradient, by its norm (2e-3 was seen)."""


class FixedMask(nn.Module):
    """A dropout layer that keeps what a given mask keeps."""

    def __init__(self, mask: Tensor, probability: float) -> None:
        """`mask` is [N, C] or [N, C, rows, columns]."""
        super().__init__()
        mask = mask if mask.ndim == 4 else mask[:, :, None, None]
        self.factor = mask.double() / (1 - probability)

    def forward(self, values: Tensor) -> Tensor:
        """Values times the mask, scaled as dropout scales."""
        return values * self.factor.to(values.dtype)


def reference(network: nn.Sequential) -> nn.Sequential:
    """A float64 copy of the network, which training leaves alone."""
    return copy.deepcopy(network).double()


def with_masks(network: nn.Sequential, masks: dict[int, Tensor]) -> nn.Sequential:
    """The network's own layers, but for its dropouts, which get these masks."""
    masked = copy.copy(network)
    masked._modules = {
        name: FixedMask(masks[index], float(str(layer.p)))
        if index in masks
        else nn.Identity()
        if isinstance(layer, nn.Dropout | nn.Dropout2d)
        else layer
        for index, (name, layer) in enumerate(network.named_children())
    }
    return masked


def train_both(
    network: nn.Sequential, fast: Accelerated, images: Tensor, weights: Tensor
) -> tuple[nn.Sequential, Tensor, Tensor]:
    """One training pass and its gradients in lanes, then in float64 under the same masks.

    The loss is the sum of the logits times `weights` [N, outputs]. Returns the float64 network
    and both logits; the gradients are in the parameters of either network.
    """
    oracle = reference(network)
    logits = fast(images)
    (logits * weights).sum().backward()
    expected = with_masks(oracle, fast.masks(len(images)))(images.double())
    (expected * weights.double()).sum().backward()
    return oracle, logits.detach(), expected.detach()


def distance(value: Tensor, expected: Tensor, floor: float = 0.0) -> float:
    """The norm of the difference by the norm of what was expected, or by the floor."""
    value, expected = value.detach().double(), expected.detach().double()
    scale = max(float(expected.norm()), floor)
    difference = float((value - expected).norm())
    return difference / scale if scale else difference


def errors(network: nn.Sequential, oracle: nn.Sequential) -> dict[str, float]:
    """Each gradient's and statistic's distance from float64, relative to its norm.

    Some gradients are sums that cancel (a bias, or the only weight of a channel, before batch
    norm): none is held to less than a tenth of the network's largest or to 0.01 (where dropout
    leaves batch norm nothing but a constant, all are rounding), nor a statistic to less than 0.1.
    """
    expected = dict(oracle.named_parameters())
    largest = max(float(p.grad.norm()) for p in expected.values() if p.grad is not None)
    found = {
        name: distance(p.grad, gradient(expected[name]), floor=max(0.1 * largest, 0.01))
        for name, p in network.named_parameters()
        if p.grad is not None
    }
    statistics = dict(oracle.named_buffers())
    return found | {
        name: distance(b, statistics[name], floor=0.1) for name, b in network.named_buffers()
    }


def eager_errors(
    network: nn.Sequential, oracle: nn.Sequential, masks: dict[int, Tensor], batch: list[Tensor]
) -> dict[str, float]:
    """What PyTorch's own float32 makes of the same step."""
    images, weights = batch
    (with_masks(network, masks)(images) * weights).sum().backward()
    return errors(network, oracle)


def check_step(network: nn.Sequential, images: int, instruction_set: str | None = None) -> None:
    """One step within 1e-4 of float64; or, where float32 cannot be, within 10 times PyTorch's.

    Of three batches, one may have a gradient further away: at a value within rounding of 0, or of
    another in its pool, float32 may decide otherwise than float64, and so does PyTorch's own.
    """
    if wrong := step_errors(network, images, 0, instruction_set):
        continuous = {"logits", *dict(network.named_buffers())}
        assert not continuous & wrong.keys(), wrong
        assert max(wrong.values()) < DECISION, wrong
        for batch in (1, 2):
            assert not (again := step_errors(network, images, batch, instruction_set)), again


def step_errors(
    network: nn.Sequential, images: int, batch: int, instruction_set: str | None
) -> dict[str, float]:
    """What is further from float64 than `check_step` allows, after a step of the n-th batch."""
    generator = torch.Generator().manual_seed(images + 1000 * batch)
    inputs = torch.randn(images, 1, 28, 28, generator=generator)
    network, untouched = copy.deepcopy(network), copy.deepcopy(network)
    fast = accelerate(network, instruction_set=instruction_set)
    weights = torch.randn(images, fast._idle[0].outputs, generator=generator)
    oracle, logits, expected = train_both(network, fast, inputs, weights)
    found = errors(network, oracle) | {"logits": distance(logits, expected, floor=0.1)}
    tolerance = DECISION if has_constant_map(oracle, fast.masks(images), inputs) else TOLERANCE
    worst = {name: error for name, error in found.items() if not error <= tolerance}
    if worst:  # an ill-conditioned draw: how does PyTorch fare?
        eager = eager_errors(untouched, oracle, fast.masks(images), [inputs, weights])
        return {
            name: error for name, error in worst.items() if not error <= 10 * eager.get(name, 0)
        }
    return {}


def has_constant_map(oracle: nn.Sequential, masks: dict[int, Tensor], images: Tensor) -> bool:
    """Whether a batch norm meets a channel that dropout or ReLU left constant.

    Its result there is rounding, divided by the root of epsilon: 300 times as large.
    """
    variances: list[float] = []

    def look(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        variances.append(float(given[0].var((0, 2, 3), correction=0).min()))

    masked = with_masks(copy.deepcopy(oracle), masks)
    for layer in masked.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(look)
    with torch.no_grad():
        masked(images.double())
    return min(variances, default=1.0) < 1e-8


def gradient(parameter: nn.Parameter) -> Tensor:
    """A parameter's gradient, which must be there."""
    assert parameter.grad is not None
    return parameter.grad
