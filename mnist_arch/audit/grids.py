"""Grids: whether a map is sampled at places that a few shared numbers decide."""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_arch.audit.mixing import sum_up, union, unknown
from mnist_arch.audit.record import Call, Record
from mnist_arch.audit.taint import Taint

_FIT = 1e-3  # in the units of a grid, where a map is 2 wide


def sampling(record: Record, call: Call) -> Taint:
    """A map sampled on a grid: fine where the grid moves, turns or stretches the whole map.

    A grid of weights with a freedom of its own at each place gives every pixel its own weights.
    """
    images, grid = call.arguments[:2]
    weighs = call.taint(grid).weight and not _is_affine(grid)
    if weighs or (call.taint(images).weight and call.taint(grid).image):
        return unknown(record, call)
    if call.mixes:
        record.use(call.sources)
    if call.taint(images).image:
        sum_up(record, images, set(range(2, images.dim())))
    return union(call).without_field()


def _is_affine(grid: Tensor) -> bool:
    """Whether a grid [batch, rows, columns, 2] is an affine function of row and column."""
    _, rows, columns, _ = grid.shape
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    basis = torch.stack([torch.ones_like(row), row, column], -1).reshape(-1, 3).to(torch.float64)
    values = grid.detach().to(torch.float64).permute(1, 2, 0, 3).reshape(rows * columns, -1)
    fitted = basis @ (torch.linalg.pinv(basis) @ values)
    return bool((fitted - values).abs().max() < _FIT)
