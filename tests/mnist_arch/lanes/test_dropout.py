"""Dropout: seeded by PyTorch's generator, repeatable, with the rates asked for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mnist_arch import lanes
from mnist_arch.lanes.stage import Dropout
from tests.mnist_arch.lanes.designs import seed_network, small_network

IMAGES = torch.randn(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def step(network: nn.Sequential, seed: int, instruction_set: str) -> list[Tensor]:
    fast = lanes.accelerate(copy.deepcopy(network), instruction_set=instruction_set)
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
    fast = lanes.accelerate(small_network("brde"))
    fast(IMAGES)
    before = fast.masks(40)
    fast(IMAGES)
    assert all(not torch.equal(mask, before[layer]) for layer, mask in fast.masks(40).items())


def test_without_dropout_no_random_number_is_drawn() -> None:
    generator = torch.get_rng_state()
    fast = lanes.accelerate(small_network("br"))
    before = torch.get_rng_state()
    fast(IMAGES)
    lanes.accelerate(small_network("brde")).eval()
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
    shape = (50, 14, 14) if element_wise else (1000, 14, 14)
    mask = lanes.dropout_mask(5, Dropout(3, probability, element_wise, shape), 200)
    deviation = (probability * (1 - probability) / mask.numel()) ** 0.5
    assert abs(float(mask.double().mean()) - (1 - probability)) < 4 * deviation


def test_decisions_are_independent() -> None:
    """Neighbouring pixels, channels, images, layers and seeds agree as often as chance has it."""
    shape = (16, 14, 14)
    masks = lanes.dropout_mask(5, Dropout(3, 0.5, True, shape), 64)
    others = {
        "pixel": (masks[..., 1:], masks[..., :-1]),
        "row": (masks[:, :, 1:], masks[:, :, :-1]),
        "channel": (masks[:, 1:], masks[:, :-1]),
        "image": (masks[1:], masks[:-1]),
        "layer": (masks, lanes.dropout_mask(5, Dropout(4, 0.5, True, shape), 64)),
        "seed": (masks, lanes.dropout_mask(6, Dropout(3, 0.5, True, shape), 64)),
    }
    for name, (one, other) in others.items():
        agreement = float((one == other).double().mean())
        assert abs(agreement - 0.5) < 4 * (0.25 / one.numel()) ** 0.5, name


def test_a_mask_depends_on_the_image_not_on_the_batch() -> None:
    dropout = Dropout(3, 0.5, True, (4, 5, 5))
    assert torch.equal(lanes.dropout_mask(9, dropout, 40)[:17], lanes.dropout_mask(9, dropout, 17))
