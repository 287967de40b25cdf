"""Random affine augmentation, drawn for each image (torchvision's batch transforms draw once)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from mnist_arch.datasets import DATASETS
from mnist_arch.recipe import Affine


def draw_matrices(affine: Affine, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` inverse affine maps, float32 [count, 2, 3], on the generator's device.

    Each takes a place in the augmented image, in [-1, 1] coordinates, to the place in the
    source image that it shows: x_source = R(-angle) (x - shift) / scale.
    """
    device = generator.device
    draws = torch.rand(4, count, generator=generator, device=device) * 2 - 1  # [4, count]
    angle = draws[0] * (affine.degrees * math.pi / 180)
    inverse_scale = 1 / (1 + draws[1] * affine.scale)
    shift = draws[2:] * (2 * affine.shift)  # [2, count]; a side spans 2 in [-1, 1]
    cosine, sine = angle.cos() * inverse_scale, angle.sin() * inverse_scale
    across = torch.stack((cosine, sine, -(cosine * shift[0] + sine * shift[1])), 1)
    down = torch.stack((-sine, cosine, -(-sine * shift[0] + cosine * shift[1])), 1)
    return torch.stack((across, down), 1)  # 2 x [count, 3] -> [count, 2, 3]


def gather(
    images: Tensor, index: Tensor, matrices: Tensor | None, dataset: str = "mnist"
) -> Tensor:
    """One batch of a resident data set: gathered, moved and normalised, float32 [batch, 1, 28, 28].

    `images` is uint8 [count, 28, 28], `index` int64 [batch] into it; `matrices`, float32
    [batch, 2, 3], are the inverse affine maps of `draw_matrices`, None to leave images as they
    are. Sampling is bilinear; what lies outside an image is background, 0 before normalising.
    """
    pixels = images[index].unsqueeze(1).float().div_(255)  # [batch, 28, 28] -> [batch, 1, 28, 28]
    if matrices is not None:
        grid = functional.affine_grid(matrices, list(pixels.shape), align_corners=False)
        pixels = functional.grid_sample(pixels, grid, padding_mode="zeros", align_corners=False)
    data = DATASETS[dataset]
    return pixels.sub_(data.mean).div_(data.standard_deviation)
