"""Follow: what each operation makes of images and weights, and what the rules care about in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mnist_arch.audit import operations, products
from mnist_arch.audit.gathered import pool, reduction
from mnist_arch.audit.record import Call, Record
from mnist_arch.audit.steps import field_of, multiply, union, unknown
from mnist_arch.audit.taint import NOTHING, Source, Taint, tensors_in
from mnist_arch.audit.weighted import convolution, matrix, norm

_ADDS = {"add", "sub", "rsub"}
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
    if call.images and weights:
        multiply(record, call.result, call.images, weights, call.name not in _ADDS)
        _line_of_new(record, call)
        largest = max(each.numel() for each in weights)
        if call.result.numel() == largest > max(each.numel() for each in call.images):
            return replace(taint, sources=call.sources)  # weights, moved by something of the images
        return taint
    pending = [record.product_of(each) for each in call.images]
    found = [each for each in pending if each is not None]
    if call.name in _ADDS and sum(each.fans_out and each.scales for each in found) > 1:
        record.find("linear", record.label("columns of a matrix, scaled and added up"))
    if taint.image and found:
        shape = call.result.shape
        kept = found[0] if found[0].image.dim() == len(shape) else None
        record.set_product(call.result, kept and kept.mapped(lambda each: each.expand(shape)))
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
    parts = list(tensors_in(call.arguments[:1]))
    pending = [record.product_of(part) for part in parts]
    if any(pending) and record.distinct and not call.function._schema.is_mutable:
        _move_products(record, call, parts, pending)
    return union(call)


def _move_products(record: Record, call: Call, parts: list[Tensor], pending: list[Any]) -> None:
    listed = not isinstance(call.arguments[0], Tensor)
    whole = [
        each or products.Product(part.detach(), torch.ones(()).expand(part.shape), False)
        for part, each in zip(parts, pending, strict=True)
    ]
    images: Any = [each.image for each in whole]
    weights: Any = [each.weight for each in whole]
    scales = any(each.scales for each in whole)
    moved = [call.again(each if listed else each[0]) for each in (images, weights)]
    outs = [list(tensors_in(each)) for each in (call.out, *moved)]
    for out, image, weight in zip(*outs, strict=True):
        record.set_product(out, products.Product(image, weight, scales))
