"""A zoo of small modules for the audit: disguises, innocents that look guilty, real networks.

Each stands with the verdict that is right, by default and under `--strict`, and with words that
the refusal must hold. All but the networks make logits of 8 maps of 7x7 pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from tests.mnist_arch.zoo_convolutions import CONVOLUTIONS, UNTOLD
from tests.mnist_arch.zoo_holes import ARITHMETIC, HIDDEN, READINGS, RESIZING
from tests.mnist_arch.zoo_parts import (
    NINE,
    Animal,
    Block,
    ByHand,
    Conv2d,
    Layout,
    Linear,
    OwnFunction,
    attention,
    averages,
    buffer,
    by_index,
    by_spectra,
    column_by_column,
    cosines,
    covering,
    guilty,
    has,
    in_another_thread,
    in_numpy,
    innocent,
    look,
    matrix,
    on_blank_images,
    only_in,
    row_by_row,
    standardised,
    to_ten,
    zeros,
)

DISGUISES: dict[str, Animal] = {
    "Linear": guilty(
        has(fc=lambda: nn.Linear(392, 10)), lambda t, x: t.fc(x.flatten(1)), "fc (linear 392 -> 10)"
    ),
    "LazyLinear": guilty(
        has(fc=lambda: nn.LazyLinear(10)), lambda t, x: t.fc(x.flatten(1)), "fc (linear 392 -> 10)"
    ),
    "Bilinear": guilty(
        has(fc=lambda: nn.Bilinear(8, 8, 10)),
        lambda t, x: t.fc(x.amax((2, 3)), x.mean((2, 3))),
        "fc (bilinear 8 x 8 -> 10)",
    ),
    "Linear in a submodule": guilty(
        has(body=Block), lambda t, x: t.body(x), "body.conv.1 (linear 392 -> 10)"
    ),
    "Linear made in forward": guilty(
        has(), lambda _, x: nn.Linear(392, 10)(x.flatten(1)), "Linear (linear 392 -> 10)"
    ),
    "Linear on each pixel": guilty(
        has(fc=lambda: nn.Linear(8, 10)),
        lambda t, x: t.fc(x.permute(0, 2, 3, 1)).mean((1, 2)),
        "fc (linear 8 -> 10)",
    ),
    "named conv": guilty(
        has(conv=Conv2d), lambda t, x: t.conv(x), "conv (linear 392 -> 10 at zoo_parts.py:"
    ),
    "F.linear": guilty(has(w=matrix(10, 392)), lambda t, x: F.linear(x.flatten(1), t.w)),
    "x @ W": guilty(has(w=matrix(392, 10)), lambda t, x: x.flatten(1) @ t.w),
    "W @ x": guilty(has(w=matrix(10, 392)), lambda t, x: (t.w @ x.flatten(1).T).T),
    "einsum": guilty(
        has(w=matrix(8, 7, 7, 10)), lambda t, x: torch.einsum("bchw,chwn->bn", x, t.w)
    ),
    "tensordot": guilty(has(w=matrix(8, 7, 7, 10)), lambda t, x: torch.tensordot(x, t.w, 3)),
    "bmm": guilty(
        has(w=matrix(392, 10)),
        lambda t, x: torch.bmm(x.flatten(1)[:, None], t.w.expand(len(x), 392, 10))[:, 0],
    ),
    "baddbmm": guilty(
        has(w=matrix(392, 10)),
        lambda t, x: torch.baddbmm(torch.zeros(1), x.flatten(1)[None], t.w[None])[0],
    ),
    "addmm": guilty(
        has(w=matrix(392, 10), b=matrix(10)), lambda t, x: torch.addmm(t.b, x.flatten(1), t.w)
    ),
    "mv": guilty(
        has(w=matrix(10, 392)), lambda t, x: torch.stack([t.w.mv(each) for each in x.flatten(1)])
    ),
    "inference mode": guilty(
        has(fc=lambda: nn.Linear(392, 10)), lambda t, x: torch.inference_mode()(t.fc)(x.flatten(1))
    ),
    "vmap": guilty(
        has(w=matrix(392, 10)), lambda t, x: torch.vmap(lambda row: row @ t.w)(x.flatten(1))
    ),
    "autograd function": guilty(
        has(w=matrix(392, 10)), lambda t, x: OwnFunction.apply(x.flatten(1), t.w)
    ),
    "detached": guilty(has(w=zeros(392, 10)), lambda t, x: x.flatten(1) @ t.w.detach().clone()),
    ".data": guilty(has(w=zeros(392, 10)), lambda t, x: x.flatten(1) @ t.w.data.view(10, 392).T),
    "through numpy": guilty(
        has(w=zeros(392, 10)), lambda t, x: x.flatten(1) @ torch.from_numpy(t.w.detach().numpy())
    ),
    "weights of weights": guilty(
        has(u=matrix(392, 4), v=matrix(4, 10)), lambda t, x: x.flatten(1) @ (t.u @ t.v).tanh()
    ),
    "weights moved by images": guilty(
        has(w=matrix(392, 10)), lambda t, x: x.flatten(1) @ (t.w + 0 * x.mean())
    ),
    "one parameter for all": guilty(
        has(w=matrix(4000)), lambda t, x: x.flatten(1) @ t.w[80:].view(392, 10)
    ),
    "buffer": guilty(buffer(392, 10), lambda t, x: x.flatten(1) @ t.w),
    "plain tensor": guilty(has(w=lambda: torch.randn(392, 10)), lambda t, x: x.flatten(1) @ t.w),
    "plain tensor in a list": guilty(
        has(w=lambda: [torch.randn(392, 10)]), lambda t, x: x.flatten(1) @ t.w[0]
    ),
    "drawn in forward": guilty(has(), lambda _, x: x.flatten(1) @ torch.randn(392, 10)),
    "multiply and sum": guilty(
        has(w=zeros(10, 392)),
        lambda t, x: (x.flatten(1)[:, None] * t.w).sum(-1),
        "linear 392 -> 10, multiplied and added",
    ),
    "multiply and average maps": guilty(
        has(w=zeros(10, 8, 7, 7)), lambda t, x: (x[:, None] * t.w).mean((2, 3, 4))
    ),
    "multiply, then sum twice": guilty(
        has(w=zeros(10, 8, 7, 7)), lambda t, x: (x[:, None] * t.w).sum((3, 4)).sum(2)
    ),
    "multiply copies": guilty(
        has(w=zeros(3920)), lambda t, x: (x.flatten(1).repeat(1, 10) * t.w).view(-1, 10, 392).sum(2)
    ),
    "multiply, then a product with ones": guilty(
        has(w=zeros(10, 392)), lambda t, x: (x.flatten(1)[:, None] * t.w) @ torch.ones(392)
    ),
    "squares of sums": guilty(
        has(w=zeros(10, 392)), lambda t, x: (x.flatten(1)[:, None] + t.w).square().sum(-1)
    ),
    "row by row": guilty(
        has(w=matrix(392, 10)), row_by_row, "linear 392 -> 1, multiplied and added"
    ),
    "column by column": guilty(has(w=matrix(8, 10)), column_by_column, "columns of a matrix"),
    "weights convolved with images": guilty(
        has(w=matrix(10, 392, 1, 1)),
        lambda t, x: F.conv2d(t.w, x.reshape(-1, 392, 1, 1))[:, :, 0, 0].T,
        "weights convolved with images",
    ),
    "only in training": guilty(
        has(fc=lambda: nn.Linear(392, 10), w=NINE), only_in(True), "(in training only)"
    ),
    "only in evaluation": guilty(
        has(fc=lambda: nn.Linear(392, 10), w=NINE), only_in(False), "(in evaluation only)"
    ),
    "only on blank images": guilty(
        has(fc=lambda: nn.Linear(392, 10), w=NINE), on_blank_images, "fc (linear 392 -> 10)"
    ),
    "embedded pixels": guilty(
        has(w=matrix(784, 10)),
        lambda t, x: F.embedding((x.flatten(1) > 0).long() + 2 * torch.arange(392), t.w).sum(1),
        "mixes weights with images",
    ),
    "distances": guilty(
        has(w=matrix(10, 392)),
        lambda t, x: torch.cdist(x.flatten(1), t.w),
        "mixes weights with images",
    ),
    "recurrent": guilty(
        has(r=lambda: nn.LSTM(49, 10, batch_first=True)),
        lambda t, x: t.r(x.flatten(2))[0][:, -1],
        "mixes weights with images",
    ),
    "multi-head attention": guilty(
        has(a=lambda: nn.MultiheadAttention(8, 2, batch_first=True), w=NINE),
        lambda t, x: to_ten(t.a(*[x.flatten(2).mT] * 3)[0].mT.reshape_as(x), t.w),
    ),
    "another thread": guilty(
        has(v=matrix(392, 10), w=NINE), in_another_thread, "it is computed where nobody can watch"
    ),
    "sums by index": guilty(has(w=matrix(10, 392)), by_index, "mixes weights with images"),
    "spectra": guilty(has(w=matrix(10, 392)), by_spectra, "mixes weights with images"),
    "sparse matrix": guilty(
        has(w=matrix(10, 392)), lambda t, x: (t.w.to_sparse() @ x.flatten(1).T).T, "linear 392"
    ),
    "whole numbers in a buffer": guilty(
        lambda t: t.register_buffer("w", torch.randint(-9, 9, (392, 10))),
        lambda t, x: x.flatten(1) @ t.w.float(),
    ),
    "logarithms added": guilty(
        has(w=matrix(10, 392)),
        lambda t, x: ((x.flatten(1)[:, None] + 0.1).log() + t.w.exp().log()).exp().sum(-1),
    ),
    "running sum": guilty(
        has(w=matrix(10, 392)), lambda t, x: (x.flatten(1)[:, None] * t.w).cumsum(-1)[..., -1]
    ),
    "convolution with ones": guilty(
        has(w=matrix(10, 392)),
        lambda t, x: F.conv1d(
            x.flatten(1)[:, None] * t.w, torch.ones(10, 1, 392), groups=10
        ).flatten(1),
    ),
    "learned queries": guilty(
        has(q=matrix(10, 8)),
        lambda t, x: F.scaled_dot_product_attention(
            t.q.expand(len(x), 10, 8), x.flatten(2).mT, x.flatten(2).mT
        ).mean(-1),
    ),
    "numpy": guilty(
        has(w=matrix(392, 10), v=NINE), in_numpy, "takes values of the images out of torch"
    ),
    "no image in it": guilty(
        has(w=matrix(10)),
        lambda t, x: t.w.expand(len(x), 10),
        "cannot be followed back to the images",
    ),
}

COVERINGS: dict[str, Animal] = {
    "kernel over the whole map": covering(
        has(c=lambda: nn.Conv2d(8, 10, 7)), lambda t, x: t.c(x).flatten(1)
    ),
    "1x1 on a 1x1 map": covering(
        has(c=lambda: nn.Conv2d(8, 10, 1)),
        lambda t, x: t.c(x.mean((2, 3), keepdim=True)).flatten(1),
    ),
    "map flattened into channels": covering(
        has(w=matrix(10, 392, 1, 1)),
        lambda t, x: F.conv2d(x.reshape(-1, 392, 1, 1), t.w).flatten(1),
    ),
    "Conv1d over a vector": covering(
        has(c=lambda: nn.Conv1d(1, 10, 392)), lambda t, x: t.c(x.flatten(1)[:, None]).flatten(1)
    ),
    "Conv1d of one step": covering(
        has(c=lambda: nn.Conv1d(392, 10, 1)), lambda t, x: t.c(x.flatten(1)[:, :, None]).flatten(1)
    ),
    "depthwise over copies": covering(
        has(w=matrix(10, 1, 392)),
        lambda t, x: F.conv1d(x.reshape(-1, 1, 392).repeat(1, 10, 1), t.w, groups=10).flatten(1),
    ),
    "1x1 on a repeated pixel": covering(
        has(w=matrix(10, 392, 1, 1)),
        lambda t, x: F.conv2d(x.reshape(-1, 392, 1, 1).repeat(1, 1, 2, 2), t.w).mean((2, 3)),
    ),
    "transposed from a 1x1 map": covering(
        has(c=lambda: nn.ConvTranspose2d(8, 10, 3)),
        lambda t, x: t.c(x.mean((2, 3), keepdim=True)).mean((2, 3)),
    ),
    "two large groups": covering(
        has(c=lambda: nn.Conv2d(8, 10, 7, groups=2)), lambda t, x: t.c(x).flatten(1)
    ),
}

INNOCENTS: dict[str, Animal] = {
    "named Linear": innocent(has(fc=Linear), lambda t, x: t.fc(x).mean((2, 3))),
    "batch norm": look(lambda t, x: t.n(x), n=lambda: nn.BatchNorm2d(8)),
    "group norm": look(lambda t, x: t.n(x), n=lambda: nn.GroupNorm(2, 8)),
    "layer norm over the map": look(lambda t, x: t.n(x), n=lambda: nn.LayerNorm([8, 7, 7])),
    "instance norm": look(lambda t, x: t.n(x), n=lambda: nn.InstanceNorm2d(8, affine=True)),
    "scale and shift": look(lambda t, x: x * t.g + t.b, g=matrix(8, 1, 1), b=matrix(8, 1, 1)),
    "scale by einsum": look(lambda t, x: torch.einsum("bchw,c->bchw", x, t.g), g=matrix(8)),
    "one factor": look(lambda t, x: x * t.g, g=matrix(1)),
    "learned position": look(lambda t, x: x + t.p, p=matrix(8, 7, 7)),
    "learned pooling": innocent(
        has(w=NINE, p=matrix(10, 7, 7)),
        lambda t, x: (F.conv2d(x, t.w, padding=1) * t.p).sum((2, 3)),
    ),
    "learned pooling by convolution": innocent(
        has(w=NINE, p=matrix(10, 1, 7, 7)),
        lambda t, x: F.conv2d(F.conv2d(x, t.w, padding=1), t.p, groups=10).flatten(1),
    ),
    "PReLU": look(lambda t, x: t.a(x), a=lambda: nn.PReLU(8)),
    "depthwise": look(lambda t, x: t.c(x), c=lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8)),
    "grouped and dilated": look(
        lambda t, x: t.c(x), c=lambda: nn.Conv2d(8, 8, 3, padding=2, groups=2, dilation=2)
    ),
    "strided": look(lambda t, x: t.c(x), c=lambda: nn.Conv2d(8, 8, 3, stride=2)),
    "transposed": look(lambda t, x: t.c(x), c=lambda: nn.ConvTranspose2d(8, 8, 2, stride=2)),
    "1x1 convolution": look(lambda t, x: t.c(x), c=lambda: nn.Conv2d(8, 8, 1)),
    "skip": look(lambda t, x: x + t.c(x), c=lambda: nn.Conv2d(8, 8, 3, padding=1)),
    "concatenation": look(
        lambda t, x: torch.cat((x[:, :4], t.c(x)), 1), c=lambda: nn.Conv2d(8, 4, 3, padding=1)
    ),
    "dropouts": look(lambda _, x: F.dropout(F.dropout2d(x, 0.2, True), 0.2, True)),
    "noise": look(lambda _, x: x + 0.1 * torch.randn_like(x)),
    "attention without weights": look(attention),
    "cosine transform": look(cosines),
    "average by a matrix": innocent(
        has(w=NINE),
        lambda t, x: (F.conv2d(x, t.w).flatten(2) @ torch.full((25, 1), 1 / 25))[:, :, 0],
    ),
    "average by a buffer": innocent(
        averages, lambda t, x: (F.conv2d(x, t.w).flatten(2) @ t.a)[:, :, 0]
    ),
    "permutation": look(lambda t, x: x @ t.p, p=lambda: torch.eye(7).flip(0)),
    "standardised kernels": look(standardised, k=matrix(8, 8, 3, 3)),
    "learned mask of the map": look(lambda t, x: x * t.m.sigmoid(), m=matrix(7, 7)),
    "generalised mean": innocent(
        has(w=NINE, p=lambda: nn.Parameter(torch.tensor(3.0))),
        lambda t, x: F.conv2d(x, t.w).clamp(min=0.01).pow(t.p).mean((2, 3)).pow(1 / t.p),
    ),
    "unused Linear": look(lambda _, x: x, fc=lambda: nn.Linear(8, 10)),
    "normalisation by hand": look(
        lambda t, x: (x - t.m) / t.s, m=lambda: torch.tensor(0.13), s=lambda: torch.tensor(0.3)
    ),
    "values gathered in place": innocent(
        has(w=NINE), lambda t, x: torch.zeros(len(x), 10).copy_(to_ten(x, t.w))
    ),
    "shuffled pixels": look(lambda _, x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2)),
    "spatial transformer": look(
        lambda t, x: F.grid_sample(
            x,
            F.affine_grid(t.m.expand(len(x), 2, 3), list(x.shape), align_corners=False),
            align_corners=False,
        ),
        m=matrix(2, 3),
    ),
}


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "assignment by hand": (ByHand, 18_430),
    "8v,16,M,16,24,M,24,24": (lambda: Layout(8, 16, 16, 24, 24, 24), 17_826),
    "8v,16,M,16,16,M,16,16": (lambda: Layout(8, 16, 16, 16, 16, 16), 10_786),
    "6v,8,M,10,10,M,12,10": (lambda: Layout(6, 8, 10, 10, 12, 10), 4_488),
}
"""Real networks with their published counts; their heads equal a fully connected layer."""

HOLES = ARITHMETIC | RESIZING | READINGS | HIDDEN | CONVOLUTIONS | UNTOLD
ZOO = DISGUISES | COVERINGS | INNOCENTS | HOLES
