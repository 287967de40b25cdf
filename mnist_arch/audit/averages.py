"""Averages of 1x1 convolutions: the same matrix on the averaged map, W mean(x) = mean(W x)."""

from __future__ import annotations

from torch import Tensor

from mnist_arch.audit.labels import distinct
from mnist_arch.audit.record import Call, Record
from mnist_arch.audit.sums import added
from mnist_arch.audit.taint import memory_of
from mnist_arch.rules import average_disguise

_LINEAR = {"add", "sub", "rsub", "mul", "div", "neg", "native_dropout", "clone", "_to_copy"}


def linear_in(record: Record, tensors: list[Tensor]) -> frozenset[str]:
    """Labels of the 1x1 convolutions that some tensors are linear functions of."""
    return frozenset[str]().union(*(record.averaging.get(_key(each), ()) for each in tensors))


def remember(record: Record, tensor: Tensor, labels: frozenset[str]) -> None:
    """Note, or forget, what 1x1 convolutions a tensor is a linear function of."""
    record.averaging[_key(tensor)] = labels


def carry(record: Record, call: Call) -> None:
    """After an operation value by value: only what is linear, with one image, carries on."""
    adds = call.name in ("add", "sub", "rsub")
    keeps = call.name in _LINEAR and (adds or len(call.images) == 1)
    remember(record, call.result, linear_in(record, call.images) if keeps else frozenset())


def averaged(record: Record, images: Tensor, axes: set[int], out: Tensor) -> None:
    """Look whether an average over the whole map takes 1x1 convolutions with it."""
    found = linear_in(record, [images])
    labels = record.labels_of(images) if found else None
    if labels is None or distinct(labels.place) < 2 or bool(added(labels, axes).place.any()):
        remember(record, out, found)
        return
    shape = images.shape[2:] if images.dim() == 4 else (distinct(labels.place),)
    for label in sorted(found):
        record.find("disguise", average_disguise(label, shape))
    remember(record, out, frozenset())


def _key(tensor: Tensor) -> int:
    return memory_of(tensor) or 0
