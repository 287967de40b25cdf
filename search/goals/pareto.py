"""The goal `pareto`: the front of accuracy and parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from search.goals.goal import Common, Direction
from search.looks import Judged


@dataclass(frozen=True, slots=True)
class Pareto(Common):
    """The designs that no other beats in both validation loss and parameters."""

    directions: tuple[Direction, ...] = ("minimize", "minimize")
    size: bool = True

    def values(self, design: Judged, loss: float) -> tuple[float, ...]:
        """The logs of the loss and of the number of parameters."""
        return (math.log(loss), math.log(design.parameters))
