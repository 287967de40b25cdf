"""Dropout: seeded by PyTorch's generator, repeatable, with the rates asked for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mnist_arch import lanes
from mnist_arch.lanes.nodes import Node, Operation, Shape
from tests.mnist_arch.lanes.chains import accelerate
from tests.mnist_arch.lanes.designs import seed_network, small_network

IMAGES = torch.randn(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def dropout(probability: float, shape: Shape, element_wise: bool = True, layer: int = 3) -> Node:
    kind = Operation.ELEMENT_DROPOUT if element_wise else Operation.CHANNEL_DROPOUT
    return Node(kind, (0,), shape, layer, probability=probability)


def step(network: nn.Sequential, seed: int, instruction_set: str) -> list[Tensor]:
    fast = accelerate(copy.deepcopy(network), instruction_set=instruction_set)
    torch.manual_seed(seed)
    logits = fast(IMAGES)
    logits.square().sum().backward()
    return [logits.detach(), *(parameter.grad for parameter in fast.parameters())]


def test_the_same_seed_repeats_bit_for_bit_and_another_differs(instruction_set: str) -> None:
    network = seed_network("de")
    first, again = step(network, 1, instruction_set), step(network, 1, instruction_set)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], step(network, 2, instruction_set)[0])


def test_every_step_draws_new_masks() -> None:
    fast = accelerate(small_network("brde"))
    fast(IMAGES)
    before = fast.masks(40)
    fast(IMAGES)
    assert all(not torch.equal(mask, before[layer]) for layer, mask in fast.masks(40).items())


def test_without_dropout_no_random_number_is_drawn() -> None:
    generator = torch.get_rng_state()
    fast = accelerate(small_network("br"))
    before = torch.get_rng_state()
    fast(IMAGES)
    accelerate(small_network("brde")).eval()
    assert fast.masks(40) == {}
    torch.set_rng_state(before)
    fast(IMAGES)
    assert torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(generator)


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("element_wise", [False, True])
def test_the_share_kept_is_one_minus_the_probability(
    probability: float, element_wise: bool
) -> None:
    shape: Shape = (50, 14, 14) if element_wise else (1000, 14, 14)
    mask = lanes.dropout_mask(5, dropout(probability, shape, element_wise), 200)
    deviation = (probability * (1 - probability) / mask.numel()) ** 0.5
    assert abs(float(mask.double().mean()) - (1 - probability)) < 4 * deviation


def test_decisions_are_independent() -> None:
    """Neighbouring pixels, channels, images, layers and seeds agree as often as chance has it."""
    shape = (16, 14, 14)
    masks = lanes.dropout_mask(5, dropout(0.5, shape), 64)
    others = {
        "pixel": (masks[..., 1:], masks[..., :-1]),
        "row": (masks[:, :, 1:], masks[:, :, :-1]),
        "channel": (masks[:, 1:], masks[:, :-1]),
        "image": (masks[1:], masks[:-1]),
        "layer": (masks, lanes.dropout_mask(5, dropout(0.5, shape, layer=4), 64)),
        "seed": (masks, lanes.dropout_mask(6, dropout(0.5, shape), 64)),
    }
    for name, (one, other) in others.items():
        agreement = float((one == other).double().mean())
        assert abs(agreement - 0.5) < 4 * (0.25 / one.numel()) ** 0.5, name


def test_a_mask_depends_on_the_image_not_on_the_batch() -> None:
    layer = dropout(0.5, (4, 5, 5))
    assert torch.equal(lanes.dropout_mask(9, layer, 40)[:17], lanes.dropout_mask(9, layer, 17))
