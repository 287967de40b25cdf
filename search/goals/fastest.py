"""The goal `fastest`: the fewest epochs that pass; the length of a training is proposed, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.goals.goal import Common, Order, is_hopeless
from search.looks import Judged


@dataclass(frozen=True, slots=True)
class Fastest(Common):
    """The fewest epochs of a full training after which a design passes."""

    words: str = "fewest epochs"
    order: Order = (
        ("epochs", True),
        ("validation_accuracy", False),
        ("parameters", True),
        ("trial", True),
    )
    lengths: tuple[int, int] | None = (2, 8)
    length: bool = True

    def why_unwanted(
        self, design: Judged, loss: float, passed: Sequence[Judged], target: float
    ) -> str:
        """Not longer than the shortest training that passes, and near the target."""
        shortest = min((other.epochs for other in passed), default=None)
        if shortest is not None and design.epochs > shortest:
            return f"longer than one that passes ({shortest} epochs)"
        return "too far from the target" if is_hopeless(design, loss, target) else ""
