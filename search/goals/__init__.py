"""Goals: what a study optimises, one file each. A goal of your own: one entry in `GOALS`."""

from __future__ import annotations

from search.goals.accuracy import Accuracy
from search.goals.fastest import Fastest
from search.goals.goal import Direction, Goal
from search.goals.pareto import Pareto
from search.goals.smallest import Smallest

__all__ = ["GOALS", "Direction", "Goal", "lengths"]

GOALS: dict[str, Goal] = {
    "accuracy": Accuracy(),
    "smallest": Smallest(),
    "fastest": Fastest(),
    "pareto": Pareto(),
}
"""Goals by the names that `--goal` takes."""


def lengths(goal: str, full_epochs: int) -> tuple[int, int]:
    """The fewest and the most epochs of a full training: at most `full_epochs`."""
    least, most = GOALS[goal].lengths or (full_epochs, full_epochs)
    return min(least, full_epochs), min(most, full_epochs)
