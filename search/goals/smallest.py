"""The goal `smallest`: the fewest parameters that pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.goals.goal import Common, Order, is_hopeless
from search.looks import Judged


@dataclass(frozen=True, slots=True)
class Smallest(Common):
    """Find the boundary: the size at which the best designs just reach the target.

    Designs of all sizes are compared along the line that loss follows as networks grow, so that a
    good small design is a good parent before it passes. A whole training is spent only on designs
    smaller than the smallest that passes, and not far from the target.
    """

    words: str = "fewest parameters"
    order: Order = (("parameters", True), ("validation_accuracy", False), ("trial", True))
    size: bool = True

    def why_unwanted(
        self, design: Judged, loss: float, passed: Sequence[Judged], target: float
    ) -> str:
        """Smaller than the smallest that passes, and near the target."""
        smallest = min((other.parameters for other in passed), default=None)
        if smallest is not None and design.parameters >= smallest:
            return f"not smaller than one that passes ({smallest:,} parameters)"
        return "too far from the target" if is_hopeless(design, loss, target) else ""
