"""Constants: values that came through images, and yet are the same whatever the images are."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from mnist_arch.audit.record import Call, Record
from mnist_arch.audit.taint import Source, Taint

_HIDDEN = Source("weights that images do not change", "drawn", 0)
_SAME = 1e-3  # of the largest value


def unmoved(record: Record, call: Call, taint: Taint) -> Taint:
    """The taint of what an operation made: weights, where images do not change it at all."""
    if not record.distinct or not taint.activation or not isinstance(call.out, Tensor):
        return taint
    out = call.out
    if out.dim() < 2 or len(out) != record.batch or not out.is_floating_point():
        return taint
    largest, spread = out.abs().max(), (out - out[:1]).abs().max()
    if not bool(spread <= _SAME * largest) or bool((out[0] == out[0].flatten()[0]).all()):
        return taint
    record.ledger.sources.append(replace(_HIDDEN))
    return replace(taint, sources=frozenset({len(record.ledger.sources) - 1}))
