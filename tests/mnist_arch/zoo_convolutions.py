"""Animals that once were refused, and their kin: convolutions spelt otherwise; the undecidable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.mnist_arch.zoo_holes import same
from tests.mnist_arch.zoo_parts import NINE, Animal, guilty, has, innocent, look, matrix


def patches(maps: Tensor, side: int = 3, padding: int = 1) -> Tensor:
    """Patches [batch, channels, rows, columns, side, side]."""
    return F.pad(maps, [padding] * 4).unfold(2, side, 1).unfold(3, side, 1)


def shifted(trunk: Any, maps: Tensor) -> Tensor:
    """A convolution as a sum of shifted maps, each times its weights."""
    padded, total = F.pad(maps, (1, 1, 1, 1)), torch.zeros(())
    for row in range(3):
        for column in range(3):
            window = padded[:, None, :, row : row + 7, column : column + 7]
            total = total + (window * trunk.k[:, :, row, column, None, None]).sum(2)
    return total


def in_blocks(trunk: Any, maps: Tensor) -> Tensor:
    """A convolution on a map whose blocks of 2x2 pixels became channels."""
    blocks = F.pixel_unshuffle(F.pad(maps, (0, 1, 0, 1)), 2)
    result: Tensor = F.pixel_shuffle(trunk.c(blocks), 2)
    return result


def by_spectrum(trunk: Any, maps: Tensor) -> Tensor:
    """A convolution of each channel as a product of spectra."""
    spectra = torch.fft.rfft2(maps) * torch.fft.rfft2(trunk.k, s=(7, 7))
    result: Tensor = torch.fft.irfft2(spectra, s=(7, 7))
    return result


def standardised(trunk: Any, maps: Tensor) -> Tensor:
    """A convolution whose kernels are standardised first."""
    kernels = trunk.c.weight
    centred = kernels - kernels.mean((1, 2, 3), keepdim=True)
    return F.conv2d(maps, centred / (kernels.std((1, 2, 3), keepdim=True) + 1e-5), padding=1)


def folded(trunk: Any, maps: Tensor) -> Tensor:
    """A convolution with its batch norm folded into its kernels."""
    scale = trunk.n.weight / (trunk.n.running_var + trunk.n.eps).sqrt()
    return F.conv2d(maps, trunk.c.weight * scale.view(-1, 1, 1, 1), trunk.n.bias, padding=1)


def with_coordinates(trunk: Any, maps: Tensor) -> Tensor:
    """A convolution that also sees the row and the column of each pixel."""
    line = torch.linspace(-1, 1, 7)
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"))
    result: Tensor = trunk.c(torch.cat((maps, grid.expand(len(maps), -1, -1, -1)), 1))
    return result


def response_norm(trunk: Any, maps: Tensor) -> Tensor:
    """Global response normalisation, as ConvNeXt V2 has it."""
    norms = maps.square().sum((2, 3), keepdim=True).sqrt()
    result: Tensor = maps * (norms / (norms.mean(1, keepdim=True) + 1e-6)) * trunk.g + maps
    return result


def rolled(trunk: Any, maps: Tensor) -> Tensor:
    """A quarter of the channels moved each way, then a 1x1 convolution."""
    moves = ((1, 2), (-1, 2), (1, 3), (-1, 3))
    parts = maps.chunk(4, 1)
    moved = [part.roll(*move) for part, move in zip(parts, moves, strict=True)]
    result: Tensor = trunk.c(torch.cat(moved, 1))
    return result


def at_two_scales(trunk: Any, maps: Tensor) -> Tensor:
    """A convolution of the map and one of its half-size copy, added."""
    small = trunk.d(F.avg_pool2d(F.pad(maps, (0, 1, 0, 1)), 2))
    result: Tensor = trunk.c(maps) + F.interpolate(small, scale_factor=2)[:, :, :7, :7]
    return result


def same_conv(channels: int = 8, groups: int = 1) -> Any:
    """A 3x3 convolution to 8 channels that keeps the map's side."""
    return lambda: nn.Conv2d(channels, 8, 3, padding=1, groups=groups)


EIGHT = matrix(8, 8, 3, 3)

CONVOLUTIONS: dict[str, Animal] = {
    "unfold and a product": look(
        lambda t, x: (t.k.flatten(1) @ F.unfold(x, 3, padding=1)).view_as(x), k=EIGHT
    ),
    "unfold and a product from the right": look(
        lambda t, x: (F.unfold(x, 3, padding=1).mT @ t.k.flatten(1).T).mT.view_as(x), k=EIGHT
    ),
    "unfold and F.linear": look(
        lambda t, x: F.linear(F.unfold(x, 3, padding=1).mT, t.k.flatten(1)).mT.view_as(x), k=EIGHT
    ),
    "unfold, dilated and strided": look(
        lambda t, x: (t.k.flatten(1) @ F.unfold(x, 3, 2, 2, 2)).view(-1, 8, 4, 4), k=EIGHT
    ),
    "unfold in two groups": look(
        lambda t, x: (
            t.k.flatten(2) @ F.unfold(x, 3, padding=1).view(-1, 2, 36, 49)
        ).reshape_as(x),
        k=matrix(2, 4, 36),
    ),
    "einsum of patches": look(
        lambda t, x: torch.einsum("bchwij,ocij->bohw", patches(x), t.k), k=EIGHT
    ),
    "tensordot of patches": look(
        lambda t, x: torch.tensordot(patches(x), t.k, ([1, 4, 5], [1, 2, 3])).permute(0, 3, 1, 2),
        k=EIGHT,
    ),
    "depthwise by einsum": look(
        lambda t, x: torch.einsum("bchwij,cij->bchw", patches(x), t.k), k=matrix(8, 3, 3)
    ),
    "patches, multiplied and added": look(
        lambda t, x: (patches(x)[:, None] * t.k[:, :, None, None]).sum((2, 5, 6)), k=EIGHT
    ),
    "shifts, multiplied and added": look(shifted, k=EIGHT),
    "1x1 by einsum": look(
        lambda t, x: torch.einsum("bchw,oc->bohw", x, t.k).relu(), k=matrix(8, 8)
    ),
    "1x1, multiplied and added": look(
        lambda t, x: (x[:, None] * t.k[:, :, None, None]).sum(2), k=matrix(8, 8)
    ),
    "conv1d along rows and columns": look(
        lambda t, x: t.d(
            t.c(x.transpose(1, 2).flatten(0, 1)).view(-1, 7, 8, 7).permute(0, 3, 2, 1).flatten(0, 1)
        ).view(-1, 7, 8, 7).permute(0, 2, 3, 1),
        c=lambda: nn.Conv1d(8, 8, 3, padding=1), d=lambda: nn.Conv1d(8, 8, 3, padding=1),
    ),
    "space to depth": look(in_blocks, c=lambda: nn.Conv2d(32, 32, 3, padding=1)),
    "transposed and strided": look(
        lambda t, x: t.d(t.c(x)), c=lambda: nn.Conv2d(8, 8, 3, 2),
        d=lambda: nn.ConvTranspose2d(8, 8, 3, 2),
    ),
    "depthwise, then 1x1": look(
        lambda t, x: t.d(t.c(x)), c=lambda: nn.Conv2d(8, 16, 5, padding=2, groups=8),
        d=lambda: nn.Conv2d(16, 8, 1),
    ),
    "dilated in groups": look(
        lambda t, x: t.c(x), c=lambda: nn.Conv2d(8, 8, 3, padding=3, dilation=3, groups=4)
    ),
    "weight norm": look(
        lambda t, x: t.c(x),
        c=lambda: parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1)),
    ),
    "spectral norm": look(
        lambda t, x: t.c(x),
        c=lambda: parametrizations.spectral_norm(nn.Conv2d(8, 8, 3, padding=1)),
    ),
    "kernels of two factors": look(
        lambda t, x: F.conv2d(x, torch.einsum("ocr,rij->ocij", t.a, t.b), padding=1),
        a=matrix(8, 8, 2), b=matrix(2, 3, 3),
    ),
    "shared kernels, run three times": look(
        lambda t, x: t.c(t.c(t.c(x).relu()).relu()), c=lambda: nn.Conv2d(8, 8, 3, padding=1)
    ),
    "an ensemble of three": look(
        lambda t, x: (t.a(x) + t.b(x) + t.c(x)) / 3,
        **{name: lambda: nn.Conv2d(8, 8, 3, padding=1) for name in "abc"},
    ),
    "resized with shared weights": look(
        lambda t, x: F.interpolate(t.c(F.interpolate(x, (14, 14), mode="bilinear")), (7, 7)),
        c=lambda: nn.Conv2d(8, 8, 3, padding=1),
    ),
    "scaled, then resized": look(
        lambda t, x: F.interpolate(x * t.g, (5, 5), mode="bilinear"), g=matrix(8, 1, 1)
    ),
    "a mask, then resized": look(
        lambda t, x: F.interpolate(x * t.m, (5, 5), mode="bilinear"), m=matrix(7, 7)
    ),
    "learned position and ReLU": look(lambda t, x: (x + t.p).relu(), p=matrix(8, 7, 7)),
    "layer norm and a skip": look(
        lambda t, x: x + t.n(x), n=lambda: nn.LayerNorm([8, 7, 7])
    ),
    "a gate of the average": look(
        lambda t, x: x * (x.mean((2, 3), True) * t.g).sigmoid(), g=matrix(8, 1, 1)
    ),
    "two pixels of a large window": innocent(
        has(c=same(7)), lambda t, x: t.c(x)[:, :, 1:6:4, 3].mean(2)
    ),
    "kernels standardised": look(standardised, c=same_conv()),
    "batch norm folded in": look(folded, c=same_conv(), n=lambda: nn.BatchNorm2d(8)),
    "coordinates beside the map": look(with_coordinates, c=same_conv(10)),
    "global response norm": look(response_norm, g=matrix(1, 8, 1, 1)),
    "channels moved, then 1x1": look(rolled, c=lambda: nn.Conv2d(8, 8, 1)),
    "two scales": look(at_two_scales, c=same_conv(), d=same_conv()),
    "kernels turned four ways": look(
        lambda t, x: torch.stack(
            [F.conv2d(x, t.k.rot90(turn, (2, 3)), padding=1) for turn in range(4)]
        ).amax(0),
        k=EIGHT,
    ),
    "groups, then channels shuffled": look(
        lambda t, x: F.channel_shuffle(t.c(x), 2), c=same_conv(groups=2)
    ),
    "a learned mix of two pools": look(
        lambda t, x: t.g.sigmoid() * F.max_pool2d(x, 2) + (1 - t.g.sigmoid()) * F.avg_pool2d(x, 2),
        g=matrix(1),
    ),
    "PReLU and local response norm": look(
        lambda t, x: F.local_response_norm(t.p(t.c(x)), 3),
        c=same_conv(), p=lambda: nn.PReLU(8),
    ),
    "attention to places, then a convolution": look(
        lambda t, x: t.c(x * F.conv2d(x, t.k).flatten(2).softmax(-1).view(-1, 1, 7, 7)),
        c=same_conv(), k=matrix(1, 8, 1, 1),
    ),
    "rounded to half precision": look(lambda t, x: t.c(x.bfloat16().float()), c=same_conv()),
    "depthwise by spectra": look(by_spectrum, k=matrix(8, 3, 3)),
    "Fourier transform, low frequencies": look(
        lambda _, x: torch.fft.irfft2(torch.fft.rfft2(x) * (torch.arange(4) < 3), s=(7, 7))
    ),
}  # fmt: skip
"""Convolutions however they are written, and honest layers that look like worse."""


def shuffled(trunk: Any, maps: Tensor) -> Tensor:
    """One matrix on four groups of pixels that have nothing in common."""
    order = torch.randperm(392, generator=torch.Generator().manual_seed(0))
    groups = maps.flatten(1)[:, order].view(-1, 4, 98)
    logits: Tensor = (groups @ trunk.w).mean(1)
    return logits


UNTOLD: dict[str, Animal] = {
    "shuffled pixels in groups": guilty(
        has(w=matrix(98, 10)), shuffled, "see several places, but not by moving one window"
    ),
    "patches of an enlarged map": guilty(
        has(k=matrix(10, 72)),
        lambda t, x: (t.k @ F.unfold(x.repeat_interleave(2, 3), 3)).mean(2),
        "cannot tell: forward (linear 72 -> 10",
    ),
    "shuffled pixels between two maps": guilty(
        has(w=matrix(49, 10)),
        lambda t, x: (torch.cat((x[:, :1].flatten(1), x[:, 1:2].flatten(1).flip(1)), 1)
            .view(-1, 2, 49).mT.reshape(-1, 2, 49) @ t.w).mean(1),
        "cannot tell",
    ),
    "a free grid that weights decide": guilty(
        has(g=matrix(1, 7, 7, 2), w=NINE),
        lambda t, x: F.conv2d(
            F.grid_sample(x, t.g.tanh().expand(len(x), 7, 7, 2), align_corners=False), t.w
        ).mean((2, 3)),
        "cannot tell: forward (operation grid_sampler_2d",
    ),
    "distances to kernels": guilty(
        has(k=matrix(10, 72)),
        lambda t, x: torch.cdist(F.unfold(x, 3).mT, t.k).mean(1),
        "cannot tell: forward (operation _",
    ),
    "a sum by index": guilty(
        has(w=matrix(392)),
        lambda t, x: torch.zeros(len(x), 10).index_add(
            1, torch.arange(392) % 10, x.flatten(1) * t.w
        ),
        "cannot tell: forward (operation index_add",
    ),
}  # fmt: skip
"""What neither the trace nor the probe can judge: refused, with the operation named."""
