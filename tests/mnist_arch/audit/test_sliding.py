"""The test for sliding, on places worked by hand and on torch's own patches."""

from __future__ import annotations

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

from mnist_arch.audit.labels import ROW, fresh
from mnist_arch.audit.sliding import slide_of

ONE_MATRIX = torch.zeros(1, 1, 1)


def places(side: int, channels: int = 2) -> torch.Tensor:
    """The places of a map [1, channels, side, side]."""
    return fresh(torch.zeros(1, channels, side, side)).place


def test_the_place_of_a_row_and_column() -> None:
    assert places(3)[0, 1, 2, 1] == 3 * ROW + 2


@given(
    st.integers(5, 9), st.integers(1, 4), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2)
)
def test_patches_slide(side: int, kernel: int, stride: int, dilation: int, padding: int) -> None:
    extent = (kernel - 1) * dilation + 1
    outputs = (side + 2 * padding - extent) // stride + 1
    assume(outputs >= 3 and padding < extent < side)
    assume(1 in (stride, dilation))  # both together pass over whole rows of the map
    patches = F.unfold(places(side), kernel, dilation, padding, stride).mT
    found = slide_of(patches, ONE_MATRIX)
    assert found is not None
    assert found.regular
    assert found.window == (kernel, kernel)
    assert torch.unique(found.places).numel() == outputs**2


def test_one_place_at_a_time_is_a_window_of_one() -> None:
    found = slide_of(places(4).flatten(2).mT, ONE_MATRIX)
    assert found is not None
    assert found.is_one_place


def test_what_does_not_slide() -> None:
    whole = places(4).reshape(1, 1, -1)
    assert slide_of(whole, ONE_MATRIX) is None  # one row
    assert slide_of(whole.expand(1, 9, -1), ONE_MATRIX) is None  # copies of it
    assert slide_of(places(4).flatten(2), ONE_MATRIX) is None  # all places, channel by channel
    assert slide_of(places(4)[0, :1], ONE_MATRIX) is None  # all columns, row by row
    everywhere = F.unfold(places(3), 7, padding=3).mT  # one row of them sees the whole map
    assert slide_of(everywhere, ONE_MATRIX) is None


def test_weights_of_its_own_for_each_place_do_not_slide() -> None:
    patches = F.unfold(places(5), 3).reshape(18, 9).T[:, None]  # [places, 1, inputs]
    own = torch.arange(9.0).reshape(9, 1, 1)
    assert slide_of(patches, own) is None
    assert slide_of(patches, own * 0) is not None


def test_a_shuffle_is_irregular() -> None:
    patches = F.unfold(places(5), 3).mT.clone()
    patches[0, 0] = patches[0, 0].flip(0)
    found = slide_of(patches, ONE_MATRIX)
    assert found is not None
    assert not found.regular
