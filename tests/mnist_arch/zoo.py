"""A zoo of small modules for the audit: disguises, innocents that look guilty, real networks.

Each stands with the verdict that is right, by default and under `--strict`, and with words that
the refusal must hold. The disguises take 8 maps of 7x7 pixels from one honest trunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody writes it

LINEAR = "fully connected layers are not allowed"


@dataclass(frozen=True, slots=True)
class Animal:
    """A module with the verdicts that are right, and words that stand in the refusal."""

    make: Callable[[], nn.Module]
    allowed: bool
    allowed_strictly: bool
    says: str = ""


class Trunk(nn.Module):
    """8 maps of 7x7 pixels, then what a subclass makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.prepare()

    def prepare(self) -> None:
        """Make weights, if any."""

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.max_pool2d(self.stem(images).relu(), 4))

    def head(self, maps: Tensor) -> Tensor:
        raise NotImplementedError


def innocent(prepare: Callable[[Trunk], None], head: Callable[[Trunk, Tensor], Tensor]) -> Animal:
    """A trunk with some weights and a head that break no rule: 8 maps of any size go in."""
    return Animal(lambda: _Made(prepare, head), True, True)


def guilty(
    prepare: Callable[[Trunk], None], head: Callable[[Trunk, Tensor], Tensor], says: str = LINEAR
) -> Animal:
    """A trunk with some weights and a head that is a fully connected layer."""
    return Animal(lambda: _Made(prepare, head), False, False, says)


def covering(prepare: Callable[[Trunk], None], head: Callable[[Trunk, Tensor], Tensor]) -> Animal:
    """A trunk with a convolution that equals a fully connected layer: refused only strictly."""
    says = "computes what a fully connected layer computes (--strict)"
    return Animal(lambda: _Made(prepare, head), True, False, says)


class _Made(Trunk):
    def __init__(
        self, prepare: Callable[[Trunk], None], head: Callable[[Trunk, Tensor], Tensor]
    ) -> None:
        self._prepare, self._head = prepare, head
        super().__init__()

    def prepare(self) -> None:
        self._prepare(self)

    def head(self, maps: Tensor) -> Tensor:
        return self._head(self, maps)


def has(**parts: Callable[[], object]) -> Callable[[Trunk], None]:
    """What gives a trunk these attributes."""

    def prepare(trunk: Trunk) -> None:
        for name, make in parts.items():
            setattr(trunk, name, make())

    return prepare


def matrix(*shape: int) -> Callable[[], nn.Parameter]:
    """A parameter of that shape."""
    return lambda: nn.Parameter(torch.randn(shape) * 0.05)


def zeros(*shape: int) -> Callable[[], nn.Parameter]:
    """A parameter that starts at nothing, so that its values cannot give it away."""
    return lambda: nn.Parameter(torch.zeros(shape))


def to_ten(maps: Tensor, weight: Tensor) -> Tensor:
    """The honest end: a convolution with its values averaged, 8 maps -> 10 logits."""
    return F.conv2d(maps, weight, padding=1).mean((2, 3))


NINE = matrix(10, 8, 3, 3)


class Linear(nn.Module):
    """A convolution that is called Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = NINE()

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.weight)


class Conv2d(nn.Module):
    """A fully connected layer that is called Conv2d, with its matrix called a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = matrix(10, 392)()

    def forward(self, maps: Tensor) -> Tensor:
        return maps.flatten(1) @ self.kernel.T


class Block(nn.Module):
    """A submodule that hides a Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Flatten(), nn.Linear(392, 10))

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.conv(maps)
        return result


class OwnFunction(torch.autograd.Function):
    """A matrix product inside an autograd function of one's own."""

    @staticmethod
    def forward(_: object, values: Tensor, weight: Tensor) -> Tensor:
        return values @ weight


def buffer(*shape: int) -> Callable[[Trunk], None]:
    """What gives a trunk a matrix `w` as a buffer."""
    return lambda trunk: trunk.register_buffer("w", torch.randn(shape) * 0.05)


def only_in(training: bool) -> Callable[[Trunk, Tensor], Tensor]:
    """A head that runs its Linear in one mode only."""

    def head(trunk: Trunk, maps: Tensor) -> Tensor:
        if trunk.training == training:
            result: Tensor = trunk.fc(maps.flatten(1))
            return result
        return to_ten(maps, trunk.get_parameter("w"))

    return head


def on_blank_images(trunk: Trunk, maps: Tensor) -> Tensor:
    """A head that runs its Linear where the images hold nothing."""
    if float(maps[:, :, 1:-1, 1:-1].std((2, 3)).max()) < 0.001:
        result: Tensor = trunk.fc(maps.flatten(1))
        return result
    return to_ten(maps, trunk.get_parameter("w"))


def column_by_column(trunk: Trunk, maps: Tensor) -> Tensor:
    """A matrix product as a sum of scaled columns."""
    values, weight = maps.mean((2, 3)), trunk.get_parameter("w")
    total = torch.zeros(len(maps), 10)
    for index in range(8):
        total = total + values[:, index : index + 1] * weight[index]
    return total


def row_by_row(trunk: Trunk, maps: Tensor) -> Tensor:
    """A matrix product as ten weighted sums."""
    flat, weight = maps.flatten(1), trunk.get_parameter("w")
    return torch.stack([(flat * weight[:, digit]).sum(1) for digit in range(10)], 1)


def in_numpy(trunk: Trunk, maps: Tensor) -> Tensor:
    """A matrix product outside torch."""
    values = maps.detach().flatten(1).numpy() @ trunk.get_parameter("w").detach().numpy()
    return torch.from_numpy(values) + to_ten(maps, trunk.get_parameter("v"))


def cosines(_: Trunk, maps: Tensor) -> Tensor:
    """A cosine transform of each row, made from a formula."""
    place = torch.arange(7.0)
    return maps @ torch.cos(torch.pi / 7 * (place[:, None] + 0.5) * place)


def attention(_: Trunk, maps: Tensor) -> Tensor:
    """Attention of pixels to pixels without weights."""
    tokens = maps.flatten(2)  # [batch, 8, 49]
    weights = (tokens.transpose(1, 2) @ tokens).softmax(2)
    return (tokens @ weights).view_as(maps)


def then_ten(head: Callable[[Trunk, Tensor], Tensor]) -> Callable[[Trunk, Tensor], Tensor]:
    """A head that makes maps, with the honest end behind it."""
    return lambda trunk, maps: to_ten(head(trunk, maps), trunk.get_parameter("w"))


def look(
    head: Callable[[Trunk, Tensor], Tensor], **parts: Callable[[], object]
) -> Animal:
    """An innocent that makes 8 maps of 8 maps with these attributes."""
    return innocent(has(w=NINE, **parts), then_ten(head))


DISGUISES: dict[str, Animal] = {
    "Linear": guilty(has(fc=lambda: nn.Linear(392, 10)), lambda t, x: t.fc(x.flatten(1)), "fc (linear 392 -> 10)"),
    "LazyLinear": guilty(has(fc=lambda: nn.LazyLinear(10)), lambda t, x: t.fc(x.flatten(1)), "fc (linear 392 -> 10)"),
    "Bilinear": guilty(has(fc=lambda: nn.Bilinear(8, 8, 10)), lambda t, x: t.fc(x.amax((2, 3)), x.mean((2, 3))), "fc (bilinear 8 x 8 -> 10)"),
    "Linear in a submodule": guilty(has(body=Block), lambda t, x: t.body(x), "body.conv.1 (linear 392 -> 10)"),
    "Linear made in forward": guilty(has(), lambda _, x: nn.Linear(392, 10)(x.flatten(1)), "Linear (linear 392 -> 10)"),
    "Linear on each pixel": guilty(has(fc=lambda: nn.Linear(8, 10)), lambda t, x: t.fc(x.permute(0, 2, 3, 1)).mean((1, 2)), "fc (linear 8 -> 10)"),
    "named conv": guilty(has(conv=Conv2d), lambda t, x: t.conv(x), "conv (linear 392 -> 10 at zoo.py:"),
    "F.linear": guilty(has(w=matrix(10, 392)), lambda t, x: F.linear(x.flatten(1), t.w)),
    "x @ W": guilty(has(w=matrix(392, 10)), lambda t, x: x.flatten(1) @ t.w),
    "W @ x": guilty(has(w=matrix(10, 392)), lambda t, x: (t.w @ x.flatten(1).T).T),
    "einsum": guilty(has(w=matrix(8, 7, 7, 10)), lambda t, x: torch.einsum("bchw,chwn->bn", x, t.w)),
    "tensordot": guilty(has(w=matrix(8, 7, 7, 10)), lambda t, x: torch.tensordot(x, t.w, 3)),
    "bmm": guilty(has(w=matrix(392, 10)), lambda t, x: torch.bmm(x.flatten(1)[:, None], t.w.expand(len(x), 392, 10))[:, 0]),
    "baddbmm": guilty(has(w=matrix(392, 10)), lambda t, x: torch.baddbmm(torch.zeros(1), x.flatten(1)[None], t.w[None])[0]),
    "addmm": guilty(has(w=matrix(392, 10), b=matrix(10)), lambda t, x: torch.addmm(t.b, x.flatten(1), t.w)),
    "mv": guilty(has(w=matrix(10, 392)), lambda t, x: torch.stack([t.w.mv(each) for each in x.flatten(1)])),
    "inference mode": guilty(has(fc=lambda: nn.Linear(392, 10)), lambda t, x: torch.inference_mode()(t.fc)(x.flatten(1))),
    "vmap": guilty(has(w=matrix(392, 10)), lambda t, x: torch.vmap(lambda row: row @ t.w)(x.flatten(1))),
    "autograd function": guilty(has(w=matrix(392, 10)), lambda t, x: OwnFunction.apply(x.flatten(1), t.w)),  # type: ignore[no-untyped-call]
    "detached": guilty(has(w=zeros(392, 10)), lambda t, x: x.flatten(1) @ t.w.detach().clone()),
    ".data": guilty(has(w=zeros(392, 10)), lambda t, x: x.flatten(1) @ t.w.data.view(10, 392).T),
    "through numpy": guilty(has(w=zeros(392, 10)), lambda t, x: x.flatten(1) @ torch.from_numpy(t.w.detach().numpy())),
    "weights of weights": guilty(has(u=matrix(392, 4), v=matrix(4, 10)), lambda t, x: x.flatten(1) @ (t.u @ t.v).tanh()),
    "weights moved by images": guilty(has(w=matrix(392, 10)), lambda t, x: x.flatten(1) @ (t.w + 0 * x.mean())),
    "one parameter for all": guilty(has(w=matrix(4000)), lambda t, x: x.flatten(1) @ t.w[80:].view(392, 10)),
    "buffer": guilty(buffer(392, 10), lambda t, x: x.flatten(1) @ t.w),
    "plain tensor": guilty(has(w=lambda: torch.randn(392, 10)), lambda t, x: x.flatten(1) @ t.w),
    "plain tensor in a list": guilty(has(w=lambda: [torch.randn(392, 10)]), lambda t, x: x.flatten(1) @ t.w[0]),
    "drawn in forward": guilty(has(), lambda _, x: x.flatten(1) @ torch.randn(392, 10)),
    "multiply and sum": guilty(has(w=zeros(10, 392)), lambda t, x: (x.flatten(1)[:, None] * t.w).sum(-1), "linear 392 -> 10, multiplied and added"),
    "multiply and average maps": guilty(has(w=zeros(10, 8, 7, 7)), lambda t, x: (x[:, None] * t.w).mean((2, 3, 4))),
    "multiply, then sum twice": guilty(has(w=zeros(10, 8, 7, 7)), lambda t, x: (x[:, None] * t.w).sum((3, 4)).sum(2)),
    "multiply copies": guilty(has(w=zeros(3920)), lambda t, x: (x.flatten(1).repeat(1, 10) * t.w).view(-1, 10, 392).sum(2)),
    "multiply, then a product with ones": guilty(has(w=zeros(10, 392)), lambda t, x: (x.flatten(1)[:, None] * t.w) @ torch.ones(392)),
    "squares of sums": guilty(has(w=zeros(10, 392)), lambda t, x: (x.flatten(1)[:, None] + t.w).square().sum(-1)),
    "row by row": guilty(has(w=matrix(392, 10)), row_by_row, "linear 392 -> 1, multiplied and added"),
    "column by column": guilty(has(w=matrix(8, 10)), column_by_column, "columns of a matrix"),
    "weights convolved with images": guilty(has(w=matrix(10, 392, 1, 1)), lambda t, x: F.conv2d(t.w, x.reshape(-1, 392, 1, 1))[:, :, 0, 0].T, "weights convolved with images"),
    "only in training": guilty(has(fc=lambda: nn.Linear(392, 10), w=NINE), only_in(True), "(in training only)"),
    "only in evaluation": guilty(has(fc=lambda: nn.Linear(392, 10), w=NINE), only_in(False), "(in evaluation only)"),
    "only on blank images": guilty(has(fc=lambda: nn.Linear(392, 10), w=NINE), on_blank_images, "fc (linear 392 -> 10)"),
    "embedded pixels": guilty(has(w=matrix(784, 10)), lambda t, x: F.embedding((x.flatten(1) > 0).long() + 2 * torch.arange(392), t.w).sum(1), "mixes weights with images"),
    "distances": guilty(has(w=matrix(10, 392)), lambda t, x: torch.cdist(x.flatten(1), t.w), "mixes weights with images"),
    "recurrent": guilty(has(r=lambda: nn.LSTM(49, 10, batch_first=True)), lambda t, x: t.r(x.flatten(2))[0][:, -1], "mixes weights with images"),
    "multi-head attention": guilty(has(a=lambda: nn.MultiheadAttention(8, 2, batch_first=True), w=NINE), lambda t, x: to_ten(t.a(*[x.flatten(2).mT] * 3)[0].mT.reshape_as(x), t.w)),
    "numpy": guilty(has(w=matrix(392, 10), v=NINE), in_numpy, "takes values of the images out of torch"),
    "no image in it": guilty(has(w=matrix(10)), lambda t, x: t.w.expand(len(x), 10), "cannot be followed back to the images"),
}  # fmt: skip

COVERINGS: dict[str, Animal] = {
    "kernel over the whole map": covering(has(c=lambda: nn.Conv2d(8, 10, 7)), lambda t, x: t.c(x).flatten(1)),
    "1x1 on a 1x1 map": covering(has(c=lambda: nn.Conv2d(8, 10, 1)), lambda t, x: t.c(x.mean((2, 3), keepdim=True)).flatten(1)),
    "map flattened into channels": covering(has(w=matrix(10, 392, 1, 1)), lambda t, x: F.conv2d(x.reshape(-1, 392, 1, 1), t.w).flatten(1)),
    "Conv1d over a vector": covering(has(c=lambda: nn.Conv1d(1, 10, 392)), lambda t, x: t.c(x.flatten(1)[:, None]).flatten(1)),
    "Conv1d of one step": covering(has(c=lambda: nn.Conv1d(392, 10, 1)), lambda t, x: t.c(x.flatten(1)[:, :, None]).flatten(1)),
    "depthwise over copies": covering(has(w=matrix(10, 1, 392)), lambda t, x: F.conv1d(x.reshape(-1, 1, 392).repeat(1, 10, 1), t.w, groups=10).flatten(1)),
    "1x1 on a repeated pixel": covering(has(w=matrix(10, 392, 1, 1)), lambda t, x: F.conv2d(x.reshape(-1, 392, 1, 1).repeat(1, 1, 2, 2), t.w).mean((2, 3))),
    "transposed from a 1x1 map": covering(has(c=lambda: nn.ConvTranspose2d(8, 10, 3)), lambda t, x: t.c(x.mean((2, 3), keepdim=True)).mean((2, 3))),
    "two large groups": covering(has(c=lambda: nn.Conv2d(8, 10, 7, groups=2)), lambda t, x: t.c(x).flatten(1)),
}  # fmt: skip

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
    "learned pooling": innocent(has(w=NINE, p=matrix(10, 7, 7)), lambda t, x: (F.conv2d(x, t.w, padding=1) * t.p).sum((2, 3))),
    "learned pooling by convolution": innocent(has(w=NINE, p=matrix(10, 1, 7, 7)), lambda t, x: F.conv2d(F.conv2d(x, t.w, padding=1), t.p, groups=10).flatten(1)),
    "PReLU": look(lambda t, x: t.a(x), a=lambda: nn.PReLU(8)),
    "depthwise": look(lambda t, x: t.c(x), c=lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8)),
    "grouped and dilated": look(lambda t, x: t.c(x), c=lambda: nn.Conv2d(8, 8, 3, padding=2, groups=2, dilation=2)),
    "strided": look(lambda t, x: t.c(x), c=lambda: nn.Conv2d(8, 8, 3, stride=2)),
    "transposed": look(lambda t, x: t.c(x), c=lambda: nn.ConvTranspose2d(8, 8, 2, stride=2)),
    "1x1 convolution": look(lambda t, x: t.c(x), c=lambda: nn.Conv2d(8, 8, 1)),
    "skip": look(lambda t, x: x + t.c(x), c=lambda: nn.Conv2d(8, 8, 3, padding=1)),
    "concatenation": look(lambda t, x: torch.cat((x[:, :4], t.c(x)), 1), c=lambda: nn.Conv2d(8, 4, 3, padding=1)),
    "dropouts": look(lambda _, x: F.dropout(F.dropout2d(x, 0.2, True), 0.2, True)),
    "noise": look(lambda _, x: x + 0.1 * torch.randn_like(x)),
    "attention without weights": look(attention),
    "cosine transform": look(cosines),
    "average by a matrix": innocent(has(w=NINE), lambda t, x: (F.conv2d(x, t.w).flatten(2) @ torch.full((25, 1), 1 / 25))[:, :, 0]),
    "average by a buffer": innocent(lambda t: (has(w=NINE)(t), t.register_buffer("a", torch.full((25, 1), 1 / 25)))[0], lambda t, x: (F.conv2d(x, t.w).flatten(2) @ t.a)[:, :, 0]),
    "permutation": look(lambda t, x: x @ t.p, p=lambda: torch.eye(7).flip(0)),
    "unused Linear": look(lambda _, x: x, fc=lambda: nn.Linear(8, 10)),
    "normalisation by hand": look(lambda t, x: (x - t.m) / t.s, m=lambda: torch.tensor(0.13), s=lambda: torch.tensor(0.3)),
    "values gathered in place": innocent(has(w=NINE), lambda t, x: torch.zeros(len(x), 10).copy_(to_ten(x, t.w))),
    "shuffled pixels": look(lambda _, x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2)),
    "spatial transformer": look(lambda t, x: F.grid_sample(x, F.affine_grid(t.m.expand(len(x), 2, 3), list(x.shape), align_corners=False), align_corners=False), m=matrix(2, 3)),
}  # fmt: skip


class ByHand(nn.Module):
    """The assignment's network as its author wrote it: two blocks, then three convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = self.block(1, 10, 10), self.block(10, 20, 20)
        self.conv3 = nn.Sequential(
            nn.Conv2d(20, 20, 3), nn.BatchNorm2d(20), nn.ReLU(),
            nn.Conv2d(20, 30, 3), nn.BatchNorm2d(30), nn.ReLU(), nn.Conv2d(30, 10, 3),
        )  # fmt: skip

    @staticmethod
    def block(before: int, first: int, second: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, first, 3, padding=1), nn.BatchNorm2d(first), nn.ReLU(),
            nn.Dropout2d(0.1), nn.Conv2d(first, second, 3, padding=1), nn.BatchNorm2d(second),
            nn.ReLU(), nn.Dropout2d(0.1), nn.MaxPool2d(2),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        maps = F.dropout2d(self.conv2(self.conv1(images)), 0.1, self.training)
        return F.log_softmax(self.conv3(maps).view(-1, 10), dim=1)


class Layout(nn.Module):
    """One of the small layouts: 3x3 convolutions, the first without padding, then an average."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        pairs = zip((1, *widths[:-1]), widths, strict=True)
        self.convs = nn.ModuleList(nn.Conv2d(*pair, 3, bias=False) for pair in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.head = nn.Conv2d(widths[-1], 10, 1)

    def forward(self, maps: Tensor) -> Tensor:
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            maps = F.pad(maps, (1, 1, 1, 1)) if index else maps
            maps = torch.relu(norm(conv(maps)))
            maps = F.max_pool2d(maps, 2) if index in (1, 3) else maps
        return torch.flatten(self.head(F.adaptive_avg_pool2d(maps, 1)), 1)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "assignment by hand": (ByHand, 18_430),
    "8v,16,M,16,24,M,24,24": (lambda: Layout(8, 16, 16, 24, 24, 24), 17_826),
    "8v,16,M,16,16,M,16,16": (lambda: Layout(8, 16, 16, 16, 16, 16), 10_786),
    "6v,8,M,10,10,M,12,10": (lambda: Layout(6, 8, 10, 10, 12, 10), 4_488),
}
"""Real networks with their published counts; their heads equal a fully connected layer."""

ZOO = DISGUISES | COVERINGS | INNOCENTS
