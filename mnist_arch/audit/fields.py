"""Receptive fields along a trace, where they can be told; as `mnist_arch.plan` counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Field:
    """A square map: the pixels a side that one value can see, their stride, the map's side."""

    reach: int
    jump: int
    side: int

    def window(
        self, shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
        dilation: Sequence[int], out_side: int,
    ) -> Field | None:  # fmt: skip
        """After a window moves over a map of `shape` (rows, columns), which may be flattened."""
        if set(shape) != {self.side}:
            return self.whole(out_side) if self.covers(shape, kernel) else None
        if len({*kernel}) > 1 or len({*stride}) > 1 or len({*dilation}) > 1:
            return None
        grown = self.reach + (kernel[0] - 1) * dilation[0] * self.jump
        return Field(grown, self.jump * stride[0], out_side)

    def covers(self, shape: Sequence[int], kernel: Sequence[int]) -> bool:
        """Whether a window of a flattened map holds all of the map."""
        return all(extent >= side for extent, side in zip(kernel, shape, strict=False))

    def whole(self, out_side: int = 1) -> Field:
        """After something that sees the whole map."""
        return Field(self.reach + (self.side - 1) * self.jump, self.jump, out_side)


def merged(fields: Sequence[Field | None]) -> Field | None:
    """Of values computed from several maps: the widest, where they lie on one grid."""
    known = [field for field in fields if field is not None]
    if not known or len(known) < len(fields) or len({(f.jump, f.side) for f in known}) > 1:
        return None
    return replace(known[0], reach=max(field.reach for field in known))
