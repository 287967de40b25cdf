"""What the zoo of modules is made of: one honest trunk, heads of all kinds, whole networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LINEAR = "fully connected layers are not allowed"


Head = Callable[[Any, Tensor], Tensor]
"""What makes logits of a trunk, with whatever attributes it has, and its maps."""
Prepare = Callable[[Any], None]
"""What gives a trunk its attributes."""


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


def innocent(prepare: Prepare, head: Head) -> Animal:
    """A trunk with some weights and a head that break no rule: 8 maps of any size go in."""
    return Animal(lambda: _Made(prepare, head), True, True)


def guilty(prepare: Prepare, head: Head, says: str = LINEAR) -> Animal:
    """A trunk with some weights and a head that is a fully connected layer."""
    return Animal(lambda: _Made(prepare, head), False, False, says)


def covering(prepare: Prepare, head: Head) -> Animal:
    """A trunk with a convolution that equals a fully connected layer: refused only strictly."""
    says = "computes what a fully connected layer computes (--strict)"
    return Animal(lambda: _Made(prepare, head), True, False, says)


class _Made(Trunk):
    def __init__(self, prepare: Prepare, head: Head) -> None:
        self._prepare, self._head = prepare, head
        super().__init__()

    def prepare(self) -> None:
        self._prepare(self)

    def head(self, maps: Tensor) -> Tensor:
        return self._head(self, maps)


def has(**parts: Callable[[], object]) -> Prepare:
    """What gives a trunk these attributes."""

    def prepare(trunk: Any) -> None:
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


def buffer(*shape: int) -> Prepare:
    """What gives a trunk a matrix `w` as a buffer."""
    return lambda trunk: trunk.register_buffer("w", torch.randn(shape) * 0.05)


def averages(trunk: Any) -> None:
    """Give a trunk an average over 25 values, as a matrix in a buffer."""
    has(w=NINE)(trunk)
    trunk.register_buffer("a", torch.full((25, 1), 1 / 25))


def only_in(training: bool) -> Head:
    """A head that runs its Linear in one mode only."""

    def head(trunk: Any, maps: Tensor) -> Tensor:
        if trunk.training == training:
            result: Tensor = trunk.fc(maps.flatten(1))
            return result
        return to_ten(maps, trunk.get_parameter("w"))

    return head


def on_blank_images(trunk: Any, maps: Tensor) -> Tensor:
    """A head that runs its Linear where the images hold nothing."""
    if float(maps[:, :, 1:-1, 1:-1].std((2, 3)).max()) < 0.001:
        result: Tensor = trunk.fc(maps.flatten(1))
        return result
    return to_ten(maps, trunk.get_parameter("w"))


def column_by_column(trunk: Any, maps: Tensor) -> Tensor:
    """A matrix product as a sum of scaled columns."""
    values, weight = maps.mean((2, 3)), trunk.get_parameter("w")
    total = torch.zeros(len(maps), 10)
    for index in range(8):
        total = total + values[:, index : index + 1] * weight[index]
    return total


def row_by_row(trunk: Any, maps: Tensor) -> Tensor:
    """A matrix product as ten weighted sums."""
    flat, weight = maps.flatten(1), trunk.get_parameter("w")
    return torch.stack([(flat * weight[:, digit]).sum(1) for digit in range(10)], 1)


def in_another_thread(trunk: Any, maps: Tensor) -> Tensor:
    """A matrix product in a thread that nobody watches, added to an honest end."""
    done: list[Tensor] = []
    thread = Thread(target=lambda: done.append(maps.detach().flatten(1) @ trunk.v.detach()))
    thread.start()
    thread.join()
    return done[0] + to_ten(maps, trunk.w)


def by_index(trunk: Any, maps: Tensor) -> Tensor:
    """A matrix product whose sums are taken by index."""
    products = (maps.flatten(1)[:, None] * trunk.w).flatten(1)
    places = torch.arange(10).repeat_interleave(392)
    return torch.zeros(len(maps), 10).index_add(1, places, products)


def by_spectra(trunk: Any, maps: Tensor) -> Tensor:
    """A matrix product as one value of a correlation, computed by Fourier transforms."""
    spectra = torch.fft.rfft(maps.flatten(1)[:, None]) * torch.fft.rfft(trunk.w).conj()
    correlation: Tensor = torch.fft.irfft(spectra, n=392)
    return correlation[..., 0]


def standardised(trunk: Any, maps: Tensor) -> Tensor:
    """A convolution whose kernels are standardised first."""
    kernel = trunk.k - trunk.k.mean((1, 2, 3), keepdim=True)
    return F.conv2d(maps, kernel / kernel.std((1, 2, 3), keepdim=True), padding=1)


def in_numpy(trunk: Any, maps: Tensor) -> Tensor:
    """A matrix product outside torch."""
    values = maps.detach().flatten(1).numpy() @ trunk.get_parameter("w").detach().numpy()
    return torch.from_numpy(values) + to_ten(maps, trunk.get_parameter("v"))


def cosines(_: Any, maps: Tensor) -> Tensor:
    """A cosine transform of each row, made from a formula."""
    place = torch.arange(7.0)
    return maps @ torch.cos(torch.pi / 7 * (place[:, None] + 0.5) * place)


def attention(_: Any, maps: Tensor) -> Tensor:
    """Attention of pixels to pixels without weights."""
    tokens = maps.flatten(2)  # [batch, 8, 49]
    weights = (tokens.transpose(1, 2) @ tokens).softmax(2)
    return (tokens @ weights).view_as(maps)


def then_ten(head: Head) -> Head:
    """A head that makes maps, with the honest end behind it."""
    return lambda trunk, maps: to_ten(head(trunk, maps), trunk.get_parameter("w"))


def look(head: Head, **parts: Callable[[], object]) -> Animal:
    """An innocent that makes 8 maps of 8 maps with these attributes."""
    return innocent(has(w=NINE, **parts), then_ten(head))


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
