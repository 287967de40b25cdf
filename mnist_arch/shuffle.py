"""Shuffle: in which order an epoch takes the images, in which batches, how each is moved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from mnist_arch.augment import draw_matrices
from mnist_arch.data import Digits
from mnist_arch.recipe import Recipe

Gather = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""What makes a batch of images, normalised, as `mnist_arch.augment.gather` does for MNIST."""


@dataclass(frozen=True, slots=True)
class Shuffled:
    """The digits of one epoch in their order, [N], each with its own map where it is augmented."""

    fit: Digits
    gather: Gather
    parts: list[slice]  # the batches
    index: Tensor
    matrices: Tensor | None

    def images(self, part: slice) -> Tensor:
        """The images of a batch, [batch, 1, 28, 28]."""
        matrices = None if self.matrices is None else self.matrices[part]
        return self.gather(self.fit.images, self.index[part], matrices)


def shuffle(recipe: Recipe, fit: Digits, generator: torch.Generator, gather: Gather) -> Shuffled:
    """Draw the order and, where the recipe augments, the maps of one epoch."""
    index = torch.randperm(len(fit), generator=generator, device=fit.images.device)
    matrices = None
    if not recipe.augmentation.is_identity:
        matrices = draw_matrices(recipe.augmentation, len(fit), generator)
    return Shuffled(fit, gather, batches(len(fit), recipe.batch_size), index, matrices)


def batches(count: int, size: int) -> list[slice]:
    """Cut `count` images into batches of `size`, the last one shorter.

    A single image left over joins the batch before: batch norm cannot train on one value a
    channel.
    """
    starts = list(range(0, count, size))
    if count % size == 1 and len(starts) > 1:
        del starts[-1]
    return [slice(*ends) for ends in pairwise([*starts, count])]


def order_seed(seed: int) -> int:
    """The seed of a training's order of images and of its augmentation, from 0 to 2**63 - 1.

    Initial weights and dropout follow from `seed` itself (`seed_everything`): two generators
    seeded alike would draw the same numbers for weights and order.
    """
    digest = hashlib.sha256(f"order {seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
