"""Animals that once passed, and their kin: dense layers hidden by arithmetic, resizing, reading."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.mnist_arch.zoo_parts import NINE, Animal, covering, guilty, has, matrix

DENSE = matrix(10, 392)


def dense(head: Any, says: str = "", **parts: Any) -> Animal:
    """A guilty animal with a dense matrix `w`, and with what else it needs."""
    given = {"w": DENSE, **parts}
    return guilty(has(**given), head, says) if says else guilty(has(**given), head)


def flat(maps: Tensor) -> Tensor:
    """Maps as vectors [batch, 1, 392]."""
    return maps.flatten(1)[:, None]


def bent(trunk: Any, maps: Tensor) -> Tensor:
    """A dense matrix with zero times an activation of its own added to each weight."""
    weight: Tensor = trunk.w + 0 * flat(maps)
    return (weight * flat(maps)).sum(-1)


def mixed_by_conv(trunk: Any, maps: Tensor) -> Tensor:
    """A dense matrix that a convolution's bias carries."""
    empty = 0 * maps.mean((2, 3), keepdim=True)
    weight = F.conv2d(empty, torch.ones(3920, 8, 1, 1), trunk.w.flatten())
    return (weight.view(-1, 10, 392) @ maps.flatten(1)[..., None])[..., 0]


def halves(trunk: Any, maps: Tensor) -> Tensor:
    """Ten weighted sums, each taken in two halves that are added."""
    rows = []
    for row in trunk.w:
        parts = (maps.flatten(1) * row).view(-1, 2, 196).sum(2)
        rows.append(parts[:, 0] + parts[:, 1])
    return torch.stack(rows, 1)


def gated(trunk: Any, maps: Tensor) -> Tensor:
    """A dense matrix times a factor that is nearly one, different for each weight."""
    other = 1 + 0 * F.conv2d(maps, trunk.v, padding=1).flatten(2).repeat(1, 1, 8)
    products: Tensor = flat(maps) * trunk.w * other
    return products.sum(-1)


def as_complex(values: Tensor) -> Tensor:
    """Real numbers as complex ones, written out."""
    return torch.complex(values.contiguous(), torch.zeros_like(values))


def real_part_written(trunk: Any, maps: Tensor) -> Tensor:
    """A dense matrix multiplied into the real part of complex numbers, where it lies."""
    values = as_complex(flat(maps).expand(-1, 10, -1))
    values.real.mul_(trunk.w)
    return values.abs().sum(-1)


ARITHMETIC: dict[str, Animal] = {
    "zero times an activation added to each weight": dense(bent),
    "zero times a map added, then a product of both": dense(
        lambda t, x: ((t.w + 0 * flat(x)) @ x.flatten(1)[..., None])[..., 0]
    ),
    "zero times another image's activation": dense(
        lambda t, x: ((t.w + 0 * flat(x.flip(0))) * flat(x)).sum(-1)
    ),
    "weights times an activation over itself": dense(
        lambda t, x: ((t.w * (flat(x) + 1) / (flat(x) + 1)) * flat(x)).sum(-1)
    ),
    "a sum of weight and activation, times the activation": dense(
        lambda t, x: ((t.w + 0.5 * flat(x)) * flat(x)).sum(-1)
    ),
    "carried by a bias": dense(mixed_by_conv),
    "a factor of nearly one": dense(gated, v=matrix(10, 8, 3, 3)),
    "exp of a sum of logarithms": dense(
        lambda t, x: ((flat(x) + 0.1).log() + t.w).exp().sum(-1)
    ),
    "exp of a sum, row by row": dense(
        lambda t, x: torch.stack([((x.flatten(1) + 0.1).log() + v).exp().sum(1) for v in t.w], 1)
    ),
    "exp of a sum, a product with ones": dense(
        lambda t, x: ((flat(x) + 0.1).log() + t.w).exp() @ torch.ones(392)
    ),
    "powers of two": dense(lambda t, x: torch.exp2(torch.log2(flat(x) + 0.1) + t.w).mean(-1)),
    "logsumexp": dense(lambda t, x: ((flat(x) + 0.1).log() + t.w).logsumexp(-1)),
    "a difference of squares": dense(
        lambda t, x: ((flat(x) + t.w).square() - (flat(x) - t.w).square()).sum(-1) / 4
    ),
    "a quotient": dense(lambda t, x: (flat(x) / (1 / (t.w + 1))).sum(-1)),
    "addcmul": dense(lambda t, x: torch.addcmul(torch.zeros(1), flat(x), t.w).sum(-1)),
    "lerp": dense(lambda t, x: torch.lerp(torch.zeros(1), flat(x).expand(-1, 10, -1), t.w).sum(-1)),
    "powers": dense(lambda t, x: (flat(x) + 1).pow(t.w).sum(-1)),
    "where": dense(lambda t, x: torch.where(flat(x) > 0, flat(x) * t.w, 0.0).sum(-1)),
    "halves": dense(halves),
    "written into a new tensor": dense(
        lambda t, x: torch.zeros(len(x), 10, 392).copy_(flat(x) * t.w).sum(-1)
    ),
    "a product of sums": dense(lambda t, x: (flat(x) + 1 + t.w.abs()).prod(-1).add(1).log()),
    "written by index": dense(
        lambda t, x: torch.zeros(len(x), 10, 392)
        .index_put_((torch.arange(len(x)),), flat(x) * t.w)
        .sum(-1)
    ),
    "a group for each value": dense(
        lambda t, x: F.conv1d(x.flatten(1)[..., None], t.w.T.reshape(3920, 1, 1), groups=392)
        .view(-1, 392, 10)
        .sum(1)
    ),
    "learned pools of all channels, added": dense(
        lambda t, x: torch.cat(
            [F.conv2d(x, v.view(8, 1, 7, 7), groups=8).sum(1).flatten(1) for v in t.w], 1
        )
    ),
    "cumulative sums": dense(lambda t, x: (flat(x) * t.w).cumsum(-1)[..., -1]),
    "distances by hand": dense(
        lambda t, x: -torch.stack([(x.flatten(1) - v).square().sum(1) for v in t.w], 1)
    ),
    "weights through a softmax": dense(lambda t, x: (flat(x) * t.w.softmax(-1)).sum(-1)),
    "complex numbers": dense(lambda t, x: (as_complex(flat(x)) * as_complex(t.w)).real.sum(-1)),
    "complex numbers, row by row": dense(
        lambda t, x: torch.stack([(as_complex(x.flatten(1)) * v).real.sum(1) for v in t.w], 1)
    ),
    "the real part written over": dense(real_part_written),
    "pairs seen as complex numbers": dense(
        lambda t, x: torch.view_as_complex((flat(x) * t.w).unflatten(-1, (196, 2))).sum(-1).abs()
    ),
    "angles": dense(
        lambda t, x: torch.polar(flat(x).repeat(1, 10, 1), t.w.repeat(len(x), 1, 1)).sum(-1).real
    ),
    "a product of spectra, read without going back": dense(
        lambda t, x: (torch.fft.fft(flat(x)) * torch.fft.fft(t.w).conj()).real.mean(-1)
    ),
    "three factors": guilty(
        has(c=matrix(10, 8), h=matrix(10, 7), v=matrix(10, 7)),
        lambda t, x: torch.einsum("bchv,oc,oh,ov->bo", x, t.c, t.h, t.v),
    ),
    "a table for each pixel": guilty(
        has(e=matrix(784, 10)),
        lambda t, x: F.embedding(2 * torch.arange(392) + (x.flatten(1) > 0), t.e).sum(1),
        "cannot tell: forward (operation embedding",
    ),
    "a kernel's output as weights": dense(
        lambda t, x: (
            flat(x) * F.conv2d(torch.ones(1, 8, 7, 7), t.k, padding=1).view(10, 392) * t.w
        ).sum(-1),
        k=matrix(80, 8, 3, 3),
    ),
    "through a norm's scale": dense(
        lambda t, x: F.conv1d(
            F.layer_norm(flat(x).repeat(1, 10, 1), (10, 392), t.w), torch.ones(10, 1, 392),
            groups=10,
        )[..., 0]
    ),
}  # fmt: skip
"""Dense weights whose product with the activations is hidden by arithmetic."""


def shrunk(maps: Tensor, mode: str) -> Tensor:
    """Maps resized step by step to one pixel, [batch, channels]."""
    for side in (4, 2, 1):
        maps = F.interpolate(maps, size=(side, side), mode=mode)
    return maps.flatten(1)


def own_weights(trunk: Any, maps: Tensor) -> Tensor:
    """Each value of 8 maps times a weight of its own for each digit, [batch, 80, 7, 7]."""
    products: Tensor = maps.repeat(1, 10, 1, 1) * trunk.w.view(80, 7, 7)
    return products


def free_grid(trunk: Any, maps: Tensor) -> Tensor:
    """Maps sampled on a grid of weights, two for each pixel."""
    grid = trunk.g.expand(len(maps), 7, 7, 2)
    return F.grid_sample(maps, grid, align_corners=False)


def digits(values: Tensor) -> Tensor:
    """The sum of 8 values for each of 10 digits."""
    return values.view(-1, 10, 8).sum(2)


RESIZING: dict[str, Animal] = {
    "bilinear chain": dense(lambda t, x: digits(shrunk(own_weights(t, x), "bilinear"))),
    "bicubic chain": dense(lambda t, x: digits(shrunk(own_weights(t, x), "bicubic"))),
    "area chain": dense(lambda t, x: digits(shrunk(own_weights(t, x), "area"))),
    "chain of average pools": dense(
        lambda t, x: digits(F.avg_pool2d(F.avg_pool2d(own_weights(t, x), 3, 2), 3).flatten(1))
    ),
    "linear chain": dense(
        lambda t, x: F.interpolate(F.interpolate(flat(x) * t.w, 98, mode="linear"), 1)[..., 0]
    ),
    "weights resized first": guilty(
        has(w=matrix(10, 8, 4, 4)),
        lambda t, x: (x[:, None] * F.interpolate(t.w, (7, 7), mode="bilinear")).mean((2, 3, 4)),
    ),
    "enlarged, weighed, shrunk": guilty(
        has(w=matrix(80, 14, 14)),
        lambda t, x: digits(
            shrunk(F.interpolate(x, (14, 14), mode="bilinear").repeat(1, 10, 1, 1) * t.w, "area")
        ),
    ),
    "sampled in the middle": dense(
        lambda t, x: digits(
            F.grid_sample(
                shrunk(own_weights(t, x), "bilinear").view(-1, 80, 1, 1),
                torch.zeros(len(x), 1, 1, 2), align_corners=False,
            ).flatten(1)
        )
    ),
    "a free grid": guilty(
        has(g=matrix(7, 7, 2), w=NINE),
        lambda t, x: F.conv2d(free_grid(t, x), t.w).mean((2, 3)),
        "cannot tell: forward (operation grid_sampler_2d",
    ),
}  # fmt: skip
"""Chains of resizing that give every pixel a weight of its own."""


def one_hot(maps: Tensor) -> Tensor:
    """A map of ones at its middle and zeros elsewhere."""
    place = torch.zeros(maps.shape[2:])
    place[3, 3] = 1
    return place


def same(side: int, channels: int = 8) -> Any:
    """A convolution with padding that keeps the map's side."""
    return lambda: nn.Conv2d(channels, 10, side, padding=side // 2)


READINGS: dict[str, Animal] = {
    "one pixel of a large convolution": covering(
        has(c=same(7)), lambda t, x: t.c(x)[:, :, 3, 3]
    ),
    "one pixel cut out": covering(
        has(c=same(7)), lambda t, x: t.c(x)[:, :, 3:4, 3:4].mean((2, 3))
    ),
    "one pixel by a mask": covering(
        has(c=same(7)), lambda t, x: (t.c(x) * one_hot(x)).sum((2, 3))
    ),
    "one pixel by an index": covering(
        has(c=same(7)),
        lambda t, x: t.c(x).flatten(2).gather(2, torch.full((len(x), 10, 1), 24))[..., 0],
    ),
    "one pixel by a convolution": covering(
        has(c=same(7)),
        lambda t, x: F.conv2d(t.c(x), one_hot(x).expand(10, 1, 7, 7), groups=10).flatten(1),
    ),
    "one pixel by a stride": covering(
        has(c=same(7)), lambda t, x: t.c(x)[:, :, 3::7, 3::7].flatten(1)
    ),
    "one pixel of a small window": covering(
        has(c=same(5)), lambda t, x: t.c(x)[:, :, 3, 3]
    ),
    "one pixel by nearest resizing": covering(
        has(c=same(7)), lambda t, x: F.interpolate(t.c(x), size=(1, 1)).flatten(1)
    ),
    "several pixels that see the whole map": covering(
        has(c=same(11)), lambda t, x: t.c(x)[:, :, 2:5, 2:5].mean((2, 3))
    ),
    "1x1, then average": covering(
        has(c=lambda: nn.Conv2d(8, 10, 1)), lambda t, x: t.c(x).mean((2, 3))
    ),
    "1x1, batch norm, then average": covering(
        has(c=lambda: nn.Conv2d(8, 10, 1), n=lambda: nn.BatchNorm2d(10)),
        lambda t, x: F.adaptive_avg_pool2d(t.n(t.c(x)), 1).flatten(1),
    ),
    "two 1x1, then average in two steps": covering(
        has(c=lambda: nn.Conv2d(8, 8, 1), d=lambda: nn.Conv2d(8, 10, 1)),
        lambda t, x: t.d(t.c(x)).mean(3).mean(2),
    ),
    "1x1, flattened, then average": covering(
        has(c=lambda: nn.Conv2d(8, 10, 1)), lambda t, x: t.c(x).flatten(2).mean(2)
    ),
    "1x1 on flattened pixels": covering(
        has(w=DENSE),
        lambda t, x: F.conv2d(x.reshape(-1, 392, 1, 1), t.w[..., None, None]).flatten(1),
    ),
    "1x1 on copies of flattened pixels": covering(
        has(w=DENSE),
        lambda t, x: F.conv2d(
            x.reshape(-1, 392, 1, 1).expand(-1, -1, 3, 3), t.w[..., None, None]
        ).mean((2, 3)),
    ),
    "transposed 1x1 on flattened pixels": covering(
        has(w=DENSE),
        lambda t, x: F.conv_transpose2d(
            x.reshape(-1, 392, 1, 1), t.w.T[..., None, None]
        ).flatten(1),
    ),
    "1x1 as a product, then learned pools": covering(
        has(a=matrix(8, 10), b=matrix(10, 49)),
        lambda t, x: ((x.flatten(2).mT @ t.a).mT * t.b).sum(-1),
    ),
    "1x1 as a product, then average": covering(
        has(w=matrix(10, 8)), lambda t, x: (t.w @ x.flatten(2)).mean(2)
    ),
    "squeeze and excite": covering(
        has(w=NINE, a=lambda: nn.Conv2d(8, 2, 1), b=lambda: nn.Conv2d(2, 8, 1)),
        lambda t, x: F.conv2d(
            x * t.b(t.a(x.mean((2, 3), True)).relu()).sigmoid(), t.w, padding=1
        ).mean((2, 3)),
    ),
}  # fmt: skip
"""Convolutions that compute what a fully connected layer computes by how they are read."""

HIDDEN: dict[str, Animal] = {
    "patches of which one is read": guilty(
        has(w=matrix(10, 72)), lambda t, x: (t.w @ F.unfold(x, 3, padding=1))[:, :, 24],
    ),
    "one patch": guilty(has(w=matrix(10, 392)), lambda t, x: (t.w @ F.unfold(x, 7))[..., 0]),
    "copies of one patch": guilty(
        has(w=matrix(10, 392)),
        lambda t, x: (t.w @ x.reshape(-1, 392, 1).repeat(1, 1, 49)).mean(2),
    ),
    "copies written into a map": guilty(
        has(w=matrix(10, 392)),
        lambda t, x: (
            t.w @ torch.zeros(len(x), 392, 7, 7).copy_(x.reshape(-1, 392, 1, 1)).flatten(2)
        ).mean(2),
    ),
    "all pixels of each channel": guilty(
        has(m=matrix(49, 49), w=NINE),
        lambda t, x: F.conv2d((x.flatten(2) @ t.m).view_as(x), t.w).mean((2, 3)),
    ),
    "columns of each row": guilty(
        has(m=matrix(7, 7), w=NINE), lambda t, x: F.conv2d(x @ t.m, t.w).mean((2, 3))
    ),
    "weights of its own for each place": guilty(
        has(w=matrix(25, 72, 10)),
        lambda t, x: torch.einsum("bkp,pkn->bpn", F.unfold(x, 3), t.w).mean(1),
    ),
    "a linear layer's own parametrisation": guilty(
        has(c=lambda: parametrizations.weight_norm(nn.Linear(392, 10))),
        lambda t, x: t.c(x.flatten(1)),
    ),
}  # fmt: skip
"""Fully connected layers that look like convolutions written as matrix products."""
