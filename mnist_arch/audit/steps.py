"""Steps that several kinds of operation share."""

from __future__ import annotations

from torch import Tensor

from mnist_arch.audit import operations, products
from mnist_arch.audit.fields import Field, merged
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
    pending = [record.product_of(each) for each in call.images]
    adds = call.name in operations.SUMS_BY_INDEX
    hidden = any(each and each.scales and (adds or each.fans_out) for each in pending)
    if image and (call.sources or hidden):
        text = record.label(f"operation {call.name}")
        record.find("unknown", f"{text}: mixes weights with images in a way that no rule can judge")
        record.add_layer(call.name, call.result, Taint(True), call.sources)
        return Taint(True)
    return union(call).without_field()


def multiply(
    record: Record, out: Tensor, images: list[Tensor], weights: list[Tensor], scales: bool
) -> None:
    """Remember the factors of a product."""
    if record.distinct and weights:
        pending = [(each, record.product_of(each)) for each in images]
        pending.sort(key=lambda pair: (pair[1] is None, -pair[0].numel()))
        record.set_product(out, products.of_factors(out, pending, weights, scales))


def sum_up(record: Record, tensor: Tensor, axes: list[int]) -> products.Product | None:
    """Look whether a sum completes a matrix product; returns the product that was summed."""
    product = record.product_of(tensor)
    if product is None:
        return None
    sizes = products.matrix_in(product, axes)
    if sizes is not None:
        record.find(
            "linear", record.label(f"linear {sizes[0]:,} -> {sizes[1]:,}, multiplied and added")
        )
    return product
