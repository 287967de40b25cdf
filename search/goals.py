"""Goals: what a study optimises. A goal of your own: one entry in `GOALS`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mnist_arch.plan import Plan
from mnist_arch.rules import Rejection
from mnist_arch.training import EpochRecord

Direction = Literal["maximize", "minimize"]


class Goal(Protocol):
    """What Optuna is told of a trained design, and in which order designs that pass are ranked."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Of each value that Optuna is told."""

    @property
    def words(self) -> str:
        """What the leaderboard is ranked by, in words."""

    @property
    def order(self) -> tuple[tuple[str, bool], ...]:
        """Columns of `trials.csv` that rank designs, each with whether it ascends, best first.

        The last resort is `trial`, so that equal tables give equal ranks.
        """

    def values(self, plan: Plan, epochs: Sequence[EpochRecord]) -> tuple[float, ...]:
        """What Optuna is told of a design after its full training."""

    def constraints(self, rejections: Sequence[Rejection]) -> dict[str, float]:
        """What Optuna is told of a proposal before it is trained: above zero is infeasible."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The highest validation accuracy after the last epoch, within the rules."""

    directions: tuple[Direction, ...] = ("maximize",)
    words: str = "validation accuracy after the last epoch"
    order: tuple[tuple[str, bool], ...] = (
        ("validation_accuracy", False),
        ("parameters", True),
        ("trial", True),
    )

    def values(self, plan: Plan, epochs: Sequence[EpochRecord]) -> tuple[float, ...]:
        """The accuracy, a share in [0, 1]."""
        return (epochs[-1].validation_accuracy,)

    def constraints(self, rejections: Sequence[Rejection]) -> dict[str, float]:
        """By how much a proposal breaks the rules, relative to each limit."""
        broken = {r.limit: abs(r.counted - r.allowed) / max(r.allowed, 1) for r in rejections}
        parameters = broken.pop("parameters", 0.0)
        return {"parameters": parameters, "structure": sum(broken.values())}


GOALS: dict[str, Goal] = {"accuracy": Accuracy()}
"""Goals by the names that `--goal` takes."""
