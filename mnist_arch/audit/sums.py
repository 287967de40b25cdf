"""Sums that complete a matrix product whose products were taken value by value.

`(x[:, None] * W).sum(-1)` is `x @ W.T`, and so is every other spelling: what counts is which
values and which weights a sum brings together, and at how many places each weight was used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_arch.audit.labels import Labels, distinct, paired

_SHARED = 4  # places that a weight must be used at, where the map has twice as many


def completed(
    labels: Labels, groups: Tensor, batch: int, lone: bool = True
) -> tuple[int, int] | None:
    """The inputs and outputs of the fully connected layer that a sum completes, or None.

    `groups` numbers, for each value, the sum that it goes into. A sum completes one when it brings
    different values together, each through a weight that no other place shares, and either a value
    goes into several sums by several weights, or (`lone`) all of an image goes into one sum.
    """
    there = (labels.weight != 0) & (labels.scales > 0)
    there &= _unshared(labels, there)
    if not bool(there.any()):
        return None
    weight, group = labels.weight[there], groups[there]
    sums = distinct(group)
    if distinct(paired(group, weight)) <= sums:
        return None
    for values in (labels.first[there], labels.second[there]):
        inputs = distinct(paired(group, values)) // sums
        fans_out = distinct(paired(values, weight)) > distinct(values)
        if inputs > 1 and (fans_out or (lone and sums <= batch)):
            return inputs, max(sums // batch, 1)
    return None


def has_unshared(labels: Labels) -> bool:
    """Whether weights that scale are used at a single place, or at few of many."""
    there = (labels.weight != 0) & (labels.scales > 0)
    return bool((there & _unshared(labels, there)).any())


def fans_out(labels: Labels) -> bool:
    """Whether values meet several weights each, none of which other places share."""
    there = (labels.weight != 0) & (labels.scales > 0)
    there &= _unshared(labels, there)
    weight, values = labels.weight[there], labels.first[there]
    return distinct(paired(values, weight)) > distinct(values)


def along(tensor: Tensor, axes: set[int]) -> Tensor:
    """Numbers of the sums that a reduction of `tensor` along `axes` makes, in its shape."""
    kept = [1 if axis in axes else side for axis, side in enumerate(tensor.shape)]
    count = 1
    for side in kept:
        count *= side
    return torch.arange(count, dtype=torch.float64).reshape(kept).expand(tensor.shape)


def added(labels: Labels, axes: set[int]) -> Labels:
    """Labels of what a sum along `axes` makes, with the dimensions kept at size 1."""
    order = sorted(axes)
    if not order:
        return labels
    low, high = labels.place.amin(order, True), labels.place.amax(order, True)
    place = torch.where(low == high, high, 0.0)
    first, second, weight = (
        each.sum(order, keepdim=True) for each in (labels.first, labels.second, labels.weight)
    )
    return Labels(place, first, second, weight, labels.scales.amax(order, True))


def _unshared(labels: Labels, there: Tensor) -> Tensor:
    """Where the weight is one that works at a single place, or at few of many."""
    weight, place = labels.weight[there], labels.place[there]
    everywhere = distinct(place)
    known, which = torch.unique(weight, return_inverse=True)
    pairs = torch.unique(torch.stack([which.to(torch.float64), place]), dim=1)
    uses = torch.bincount(pairs[0].long(), minlength=len(known))
    least = min(_SHARED, max(everywhere // 2, 2))
    found = torch.zeros_like(there)
    found[there] = (uses < least)[which]
    return found


def is_own_weights(labels: Labels) -> bool:
    """Whether a tensor, whatever images did to it, holds weights of its own along both axes.

    A mask or a scale of a map repeats along its channels or its places: it does not.
    """
    if not labels.weighted or labels.weight.dim() < 2:
        return False
    weight = labels.weight
    return all(bool((weight != weight.narrow(axis, 0, 1)).any()) for axis in (-1, -2))
