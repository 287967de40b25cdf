"""Batches of images against PyTorch's own sampling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_arch import lanes

MEAN, STD = 0.1307, 0.3081


def expected(images: Tensor, index: Tensor, matrices: Tensor | None) -> Tensor:
    batch = images[index, None].double() / 255
    if matrices is not None:
        grid = F.affine_grid(matrices.double(), list(batch.shape), align_corners=False)
        batch = F.grid_sample(batch, grid, "bilinear", "zeros", align_corners=False)
    return (batch - MEAN) / STD


def digits(count: int = 50) -> Tensor:
    return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)


def test_gathering_and_normalising_equal_pytorch(instruction_set: str) -> None:
    torch.manual_seed(0)
    images, index = digits(), torch.randint(0, 50, (33,))
    found = lanes.augment(images, index, None, MEAN, STD)
    torch.testing.assert_close(found.double(), expected(images, index, None), rtol=0, atol=2e-6)


@pytest.mark.parametrize("strength", [0.0, 0.05, 0.3, 2.0, 100.0])
def test_affine_maps_equal_pytorch(strength: float) -> None:
    torch.manual_seed(1)
    images, index = digits(), torch.randint(0, 50, (64,))
    matrices = torch.eye(2, 3).repeat(64, 1, 1) + strength * torch.randn(64, 2, 3)
    found = lanes.augment(images, index, matrices, MEAN, STD)
    wanted = expected(images, index, matrices)
    # A coordinate in pixels is rounded to 1e-6 of its size, and noise changes by 255 in a pixel.
    tolerance = 2e-4 * max(1.0, strength)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=tolerance)


def test_an_empty_batch_is_empty() -> None:
    assert lanes.augment(digits(), torch.tensor([], dtype=torch.int64), None, 0.0, 1.0).shape == (
        0, 1, 28, 28,
    )  # fmt: skip


def test_extreme_maps_show_background() -> None:
    matrices = torch.tensor([[[1e30, 0, 1e30], [0, 1e30, 1e30]], [[1, 0, torch.nan], [0, 1, 0]]])
    found = lanes.augment(digits(), torch.tensor([0, 1]), matrices, 0.0, 1.0)
    assert torch.isfinite(found).all()


WRONG = {
    "index": (digits(5), torch.tensor([5]), None, IndexError, "not in 0 to 4"),
    "negative": (digits(5), torch.tensor([-1]), None, IndexError, "not in 0 to 4"),
    "floats": (digits(5).float(), torch.tensor([0]), None, TypeError, "images must be torch.uint8"),
    "shape": (digits(5)[:, 1:], torch.tensor([0]), None, ValueError, r"images must be \[any, 28"),
    "int32": (digits(5), torch.tensor([0]).int(), None, TypeError, "index must be torch.int64"),
    "matrices": (digits(5), torch.tensor([0]), torch.zeros(2, 2, 3), ValueError, "matrices must"),
}


@pytest.mark.parametrize(
    ("images", "index", "matrices", "error", "message"), WRONG.values(), ids=WRONG.keys()
)
def test_wrong_arguments_are_refused(
    images: Tensor, index: Tensor, matrices: Tensor | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        lanes.augment(images, index, matrices, MEAN, STD)
