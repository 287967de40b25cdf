"""Mixing: what several kinds of operation do alike where images meet weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mnist_arch.audit import operations, sums
from mnist_arch.audit.fields import Field, merged
from mnist_arch.audit.labels import Labels, fresh, mixed, of_weights
from mnist_arch.audit.record import Call, Record
from mnist_arch.audit.taint import Taint


def union(call: Call) -> Taint:
    """What derives from all arguments alike; a layer's output is no weight any more."""
    image = any(taint.image for taint in call.taints)
    activation = any(taint.activation for taint in call.taints)
    return Taint(image, frozenset() if activation else call.sources, field_of(call))


def field_of(call: Call) -> Field | None:
    """The receptive field of what is computed from all of a call's images."""
    return merged([taint.field for taint in call.taints if taint.image])


def unknown(record: Record, call: Call) -> Taint:
    """Anything else: where images meet weights in it, nobody can vouch for it."""
    image = any(taint.image for taint in call.taints)
    labels = [record.labels_of(each) for each in call.images]
    adds = call.name in operations.SUMS_BY_INDEX
    hidden = any(each and each.weighted and (adds or sums.fans_out(bent(each))) for each in labels)
    if image and (call.sources or hidden):
        text = record.label(f"operation {call.name}")
        told = f"{text}: mixes weights with images in a way that no rule can judge"
        record.find("unknown", f"cannot tell: {told}")
        record.add_layer(call.name, call.result, Taint(True), call.sources)
        return Taint(True)
    return union(call).without_field()


def meet(
    record: Record, out: Tensor, images: Sequence[Tensor], weights: Sequence[Tensor], adds: bool
) -> None:
    """Label what an operation makes value by value of images and weights.

    `adds` says that it only adds: a weight that is added scales nothing until later arithmetic.
    """
    given = [record.labels_of(each) for each in images]
    known = [each for each in given if each is not None]
    if not known or len(known) < len(given):
        return
    known.sort(key=lambda each: not each.weighted)
    loose = [of_weights(each) for each in weights]
    try:
        weight = mixed([*(each.weight for each in known), *loose]).expand(out.shape)
        scales = mixed_scales(known, weight, adds)
        first = known[-1].first if known[0].weighted else mixed([each.first for each in known])
        second = mixed([known[0].first, known[0].second] if len(known) > 1 else [known[0].second])
        place = _place_of(known)
        parts = (place, first, second, weight, scales)
        record.set_labels(out, Labels(*(each.expand(out.shape) for each in parts)))
    except RuntimeError:  # shapes of another kind, such as an operation with lists
        return


def mixed_scales(known: Sequence[Labels], weight: Tensor, adds: bool) -> Tensor:
    """1 where weights scale: where they did before, or where they do more than add."""
    if not adds:
        return (weight != 0).to(torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for each in known:
        total = torch.maximum(total, each.scales)
    return total


def _place_of(known: Sequence[Labels]) -> Tensor:
    """The place of values made of several: theirs where it is one, else nowhere."""
    total = known[0].place
    for each in known[1:]:
        agree = (total == each.place) | (each.place == 0)
        total = torch.where(agree, total, torch.where(total == 0, each.place, 0.0))
    return total


def sum_up(
    record: Record, tensor: Tensor, axes: set[int], lone: bool = True, bends: bool = False
) -> None:
    """Look whether a sum of a tensor along `axes` completes a matrix product.

    `bends` says that the values are squared, or the like, before they are added.
    """
    labels = record.labels_of(tensor)
    if labels is None or not labels.weighted:
        return
    if bends:
        labels = bent(labels)
    sizes = sums.completed(labels, sums.along(tensor, axes), record.batch, lone)
    _tell(record, sizes, "multiplied and added")


def bent(labels: Labels) -> Labels:
    """The labels after arithmetic by which every weight does more than add."""
    return replace(labels, scales=(labels.weight != 0).to(torch.float64))


def add_up(record: Record, images: Sequence[Tensor], out: Tensor) -> None:
    """Look whether adding tensors value by value completes a matrix product."""
    given = [record.labels_of(each) for each in images]
    known = [each for each in given if each is not None and each.weighted]
    if len(known) < 2:
        return
    stacked = Labels(
        *(
            torch.stack([part.expand(out.shape) for part in parts], -1)
            for parts in zip(*(each.all() for each in known), strict=True)
        )
    )
    groups = sums.along(stacked.place, {stacked.place.dim() - 1})
    sizes = sums.completed(stacked, groups, record.batch)
    _tell(record, sizes, "columns of a matrix, scaled and added up")
    made = sums.added(stacked, {stacked.place.dim() - 1}).mapped(lambda each: each[..., 0])
    record.set_labels(out, renewed(stacked, made, out))


def renewed(before: Labels, made: Labels, out: Tensor) -> Labels:
    """Labels of a sum: those of a new map where all weights are shared between places.

    Such a sum is a convolution, spelt out; its weights are done with.
    """
    if not before.weighted or not bool(before.scales.any()) or sums.has_unshared(before):
        return made
    labels = fresh(out)
    return labels if out.dim() >= 4 else replace(labels, place=made.place)


def _tell(record: Record, sizes: tuple[int, int] | None, how: str) -> None:
    if sizes is not None:
        record.find("linear", record.label(f"linear {sizes[0]:,} -> {sizes[1]:,}, {how}"))
