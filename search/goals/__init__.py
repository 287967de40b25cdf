"""Goals: what a study optimises, one file each. A goal of your own: one entry in `GOALS`."""

from __future__ import annotations

from search.goals.accuracy import Accuracy
from search.goals.fastest import Fastest
from search.goals.goal import Direction, Goal
from search.goals.pareto import Pareto
from search.goals.smallest import Smallest

__all__ = ["GOALS", "Direction", "Goal"]

GOALS: dict[str, Goal] = {
    "accuracy": Accuracy(),
    "smallest": Smallest(),
    "fastest": Fastest(),
    "pareto": Pareto(),
}
"""Goals by the names that `--goal` takes."""
