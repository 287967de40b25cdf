from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import Compose, InterpolationMode, Normalize, ToTensor
from torchvision.transforms.v2.functional import affine as torchvision_affine

from mnist_arch.augment import draw_matrices, gather
from mnist_arch.data import Digits
from mnist_arch.datasets import DATASETS
from mnist_arch.recipe import Affine

MEAN, STANDARD_DEVIATION = DATASETS["mnist"].mean, DATASETS["mnist"].standard_deviation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normalise(images: Tensor) -> Tensor:
    """A batch of all the images, as they are."""
    return gather(images, torch.arange(len(images)), None)


def transform(images: Tensor, matrices: Tensor) -> Tensor:
    """A batch of all the images, moved."""
    return gather(images, torch.arange(len(images)), matrices)


def pixels_of(normalised: Tensor) -> Tensor:
    """Undo the normalisation: shares of white, [batch, 28, 28]."""
    return (normalised * STANDARD_DEVIATION + MEAN).squeeze(1)


def noise(count: int, seed: int = 0) -> Tensor:
    """Random images, uint8 [count, 28, 28]."""
    return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=seeded(seed))


def read_back(matrix: Tensor) -> tuple[float, float, Tensor]:
    """Angle in degrees, scale and shift (as a share of the side) of one inverse map [2, 3].

    x_source = A x + t with A = R(-angle) / scale, so that x = A^-1 x_source - A^-1 t.
    """
    linear, offset = matrix[:, :2].double(), matrix[:, 2].double()
    angle = math.degrees(math.atan2(linear[0, 1].item(), linear[0, 0].item()))
    scale = 1 / math.sqrt(torch.linalg.det(linear).item())
    return angle, scale, -torch.linalg.solve(linear, offset) / 2


IDENTITY = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


# --- pixels ---


def test_a_batch_equals_torchvisions_transforms(test_digits: Digits) -> None:
    theirs = Compose([ToTensor(), Normalize((0.1307,), (0.3081,))])
    images = test_digits.images[:5]
    expected = torch.stack([theirs(image.numpy()) for image in images])
    torch.testing.assert_close(normalise(images), expected)


def test_gathering_leaves_the_images_alone() -> None:
    images = noise(3)
    before = images.clone()
    normalise(images)
    transform(images, IDENTITY.repeat(3, 1, 1))
    assert images.equal(before)


def test_a_batch_holds_the_images_of_its_index_and_each_ones_own_map() -> None:
    images, index = noise(4), torch.tensor([2, 0, 2])
    assert gather(images, index, None).equal(normalise(images)[index])
    matrices = draw_matrices(Affine(10, 0.1, 0.1), 3, seeded())
    batch = gather(images, index, matrices)
    assert batch.shape == (3, 1, 28, 28)
    for place, number in enumerate(index.tolist()):
        alone = transform(images[number : number + 1], matrices[place : place + 1])
        torch.testing.assert_close(batch[place : place + 1], alone)


def test_ranges_of_nothing_leave_images_unchanged() -> None:
    images = noise(4)
    matrices = draw_matrices(Affine(), 4, seeded())
    torch.testing.assert_close(matrices, IDENTITY.repeat(4, 1, 1))
    torch.testing.assert_close(transform(images, matrices), normalise(images), atol=1e-4, rtol=0)


def test_a_shift_by_whole_pixels_moves_them_and_fills_with_background() -> None:
    images = noise(1)
    right, down = 3, 5
    matrix = torch.tensor([[[1.0, 0.0, -2 * right / 28], [0.0, 1.0, -2 * down / 28]]])
    expected = torch.zeros(1, 28, 28)
    expected[:, down:, right:] = images[:, :-down, :-right] / 255
    moved = pixels_of(transform(images, matrix))
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_equal_rot90(quarters: int) -> None:
    images = noise(1)
    cosine, sine = [(0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][quarters - 1]
    matrix = torch.tensor([[[cosine, sine, 0.0], [-sine, cosine, 0.0]]])
    expected = torch.rot90(images, -quarters, (1, 2)) / 255  # rows run down: clockwise
    turned = pixels_of(transform(images, matrix))
    torch.testing.assert_close(turned, expected, atol=1e-4, rtol=0)


@settings(max_examples=30)
@given(
    st.floats(0, 180), st.floats(0, 0.5), st.floats(0, 0.5), st.integers(0, 1_000)
)  # fmt: skip
def test_a_drawn_map_equals_torchvisions_affine(
    degrees: float, shift: float, scale: float, seed: int
) -> None:
    images = noise(1, seed)
    matrices = draw_matrices(Affine(degrees, shift, scale), 1, seeded(seed))
    angle, factor, moved = read_back(matrices[0])
    expected = torchvision_affine(
        images.float() / 255, angle, (moved * 28).tolist(), factor, [0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )  # fmt: skip
    ours = pixels_of(transform(images, matrices))
    torch.testing.assert_close(ours, expected, atol=1e-3, rtol=0)


# --- draws ---


def test_every_image_of_a_batch_gets_a_map_of_its_own() -> None:
    same = noise(1).repeat(6, 1, 1)
    moved = transform(same, draw_matrices(Affine(10, 0.1, 0.1), 6, seeded()))
    assert all(not moved[i].equal(moved[j]) for i in range(6) for j in range(i))


def test_the_generator_repeats_the_draws_and_another_differs() -> None:
    ranges = Affine(10, 0.1, 0.1)
    assert draw_matrices(ranges, 5, seeded(1)).equal(draw_matrices(ranges, 5, seeded(1)))
    assert not draw_matrices(ranges, 5, seeded(1)).equal(draw_matrices(ranges, 5, seeded(2)))


def test_draws_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    draw_matrices(Affine(10, 0.1, 0.1), 5, seeded())
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("ranges", [Affine(15, 0.1, 0.2), Affine(0, 0.3, 0), Affine(90)])
def test_draws_fill_their_ranges_and_keep_to_them(ranges: Affine) -> None:
    drawn = [read_back(matrix) for matrix in draw_matrices(ranges, 400, seeded())]
    for values, limit in (
        ([angle for angle, _, _ in drawn], ranges.degrees),
        ([factor - 1 for _, factor, _ in drawn], ranges.scale),
        ([moved[0].item() for _, _, moved in drawn], ranges.shift),
        ([moved[1].item() for _, _, moved in drawn], ranges.shift),
    ):
        assert max(map(abs, values)) <= limit + 1e-5 * max(1, limit)
        assert min(values) <= -0.95 * limit + 1e-5
        assert max(values) >= 0.95 * limit - 1e-5


def test_draws_of_angle_scale_and_shift_are_unrelated() -> None:
    drawn = [read_back(m) for m in draw_matrices(Affine(10, 0.1, 0.1), 1_000, seeded())]
    table = torch.tensor([[angle, factor, *moved.tolist()] for angle, factor, moved in drawn])
    correlation = torch.corrcoef(table.T) - torch.eye(4)  # [4, 4]
    assert correlation.abs().max() < 0.13  # four standard errors of 1 / sqrt(1,000)


@pytest.mark.parametrize(
    ("ranges", "identity"),
    [((), True), ((0, 0, 0), True), ((5,), False), ((0, 0.1), False), ((0, 0, 0.1), False)],
)
def test_identity_means_no_range_at_all(ranges: tuple[float, ...], identity: bool) -> None:
    assert Affine(*ranges).is_identity is identity


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ((-1, 0, 0), "augmentation degrees must be from 0 to 180, got -1"),
        ((181, 0, 0), "augmentation degrees must be from 0 to 180, got 181"),
        ((0, 1.5, 0), "augmentation shift must be from 0 to 1, got 1.5"),
        ((0, -0.1, 0), "augmentation shift must be from 0 to 1, got -0.1"),
        ((0, 0, 1), "augmentation scale must be from 0 to 0.9, got 1"),
        ((0, 0, math.nan), "augmentation scale must be from 0 to 0.9, got nan"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(
    ranges: tuple[float, float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Affine(*ranges)
