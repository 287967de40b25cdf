"""Goal: what every goal says, and what they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mnist_arch.rules import Rejection
from search.looks import Judged

Direction = Literal["maximize", "minimize"]

Order = tuple[tuple[str, bool], ...]

EPOCH_SLOPE = 0.30
"""By how much log loss falls when the log of a full training's epochs grows by 1: a rough guess."""

TARGET_LOSS_SHARE = 3.4
"""Validation loss in nats for each share of wrong answers near 99.4 %: a round figure; designs of
`results/first-light` between 99.34 and 99.46 % have 3.3 to 3.8."""

HOPELESS = 4 / 3
"""How many times the loss of a design at the target is too much: at 99.4 % about 99.2 %."""


def typical_loss(parameters: int) -> float:
    """The loss of a good design of so many parameters, as a multiple of that of a very large one.

    1 + 0.85 (2,000 / parameters)^1.9: quantile regressions of the log loss (the lowest quarter, and
    the median) over all 153 designs of 1,447 to 19,935 parameters that studies in `results` had
    trained for 19 epochs by then, to a validation loss below 0.06, gave 0.84 and 0.83, 1.93 and
    1.93. Below 3,000 parameters each is worth much, above 10,000 hardly anything.
    """
    return 1 + 0.85 * float((2_000 / parameters) ** 1.9)


class Goal(Protocol):
    """What Optuna is told of a design, who goes on, and how designs that pass are ranked."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Of each value that Optuna is told."""

    @property
    def words(self) -> str:
        """What the leaderboard is ranked by, in words."""

    @property
    def order(self) -> Order:
        """Columns of `trials.csv` that rank designs, each with whether it ascends, best first.

        The last resort is `trial`, so that equal tables give equal ranks.
        """

    @property
    def keeps_front(self) -> bool:
        """Whether looks keep the front of loss and size: see `search.schedules.Looks`."""

    @property
    def lengths(self) -> tuple[int, int] | None:
        """The fewest and most epochs of a full training, where that is proposed; else None."""

    def values(self, design: Judged, loss: float) -> tuple[float, ...]:
        """What Optuna is told of a design whose full training has, or is expected to have, `loss`.

        `loss` is a validation loss in nats.
        """

    def merit(self, design: Judged, loss: float) -> float:
        """One number that compares designs for this goal: lower is better."""

    def why_unwanted(
        self, design: Judged, loss: float, passed: Sequence[Judged], target: float
    ) -> str:
        """Why a design need not be trained further, whatever its merit; nothing if it may be.

        `passed` are the designs that pass so far, each with the loss that another seed of its full
        training is expected to have; `target` is the validation accuracy to reach.
        """

    def constraints(self, rejections: Sequence[Rejection]) -> dict[str, float]:
        """What Optuna is told of a proposal before it is trained: above zero is infeasible."""


@dataclass(frozen=True, slots=True)
class Common:
    """What the goals of this package share: log loss at a size and a length compared with others'.

    Designs of different sizes are compared by how their loss lies to the typical one of their size,
    and those of different lengths along loss ~ epochs^-b: `size` and `length` say whether a goal
    does so.
    """

    directions: tuple[Direction, ...] = ("minimize",)
    words: str = "validation accuracy after the last epoch"
    order: Order = (("validation_accuracy", False), ("parameters", True), ("trial", True))
    lengths: tuple[int, int] | None = None
    size: bool = False
    length: bool = False
    keeps_front: bool = False

    def values(self, design: Judged, loss: float) -> tuple[float, ...]:
        """The merit."""
        return (self.merit(design, loss),)

    def merit(self, design: Judged, loss: float) -> float:
        """Log loss, corrected for size and length where the goal asks for few of either."""
        merit = math.log(loss)
        if self.size:
            merit -= math.log(typical_loss(design.parameters))
        if self.length:
            merit += EPOCH_SLOPE * math.log(design.epochs / 4)
        return merit

    def why_unwanted(
        self, design: Judged, loss: float, passed: Sequence[Judged], target: float
    ) -> str:
        """Every design may be trained further."""
        return ""

    def constraints(self, rejections: Sequence[Rejection]) -> dict[str, float]:
        """By how much a proposal breaks the rules, relative to each limit."""
        broken = {r.limit: abs(r.counted - r.allowed) / max(r.allowed, 1) for r in rejections}
        parameters = broken.pop("parameters", 0.0)
        return {"parameters": parameters, "structure": sum(broken.values())}


def is_hopeless(design: Judged, loss: float, target: float, far: float = HOPELESS) -> bool:
    """Whether a design, expected to have this loss in nats, is far from the target accuracy.

    That is `far` times the loss that a design at the target has. A look of less than an epoch
    cannot tell.
    """
    if design.longest is None or design.longest.epochs < 1:
        return False
    return loss > far * TARGET_LOSS_SHARE * (1 - target)
