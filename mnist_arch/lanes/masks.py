"""The dropout masks that the native library draws, for tests and for comparing with PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_arch.lanes.library import check, library
from mnist_arch.lanes.nodes import Node, Operation


def dropout_mask(seed: int, dropout: Node, images: int) -> Tensor:
    """Which values one dropout keeps, for a batch of `images` under `seed`.

    bool: [N, C] for dropout of channels, [N, C, rows, columns] for element-wise dropout.
    """
    element_wise = dropout.operation is Operation.ELEMENT_DROPOUT
    shape = (images, *dropout.output) if element_wise else (images, dropout.output[0])
    mask = torch.empty(shape, dtype=torch.uint8)
    status = library().lanes_dropout_mask(
        *(seed, dropout.layer, dropout.probability, element_wise),
        *(images, *dropout.output, mask.data_ptr()),
    )
    check(status, "draw a dropout mask")
    return mask.bool()
