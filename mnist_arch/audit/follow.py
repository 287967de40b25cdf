"""Follow: what each operation makes of images and weights, and what the rules care about in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mnist_arch.audit import operations, products
from mnist_arch.audit.fields import merged
from mnist_arch.audit.geometry import Geometry
from mnist_arch.audit.taint import NOTHING, Source, Taint, is_plain_pooling, tensors_in
from mnist_arch.audit.trace import Call, Record
from mnist_arch.rules import disguise

_ADDS = {"add", "sub", "rsub"}
_DRAWN = Source("weights drawn at random", "drawn", 0)


def follow(record: Record, call: Call) -> Taint:
    """What the outputs of an operation derive from; findings and layers go into the record."""
    random = torch.Tag.nondeterministic_seeded in call.function.tags
    if call.name in operations.SHAPES_ONLY or (random and not any(t.image for t in call.taints)):
        return _drawn(record, call) if random else NOTHING
    if call.name in operations.MATRIX:
        return _matrix(record, call)
    if call.name in operations.CONVOLUTIONS:
        return _convolution(record, call)
    if call.name in operations.NORMS:
        return _norm(record, call)
    if call.name in operations.SUMS | operations.EXTREMES:
        return _reduction(record, call)
    if call.name in operations.POOLS:
        return _pool(record, call)
    if call.function.is_view or call.name in operations.MOVEMENTS:
        return _movement(record, call)
    if torch.Tag.pointwise in call.function.tags or call.name in operations.POINTWISE:
        return _pointwise(record, call)
    return _other(record, call)


def _union(call: Call) -> Taint:
    """What derives from all arguments alike; a layer's output is no weight any more."""
    image = any(taint.image for taint in call.taints)
    activation = any(taint.activation for taint in call.taints)
    return Taint(image, frozenset() if activation else call.sources, _field(call))


def _field(call: Call) -> Any:
    return merged([taint.field for taint in call.taints if taint.image])


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


def _matrix(record: Record, call: Call) -> Taint:
    """A product of matrices: a fully connected layer where images meet a matrix of weights."""
    places = operations.MATRIX[call.name]
    factors = [call.arguments[place] for place in places]
    weights = [each for each in factors if call.taint(each).weight and not is_plain_pooling(each)]
    images = [each for each in factors if call.taint(each).image and not _among(each, weights)]
    if not any(call.taint(each).image for each in factors):
        return _union(call)
    macs = call.result.numel() * factors[0].shape[-1]
    field = merged([call.taint(each).field for each in images])
    taint = Taint(True, field=field.whole() if field else None)
    if weights and images:
        sizes = _sizes(factors, weights[0], call.name)
        record.find("linear", record.label(sizes))
        record.add_layer(sizes, call.result, taint, call.sources, macs)
        return taint
    for factor, axis in zip(factors[:2], (-1, -2), strict=False):
        _sum_up(record, factor, [axis if factor.dim() > 1 else -1])
    record.add_layer("matrix product", call.result, taint, frozenset(), macs)
    return taint


def _among(tensor: Tensor, tensors: list[Tensor]) -> bool:
    return any(tensor is each for each in tensors)


def _sizes(factors: list[Tensor], weight: Tensor, name: str) -> str:
    """`linear 490 -> 10`: what goes in and comes out of a matrix of weights."""
    if name == "_trilinear":
        return f"bilinear {factors[0].shape[-1]:,} x {factors[2].shape[-1]:,} -> {weight.shape[0]:,}"
    if weight.dim() < 2:
        return f"linear {weight.shape[0]:,} -> 1"
    rows, columns = weight.shape[-2:]
    inputs, outputs = (columns, rows) if weight is factors[0] else (rows, columns)
    return f"linear {inputs:,} -> {outputs:,}"


def _convolution(record: Record, call: Call) -> Taint:
    """A convolution; one that sees its whole map at once computes a fully connected layer."""
    images, weight = call.arguments[:2]
    if not any(taint.image for taint in call.taints):
        return _union(call)
    geometry = Geometry.of(weight, call.arguments)
    field = call.taint(images).field
    if field and not geometry.transposed:
        side = call.result.shape[-1]
        field = field.window(
            images.shape[2:], geometry.kernel, geometry.stride, geometry.dilation, side
        )
    taint = Taint(True, field=None if geometry.transposed else field)
    label = record.label(geometry.text)
    if call.taint(images).weight and call.taint(weight).image:
        record.find("linear", f"{label[:-1]}, weights convolved with images)")
    elif call.taint(weight).weight and geometry.connects_fully(images, call.result, record.distinct):
        record.find("disguise", disguise(label, images.shape[2:]))
    _fan_in(record, images)
    macs = geometry.macs(images, call.result)
    record.add_layer(geometry.text, call.result, taint, call.sources, macs)
    return taint


def _norm(record: Record, call: Call) -> Taint:
    """A normalisation: its statistics are no weights, its scale and shift are, one by one."""
    images, weights = call.arguments[0], [each for each in call.arguments[1:5] if each is not None]
    weights = [each for each in tensors_in(weights) if call.taint(each).weight]
    if not call.taint(images).image:
        return _other(record, call) if any(taint.image for taint in call.taints) else _union(call)
    statistics = call.arguments[3:5] if "batch_norm" in call.name else ()
    own = {id(each) for each in statistics if isinstance(each, Tensor) and _is_buffer(record, call, each)}
    counted = [call.taint(each).sources for each in weights if id(each) not in own]
    per_channel = call.name not in ("native_layer_norm", "_fused_rms_norm")
    spread = [1, -1, *[1] * (images.dim() - 2)]
    shaped = [each.reshape(spread) if per_channel else each for each in weights]
    _multiply(record, call.result, [images], shaped, scales=False)
    local = "batch_norm" in call.name
    taint = Taint(True, field=call.taint(images).field if local else None)
    words = next(word for word in ("batch", "group", "layer", "rms") if word in call.name)
    used = frozenset[int]().union(*counted)
    record.add_layer(f"{words} norm", call.result, taint, used)
    return taint


def _is_buffer(record: Record, call: Call, tensor: Tensor) -> bool:
    kinds = {record.ledger.sources[number].kind for number in call.taint(tensor).sources}
    return kinds == {"buffer"}


def _pointwise(record: Record, call: Call) -> Taint:
    """Something done value by value."""
    taint = _union(call)
    weights = _solid(record, call)
    if call.images and weights:
        _multiply(record, call.result, call.images, weights, call.name not in _ADDS)
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


def _multiply(
    record: Record, out: Tensor, images: list[Tensor], weights: list[Tensor], scales: bool
) -> None:
    """Remember the factors of a product."""
    if record.distinct and weights:
        pending = [(each, record.product_of(each)) for each in images]
        pending.sort(key=lambda pair: (pair[1] is None, -pair[0].numel()))
        record.set_product(out, products.of_factors(out, pending, weights, scales))


def _line_of_new(record: Record, call: Call) -> None:
    """Add a line for an operation that is the first to use some weights."""
    known = {record.ledger.sources[number] for number in record.used}
    if any(record.ledger.sources[number] not in known for number in call.sources):
        taint = Taint(True, field=_field(call))
        record.add_layer(call.name.strip("_").replace("_", " "), call.result, taint, call.sources)


def _movement(record: Record, call: Call) -> Taint:
    """Values moved about: whatever they are, they stay; the factors of products move along."""
    if call.name in operations.LOOKUPS and call.taints[0].weight:
        if any(taint.image for taint in call.taints[1:]):
            return _other(record, call)
    if call.mixes:
        record.use(call.sources)
    parts = list(tensors_in(call.arguments[:1]))
    pending = [record.product_of(part) for part in parts]
    if any(pending) and record.distinct and not call.function._schema.is_mutable:
        _move_products(record, call, parts, pending)
    return _union(call)


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


def _reduction(record: Record, call: Call) -> Taint:
    """Values added up or compared along some dimensions."""
    if call.mixes:
        return _other(record, call)
    images, out = call.tensors[0], call.result
    taint = _union(call)
    if not taint.image:
        return taint
    axes = _axes(call, images.dim())
    if images.dim() == 4 and taint.field is not None and axes & {2, 3}:
        there = {2, 3} <= axes and set(images.shape[2:]) == {taint.field.side}
        taint = replace(taint, field=taint.field.whole() if there else None)
        record.add_layer(f"{call.name} of each map", out, taint, frozenset())
    if call.name in operations.SUMS:
        product = _sum_up(record, images, list(axes))
        if product and call.name in ("sum", "mean") and products.lasts(product):
            record.set_product(out, product.mapped(call.again))
    return taint


def _axes(call: Call, rank: int) -> set[int]:
    """The dimensions that a reduction runs along."""
    given = call.named.get("dim", call.arguments[1] if len(call.arguments) > 1 else None)
    if call.name in ("linalg_vector_norm", "norm", "var", "std") and len(call.arguments) > 2:
        given = call.arguments[2]
    if given is None or given == [] or not isinstance(given, int | list | tuple):
        return set(range(rank))
    return {axis % max(rank, 1) for axis in ([given] if isinstance(given, int) else given)}


def _sum_up(record: Record, tensor: Tensor, axes: list[int]) -> products.Product | None:
    """Look whether a sum completes a matrix product; returns the product that was summed."""
    product = record.product_of(tensor)
    if product is None:
        return None
    sizes = products.matrix_in(product, axes)
    if sizes is not None:
        record.find("linear", record.label(f"linear {sizes[0]:,} -> {sizes[1]:,}, multiplied and added"))
    return product


def _fan_in(record: Record, tensor: Tensor) -> None:
    """Look whether a convolution adds up a product that fans out."""
    product = record.product_of(tensor)
    if product is not None and product.fans_out:
        fan = products.varying(product.weight) - products.varying(product.image)
        _sum_up(record, tensor, [axis for axis in range(1, tensor.dim()) if axis not in fan])


def _pool(record: Record, call: Call) -> Taint:
    """A pool: a window's largest or average value."""
    images, taint = call.tensors[0], _union(call)
    if call.mixes or not taint.image:
        return _other(record, call)
    if call.name in operations.AVERAGES:
        _sum_up(record, images, [-1, -2])
    field = taint.field
    if field is not None:
        field = _pooled(call, images, field)
    taint = replace(taint, field=field)
    record.add_layer(_pool_words(call), call.result, taint, frozenset())
    return taint


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
    stride = list(call.arguments[2]) if len(call.arguments) > 2 and call.arguments[2] else kernel
    dilation = call.arguments[4] if "max" in call.name and len(call.arguments) > 4 else [1, 1]
    return field.window(images.shape[-2:], kernel, stride, dilation, side)


def _other(record: Record, call: Call) -> Taint:
    """Anything else: where images meet weights in it, nobody can vouch for it."""
    if any(taint.image for taint in call.taints) and call.sources:
        text = record.label(f"operation {call.name}")
        record.find("unknown", f"{text}: mixes weights with images in a way that no rule can judge")
        record.add_layer(call.name, call.result, Taint(True), call.sources)
        return Taint(True)
    return _union(call).without_field()
