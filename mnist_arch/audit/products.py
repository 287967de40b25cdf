"""Products of images and weights that wait for a sum: matrix products in disguise.

`(x[:, None] * W).sum(-1)` is `x @ W.T`. Beside each product of an image tensor and a weight stand
its two factors in the product's shape; what moves the product about moves them too. A sum then
shows what it is: it runs along dimensions where both factors vary, and either the weights fan out
into a dimension where the images only repeat, or one value is left of each image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Product:
    """The two factors of a product, both in its shape.

    `scales` is False for what adds or normalises: there a sum over everything is no weighted sum.
    """

    image: Tensor
    weight: Tensor
    scales: bool

    def mapped(self, move: Callable[[Tensor], Tensor]) -> Product:
        """The same product after its values were moved."""
        return Product(move(self.image), move(self.weight), self.scales)

    @property
    def fans_out(self) -> bool:
        """Whether the weights vary along a dimension where the images only repeat."""
        return bool(varying(self.weight) - varying(self.image))


def varying(tensor: Tensor) -> set[int]:
    """The dimensions along which a tensor's values differ."""
    return {axis for axis in range(tensor.dim()) if not repeats(tensor, axis)}


def repeats(tensor: Tensor, axis: int) -> bool:
    """Whether all slices along a dimension hold the same values."""
    if tensor.shape[axis] <= 1 or tensor.stride(axis) == 0:
        return True
    return bool((tensor == tensor.narrow(axis, 0, 1)).all())


def matrix_in(product: Product, summed: Iterable[int]) -> tuple[int, int] | None:
    """The inputs and outputs of the fully connected layer that a sum completes, or None."""
    rank = product.image.dim()
    over = {axis % rank for axis in summed} if rank else set()
    images, weights = varying(product.image), varying(product.weight)
    contracted = over & images & weights
    if not contracted:
        return None
    fan = (weights - images) - over
    inputs = _size(product.image, contracted)
    if fan:
        return inputs, _size(product.image, fan)
    left = images - over
    if product.scales and len(left) <= 1 and images - left <= weights:
        return inputs, 1
    return None


def lasts(product: Product) -> bool:
    """Whether a later sum could still complete a matrix product: what was not summed, matters."""
    images, weights = varying(product.image), varying(product.weight)
    return bool(weights - images) or len(images - weights) <= 1


def of_factors(
    out: Tensor, images: Sequence[tuple[Tensor, Product | None]], weights: Sequence[Tensor],
    scales: bool,
) -> Product | None:  # fmt: skip
    """The product that a pointwise operation of images and weights makes."""
    image, before = images[0]
    weight = torch.ones(())
    for each in weights:
        weight = weight * each.detach().to(torch.float32)
    if before is not None:
        image, weight = before.image, weight * before.weight
    try:
        return Product(image.expand(out.shape), weight.expand(out.shape), scales)
    except RuntimeError:  # shapes of another kind, such as an operation with lists
        return None


def _size(tensor: Tensor, axes: Iterable[int]) -> int:
    size = 1
    for axis in axes:
        size *= tensor.shape[axis]
    return size
