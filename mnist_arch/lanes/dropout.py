"""The dropout masks that the native engine draws, for tests and for comparing with PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_arch.lanes.library import check, library
from mnist_arch.lanes.stage import Dropout


def dropout_mask(seed: int, dropout: Dropout, images: int) -> Tensor:
    """Which values one dropout keeps, for a batch of `images` under `seed`.

    bool: [N, C] for dropout of channels, [N, C, rows, columns] for element-wise dropout.
    """
    shape = (images, *dropout.shape) if dropout.element_wise else (images, dropout.shape[0])
    mask = torch.empty(shape, dtype=torch.uint8)
    status = library().lanes_dropout_mask(
        *(seed, dropout.layer, dropout.probability, dropout.element_wise),
        *(images, *dropout.shape, mask.data_ptr()),
    )
    check(status, "draw a dropout mask")
    return mask.bool()
