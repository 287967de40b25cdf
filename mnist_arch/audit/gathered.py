"""Values gathered up: sums, extremes, pools."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from mnist_arch.audit import operations, sums
from mnist_arch.audit.averages import averaged
from mnist_arch.audit.labels import Labels, fresh
from mnist_arch.audit.mixing import renewed, sum_up, union, unknown
from mnist_arch.audit.record import Call, Record
from mnist_arch.audit.taint import Taint


def reduction(record: Record, call: Call) -> Taint:
    """Values added up or compared along some dimensions."""
    if call.mixes:
        return unknown(record, call)
    images, out = call.tensors[0], call.result
    taint = union(call)
    if not taint.image:
        return taint
    axes = _axes(call, images.dim())
    if images.dim() == 4 and taint.field is not None and axes & {2, 3}:
        there = {2, 3} <= axes and set(images.shape[2:]) == {taint.field.side}
        taint = replace(taint, field=taint.field.whole() if there else None)
        record.add_layer(f"{call.name} of each map", out, taint, frozenset())
    if call.name in operations.SUMS:
        sum_up(record, images, axes, bends=call.name not in operations.PLAIN_SUMS)
    if call.name in ("sum", "mean"):
        averaged(record, images, axes, out)
    _label_sums(record, images, axes, out)
    return taint


def _label_sums(record: Record, images: Tensor, axes: set[int], out: Tensor) -> None:
    """Label what a reduction makes, whether or not it keeps the dimensions."""
    labels = record.labels_of(images)
    if labels is None:
        return
    made = sums.added(labels, axes)
    if made.place.numel() == out.numel():
        made = made.mapped(lambda each: each.reshape(out.shape))
        record.set_labels(out, renewed(labels, made, out))


def _axes(call: Call, rank: int) -> set[int]:
    """The dimensions that a reduction runs along."""
    given = call.named.get("dim", call.arguments[1] if len(call.arguments) > 1 else None)
    if call.name in ("linalg_vector_norm", "norm", "var", "std") and len(call.arguments) > 2:
        given = call.arguments[2]
    if given is None or given == [] or not isinstance(given, int | list | tuple):
        return set(range(rank))
    return {axis % max(rank, 1) for axis in ([given] if isinstance(given, int) else given)}


def pool(record: Record, call: Call) -> Taint:
    """A pool: a window's largest or average value."""
    images, taint = call.tensors[0], union(call)
    if call.mixes or not taint.image:
        return unknown(record, call)
    if call.name in operations.AVERAGES:
        _average(record, call, images)
    field = taint.field
    if field is not None:
        field = _pooled(call, images, field)
    taint = replace(taint, field=field)
    record.add_layer(_pool_words(call), call.result, taint, frozenset())
    return taint


def _average(record: Record, call: Call, images: Tensor) -> None:
    """What an average of windows adds up."""
    rank = images.dim()
    sum_up(record, images, {rank - 1, rank - 2})
    if call.result.shape[-2:] == (1, 1):
        averaged(record, images, {rank - 1, rank - 2}, call.result)
    resized(record, call)


def resized(record: Record, call: Call) -> None:
    """Label what adds up neighbours and moves the rest: an interpolation, a pool of averages."""
    labels = record.labels_of(call.tensors[0])
    if labels is None or not labels.weighted:
        return
    parts = [
        call.again(each) for each in (labels.first, labels.second, labels.weight, labels.scales)
    ]
    nowhere = parts[0] * 0
    if call.result.shape[-2:] != (1, 1):
        nowhere = fresh(call.result).place
    parts[-1] = (parts[-1] > 0).to(parts[-1].dtype)
    record.set_labels(call.result, Labels(nowhere, *parts))


def interpolation(record: Record, call: Call) -> Taint:
    """Neighbours weighed by their distance: a sum, and no weights of its own."""
    images, taint = call.tensors[0], union(call)
    if call.mixes or not taint.image:
        return unknown(record, call)
    sum_up(record, images, set(range(2, images.dim())))
    resized(record, call)
    return taint.without_field()


def _pool_words(call: Call) -> str:
    """`max-pool 2x2`, or the kind alone where the window varies."""
    kind = "max-pool" if "max" in call.name else "average-pool"
    if "adaptive" in call.name or "fractional" in call.name:
        return f"adaptive {kind}"
    return f"{kind} {'x'.join(str(side) for side in call.arguments[1])}"


def _pooled(call: Call, images: Tensor, field: Any) -> Any:
    """The receptive field after a pool."""
    side = call.result.shape[-1]
    if "adaptive" in call.name or "fractional" in call.name:
        return field.whole() if side == 1 and images.shape[-1] == field.side else None
    kernel = list(call.arguments[1])
    if call.name in operations.AVERAGES and side == 1 and kernel == [field.side] * 2:
        return field.whole()  # as a plan counts it: an average of everything takes no steps
    stride = list(call.arguments[2]) if len(call.arguments) > 2 and call.arguments[2] else kernel
    dilation = call.arguments[4] if "max" in call.name and len(call.arguments) > 4 else [1, 1]
    return field.window(images.shape[-2:], kernel, stride, dilation, side)
