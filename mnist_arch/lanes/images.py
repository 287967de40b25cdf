"""Batches of images from a resident data set: gathered, moved, normalised in one native pass."""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_arch.lanes.library import check, library


def augment(
    images: Tensor, index: Tensor, matrices: Tensor | None, mean: float, std: float
) -> Tensor:
    """Normalised float32 images [N, 1, 28, 28], each moved by its own affine map.

    `images` is uint8 [M, 28, 28] and `index` int64 [N] into it. `matrices` float32 [N, 2, 3] map
    output to input coordinates as `F.affine_grid(align_corners=False)` does, sampled bilinearly
    with background 0 outside; None moves nothing. A pixel p becomes (p / 255 - mean) / std.
    Raises ValueError or TypeError for other shapes or types, IndexError for an index out of range.
    """
    _check(images, torch.uint8, (None, 28, 28), "images")
    _check(index, torch.int64, (None,), "index")
    if matrices is not None:
        _check(matrices, torch.float32, (len(index), 2, 3), "matrices")
        matrices = matrices.detach().contiguous()
    if not std > 0:
        raise ValueError(f"std must be more than 0, not {std}")
    images, index = images.contiguous(), index.contiguous()
    result = torch.empty(len(index), 1, 28, 28)
    status = library().lanes_augment(
        *(images.data_ptr(), len(images), index.data_ptr(), len(index)),
        *(None if matrices is None else matrices.data_ptr(), mean, std, result.data_ptr()),
    )
    if status == 2:
        raise IndexError(f"an index is not in 0 to {len(images) - 1}")
    check(status, "augment a batch")
    return result


def _check(tensor: Tensor, dtype: torch.dtype, shape: tuple[int | None, ...], name: str) -> None:
    if tensor.dtype != dtype or tensor.device.type != "cpu":
        raise TypeError(f"{name} must be {dtype} on the CPU, not {tensor.dtype} on {tensor.device}")
    fits = tensor.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must be [{wanted}], not {list(tensor.shape)}")
