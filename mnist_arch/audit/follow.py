"""Follow: what each operation makes of images and weights, and what the rules care about in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mnist_arch.audit import operations
from mnist_arch.audit.averages import carry, linear_in, remember
from mnist_arch.audit.gathered import interpolation, pool, reduction
from mnist_arch.audit.grids import sampling
from mnist_arch.audit.labels import Labels, fresh
from mnist_arch.audit.mixing import add_up, field_of, meet, union, unknown
from mnist_arch.audit.record import Call, Record
from mnist_arch.audit.taint import NOTHING, Source, Taint, tensors_in
from mnist_arch.audit.weighted import convolution, matrix, norm

_ADDS = {"add", "sub", "rsub"}
_WRITES = {
    "slice_scatter",
    "select_scatter",
    "index_put",
    "masked_scatter",
    "masked_fill",
    "scatter",
}
_DRAWN = Source("weights drawn at random", "drawn", 0)


def follow(record: Record, call: Call) -> Taint:
    """What the outputs of an operation derive from; findings and layers go into the record."""
    random = torch.Tag.nondeterministic_seeded in call.function.tags
    if call.name in operations.SHAPES_ONLY or (random and not any(t.image for t in call.taints)):
        return _drawn(record, call) if random else NOTHING
    if call.name in operations.MATRIX:
        return matrix(record, call)
    if call.name in operations.CONVOLUTIONS:
        return convolution(record, call)
    if call.name in operations.NORMS:
        return norm(record, call)
    if call.name in operations.SUMS | operations.EXTREMES:
        return reduction(record, call)
    if call.name in operations.POOLS:
        return pool(record, call)
    if call.name in operations.INTERPOLATIONS:
        return interpolation(record, call)
    if call.name == "grid_sampler_2d":
        return sampling(record, call)
    if call.function.is_view or call.name in operations.MOVEMENTS:
        return _movement(record, call)
    if torch.Tag.pointwise in call.function.tags or call.name in operations.POINTWISE:
        return _pointwise(record, call)
    return unknown(record, call)


def _drawn(record: Record, call: Call) -> Taint:
    """Random values: noise when added or multiplied, weights when a layer is made of them."""
    record.ledger.sources.append(replace(_DRAWN, values=call.result.numel()))
    return Taint(sources=frozenset({len(record.ledger.sources) - 1}))


def _solid(record: Record, call: Call) -> list[Tensor]:
    """The weights among the arguments that are more than noise."""
    sources = record.ledger.sources
    return [
        each
        for each in call.weights
        if any(sources[number].kind != "drawn" for number in call.taint(each).sources)
    ]


def _pointwise(record: Record, call: Call) -> Taint:
    """Something done value by value."""
    taint = union(call)
    weights = _solid(record, call)
    touched = [each for each in call.tensors if call.taint(each).image]
    loose = [each for each in weights if not call.taint(each).image]
    carry(record, call)
    if touched:
        meet(record, call.result, touched, loose, call.name in _ADDS)
    if call.images and weights:
        _line_of_new(record, call)
        largest = max(each.numel() for each in weights)
        if call.result.numel() == largest > max(each.numel() for each in call.images):
            return replace(taint, sources=call.sources)  # weights, moved by something of the images
    elif call.name in _ADDS:
        add_up(record, touched, call.result)
    return taint


def _line_of_new(record: Record, call: Call) -> None:
    """Add a line for an operation that is the first to use some weights."""
    known = {record.ledger.sources[number] for number in record.used}
    if any(record.ledger.sources[number] not in known for number in call.sources):
        taint = Taint(True, field=field_of(call))
        record.add_layer(call.name.strip("_").replace("_", " "), call.result, taint, call.sources)


def _movement(record: Record, call: Call) -> Taint:
    """Values moved about: whatever they are, they stay; the factors of products move along."""
    looks_up = call.name in operations.LOOKUPS and call.taints[0].weight
    if looks_up and any(taint.image for taint in call.taints[1:]):
        return unknown(record, call)
    if call.mixes:
        record.use(call.sources)
    if not call.function.is_view:
        remember(record, call.result, linear_in(record, call.images))
        _move_labels(record, call)
    return union(call)


def _move_labels(record: Record, call: Call) -> None:
    """Move labels as an operation moved values: those of what is no image are 0."""
    if record.shadows is None or not call.images:
        return
    if call.name == "copy":
        labels = record.labels_of(call.tensors[1]) if call.taints[1].image else None
        if labels is not None:
            shape = call.result.shape
            record.set_labels(call.result, labels.mapped(lambda each: each.expand(shape)))
        return
    if call.function._schema.is_mutable or call.name in _WRITES:
        _write_labels(record, call)
        return
    parts = list(tensors_in(call.arguments[:1]))
    each_labels = [_labels_or_none(record, call, part) for part in parts]
    listed = not isinstance(call.arguments[0], Tensor)
    try:
        moved = [
            call.again([each[number] for each in each_labels] if listed else each_labels[0][number])  # type: ignore[arg-type]
            for number in range(5)
        ]
    except (RuntimeError, TypeError, IndexError):  # a form that takes no labels: nowhere known
        for out in tensors_in(call.out):
            record.set_labels(out, replace(fresh(out), place=torch.zeros(out.shape).double()))
        return
    outs = [list(tensors_in(each)) for each in (call.out, *moved)]
    for out, *new in zip(*outs, strict=True):
        record.set_labels(out, Labels(*(each.to(torch.float64) for each in new)))


def _write_labels(record: Record, call: Call) -> None:
    """Write labels where an operation wrote values; what finds the places stays as it is."""
    written: list[Tensor] = []
    for number in range(5):

        def label(value: Any, number: int = number) -> Any:
            if isinstance(value, Tensor) and value.is_floating_point():
                return _labels_or_none(record, call, value)[number].clone()
            return value

        arguments = [label(each) for each in call.arguments]
        try:
            written += tensors_in(call.function(*arguments, **call.named))
        except RuntimeError:  # a form of writing that takes no labels
            return
    if len(written) == 5 and written[0].shape == call.result.shape:
        record.set_labels(call.result, Labels(*written))


def _labels_or_none(record: Record, call: Call, part: Tensor) -> list[Tensor]:
    """The labels of one part; zeros for what is computed from no images."""
    labels = record.labels_of(part) if call.taint(part).image else None
    if labels is not None:
        return labels.all()
    return [torch.zeros(part.shape, dtype=torch.float64)] * 5
