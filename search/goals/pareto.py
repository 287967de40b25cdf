"""The goal `pareto`: the front of accuracy and parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.goals.goal import Common, Direction, is_hopeless
from search.looks import Judged

UNSURE = 0.1
"""By what share a predicted loss may be too high: about its error after a look of 3 epochs."""

FAR = 1.75
"""How many times the loss of a design at the target is too much to be trained further."""


@dataclass(frozen=True, slots=True)
class Pareto(Common):
    """The designs that no other beats in both validation loss and parameters.

    Looks keep this front: they compare designs of like size, so that the line along which sizes are
    compared decides little. By shares of all sizes along that line two of the studies
    `results/seed-0` to `seed-4` trained no design of 4,000 parameters or fewer in full.
    """

    directions: tuple[Direction, ...] = ("minimize", "minimize")
    size: bool = True
    keeps_front: bool = True

    def values(self, design: Judged, loss: float) -> tuple[float, ...]:
        """The logs of the loss and of the number of parameters."""
        return (math.log(loss), math.log(design.parameters))

    def why_unwanted(
        self, design: Judged, loss: float, passed: Sequence[Judged], target: float
    ) -> str:
        """Beaten in both by a design that passes, by more in loss than a prediction may err.

        Or, once one passes, far from the target: at 99.4 %, below about 99 %.
        """
        for other in passed:
            assert other.full is not None
            if other.parameters <= design.parameters and other.full.loss < (1 - UNSURE) * loss:
                return (
                    f"one that passes has {other.parameters:,} parameters and a lower loss than is "
                    "expected of it"
                )
        return (
            "too far from the target" if passed and is_hopeless(design, loss, target, FAR) else ""
        )
