"""The probe: which places of a layer's output are read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mnist_arch.audit.probe import read_at_one_place
from mnist_arch.audit.record import Suspect


class Reads(nn.Module):
    """A 3x3 convolution with padding, and what reads its output."""

    def __init__(self, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.read = nn.Conv2d(1, 4, 3, padding=1), read

    def forward(self, images: Tensor) -> Tensor:
        return self.read(self.conv(images))


def suspect(whole: frozenset[int] = frozenset(), operation: str = "convolution") -> Suspect:
    """The convolution's output: 28 x 28 places."""
    places = torch.arange(784).reshape(28, 28).expand(3, 4, 28, 28)
    return Suspect(1, operation, places, whole, "disguise", "found")


@pytest.mark.parametrize(
    ("read", "single"),
    [
        (lambda maps: maps[:, :, 5, 7], True),
        (lambda maps: maps[:, :, 5, 7].relu() * 0 + maps[:, :, 5, 7].tanh(), True),
        (lambda maps: maps[:, :, 5, 7:9].mean(2), False),
        (lambda maps: maps.amax((2, 3)), False),
        (lambda maps: maps.relu().mean((2, 3)), False),
        (lambda maps: maps[:, :, 5, 7] + 0 * maps.mean((2, 3)), True),
        (lambda maps: (maps * 0).mean((2, 3)), False),  # none is read
    ],
)
def test_a_single_place_is_told(read: Callable[[Tensor], Tensor], single: bool) -> None:
    found = read_at_one_place(Reads(read), torch.randn(3, 1, 28, 28), [suspect()])
    assert [finding.text for finding in found] == ["found"] * single


def test_only_places_that_see_the_whole_map_are_told() -> None:
    module, batch = Reads(lambda maps: maps[:, :, 5, 7:9].mean(2)), torch.randn(3, 1, 28, 28)
    both = frozenset({5 * 28 + 7, 5 * 28 + 8, 0})
    assert read_at_one_place(module, batch, [suspect(both)])
    assert not read_at_one_place(module, batch, [suspect(both - {5 * 28 + 8})])


def test_an_operation_that_is_not_there_again_is_not_judged() -> None:
    module, batch = Reads(lambda maps: maps[:, :, 5, 7]), torch.randn(3, 1, 28, 28)
    assert not read_at_one_place(module, batch, [suspect(operation="mm")])
