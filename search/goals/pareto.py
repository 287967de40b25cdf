"""The goal `pareto`: the front of accuracy and parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.goals.goal import HOPELESS, Common, Direction, is_hopeless
from search.looks import LONG, Judged

UNSURE = 0.1
"""By what share a predicted loss may be too high after a look of less than `LONG` epochs: about as
much as it errs after one of 3, and a shorter one errs more."""

FAR = 1.75
"""How many times the loss of a design at the target is too much to be trained further after such a
look; after a longer one a third more is too much, as for other goals. At 99.4 % that is about 99.0
and about 99.2 %."""


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
        """Beaten in both by a design that passes; or, once one passes, far from the target.

        What a look of less than `LONG` epochs says is doubted first; after a longer one the full
        training is next, and only a design that is expected to be better is worth it: of the 43
        full trainings of `results/default-0` and `default-1`, three quarters of their epochs, this
        would have ended 15.
        """
        short = design.longest is None or design.longest.epochs < LONG
        doubt = UNSURE if short else 0.0
        for other in passed:
            assert other.full is not None
            if other.parameters <= design.parameters and other.full.loss < (1 - doubt) * loss:
                return (
                    f"one that passes has {other.parameters:,} parameters and a lower loss than is "
                    "expected of it"
                )
        far = FAR if short else HOPELESS
        return (
            "too far from the target" if passed and is_hopeless(design, loss, target, far) else ""
        )
