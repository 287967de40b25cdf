"""Layers with weights: products of matrices, convolutions, normalisations."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mnist_arch.audit import operations, sums
from mnist_arch.audit.averages import linear_in, remember
from mnist_arch.audit.fields import merged
from mnist_arch.audit.geometry import Geometry
from mnist_arch.audit.labels import mixed, of_weights
from mnist_arch.audit.mixing import meet, sum_up, union, unknown
from mnist_arch.audit.record import Call, Record, Suspect
from mnist_arch.audit.sliding import place_rows, slides
from mnist_arch.audit.taint import Taint, is_plain_pooling, tensors_in
from mnist_arch.rules import disguise, disguise_of_one


def matrix(record: Record, call: Call) -> Taint:
    """A product of matrices: a fully connected layer unless its weights slide over places."""
    places = operations.MATRIX[call.name]
    factors = [call.arguments[place] for place in places]
    weights = [each for each in factors if call.taint(each).weight and not is_plain_pooling(each)]
    images = [each for each in factors if call.taint(each).image and not _among(each, weights)]
    if not any(call.taint(each).image for each in factors):
        return union(call)
    if not weights and len(images) == 2:
        weights, images = _hidden(record, images)
    macs = call.result.numel() * factors[0].shape[-1]
    field = merged([call.taint(each).field for each in images])
    taint = Taint(True, field=field.whole() if field else None)
    if weights and images:
        sizes = _sizes(factors, weights[0], call.name)
        label = record.label(sizes)
        if slides(record, call, factors, images[0], weights[0], label):
            sizes, taint = f"{sizes}, sliding", taint.without_field()
        else:
            record.find("linear", label)
        record.add_layer(sizes, call.result, taint, call.sources, macs)
        return taint
    for factor, axis in zip(factors[:2], (-1, -2), strict=False):
        sum_up(record, factor, {factor.dim() + axis if factor.dim() > 1 else 0})
    place_rows(record, factors, call.result)
    record.add_layer("matrix product", call.result, taint, frozenset(), macs)
    return taint


def _hidden(record: Record, images: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The weights among two factors, where one of both is weights that images have touched."""
    for weights, other in (images, images[::-1]):
        labels = record.labels_of(weights)
        if labels is not None and weights.dim() > 1 and sums.is_own_weights(labels):
            return [weights], [other]
    return [], images


def _among(tensor: Tensor, tensors: list[Tensor]) -> bool:
    return any(tensor is each for each in tensors)


def _sizes(factors: list[Tensor], weight: Tensor, name: str) -> str:
    """`linear 490 -> 10`: what goes in and comes out of a matrix of weights."""
    if name == "_trilinear":
        return (
            f"bilinear {factors[0].shape[-1]:,} x {factors[2].shape[-1]:,} -> {weight.shape[0]:,}"
        )
    if weight.dim() < 2:
        return f"linear {weight.shape[0]:,} -> 1"
    rows, columns = weight.shape[-2:]
    inputs, outputs = (columns, rows) if weight is factors[0] else (rows, columns)
    return f"linear {inputs:,} -> {outputs:,}"


def convolution(record: Record, call: Call) -> Taint:
    """A convolution; one that sees its whole map at once computes a fully connected layer."""
    images, weight = call.arguments[:2]
    if not any(taint.image for taint in call.taints):
        return union(call)
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
    elif call.taint(weight).weight and geometry.connects_fully(
        images, call.result, record.distinct
    ):
        record.find("disguise", disguise(label, images.shape[2:]))
    else:
        _suspect(record, call, geometry, label)
    if images.dim() and (images.shape[1] > geometry.groups or max(geometry.kernel) > 1):
        sum_up(record, images, set(range(1, images.dim())), lone=False)
    if geometry.inputs_of_a_group == 1:
        _label_channels(record, geometry, images, weight, call.result)
    macs = geometry.macs(images, call.result)
    record.add_layer(geometry.text, call.result, taint, call.sources, macs)
    return taint


def _label_channels(
    record: Record, geometry: Geometry, images: Tensor, weight: Tensor, out: Tensor
) -> None:
    """Label what a depthwise convolution makes where it only scales or pools each channel."""
    labels = record.labels_of(images)
    pools = out[0, 0].numel() == 1
    if labels is None or not (pools or images.shape == out.shape):
        return
    if max(geometry.kernel) > 1 and not pools:
        return
    times = geometry.channels_out // geometry.groups
    if pools:
        labels = sums.added(labels, set(range(2, images.dim())))
    labels = labels.mapped(lambda each: each.repeat_interleave(times, 1).expand(out.shape))
    own = of_weights(weight).flatten(1).sum(1).reshape(1, -1, *[1] * (out.dim() - 2))
    met = mixed([labels.weight, own]).expand(out.shape)
    record.set_labels(out, replace(labels, weight=met, scales=torch.ones_like(met)))


def _suspect(record: Record, call: Call, geometry: Geometry, label: str) -> None:
    """Keep a convolution until it is known how many of its places are read."""
    images, out = call.arguments[0], call.result
    count = out[0, 0].numel()
    sides = images.shape[2:]
    slim = max(geometry.kernel) == 1 and geometry.groups == 1
    if slim:
        before = linear_in(record, [images])
        remember(record, out, before | ({label} if images[0, 0].numel() > 1 else set()))
    if count > 1 and call.taint(call.arguments[1]).weight and not geometry.pools_each_channel:
        places = torch.arange(count).reshape(out.shape[2:]).expand(out.shape)
        whole = geometry.whole_places(images, out)
        text = disguise_of_one(label, sides)
        record.suspects.append(Suspect(record.calls, call.name, places, whole, "disguise", text))


def norm(record: Record, call: Call) -> Taint:
    """A normalisation: its statistics are no weights, its scale and shift are, one by one."""
    images, weights = call.arguments[0], [each for each in call.arguments[1:5] if each is not None]
    weights = [each for each in tensors_in(weights) if call.taint(each).weight]
    if not call.taint(images).image:
        return unknown(record, call) if any(taint.image for taint in call.taints) else union(call)
    statistics = call.arguments[3:5] if "batch_norm" in call.name else ()
    own = {
        id(each)
        for each in statistics
        if isinstance(each, Tensor) and _is_buffer(record, call, each)
    }
    counted = [call.taint(each).sources for each in weights if id(each) not in own]
    per_batch = "batch_norm" in call.name
    per_channel = call.name not in ("native_layer_norm", "_fused_rms_norm")
    spread = [1, -1, *[1] * (images.dim() - 2)]
    shaped = [each.reshape(spread) if per_channel else each for each in weights]
    meet(record, call.result, [images], shaped, adds=False)
    remember(record, call.result, linear_in(record, [images]) if per_batch else frozenset())
    taint = Taint(True, field=call.taint(images).field if per_batch else None)
    words = next(word for word in ("batch", "group", "layer", "rms") if word in call.name)
    used = frozenset[int]().union(*counted)
    record.add_layer(f"{words} norm", call.result, taint, used)
    return taint


def _is_buffer(record: Record, call: Call, tensor: Tensor) -> bool:
    kinds = {record.ledger.sources[number].kind for number in call.taint(tensor).sources}
    return kinds == {"buffer"}
