"""Schedules: how much of a training a design gets, and who goes on. Yours: an entry in `SCHEDULES`.

A schedule says what is trained next, and is asked at the checkpoints of a training whether it
goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from search.config import StudyConfig
from search.evaluate import Budget, Result


class Schedule(Protocol):
    """Decides what training a design gets."""

    def next_budget(self, config: StudyConfig, results: Sequence[Result]) -> Budget | None:
        """What to train a design for after `results` so far; None: it is judged by the last one."""

    def stop_reason(
        self, epoch: int, accuracy: float, others: Sequence[Mapping[int, float]]
    ) -> str:
        """Why a training stops after a checkpoint; nothing if it goes on.

        `accuracy` is its validation accuracy after `epoch`; `others` are those of the other
        trainings of the study, by epoch.
        """


@dataclass(frozen=True, slots=True)
class Halving:
    """Asynchronous successive halving (Li et al., arXiv:1810.05934) on validation accuracy.

    After `first` epochs, and after each further multiple by `factor`, the best share of
    1 / `factor` goes on, the training asked about among them. A first rung of 2 would put the
    third one at 18 of 19 epochs, where stopping saves nothing. `python -m benchmarks.pruners`
    compares it with others.
    """

    first: int = 3
    factor: int = 3

    def next_budget(self, config: StudyConfig, results: Sequence[Result]) -> Budget | None:
        """One full training, asked about at each rung."""
        if results:
            return None
        epochs = config.full_epochs
        return Budget(epochs, config.train_images, self.rungs(epochs))

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """The epochs of a training, before its last, after which it is asked about."""
        rungs = []
        rung = self.first
        while rung < epochs:
            rungs.append(rung)
            rung *= self.factor
        return tuple(rungs)

    def stop_reason(
        self, epoch: int, accuracy: float, others: Sequence[Mapping[int, float]]
    ) -> str:
        """Stop a training that is not among the best share of those that came so far."""
        seen = sorted([accuracy, *(curve[epoch] for curve in others if epoch in curve)])
        go_on = max(len(seen) // self.factor, 1)
        if accuracy >= seen[-go_on]:
            return ""
        return f"below the best {_ordinal(self.factor)} after {epoch} epochs"


@dataclass(frozen=True, slots=True)
class Full:
    """Every design is trained to its last epoch, however poor it looks."""

    def next_budget(self, config: StudyConfig, results: Sequence[Result]) -> Budget | None:
        """One full training."""
        return None if results else Budget(config.full_epochs, config.train_images)

    def stop_reason(
        self, epoch: int, accuracy: float, others: Sequence[Mapping[int, float]]
    ) -> str:
        """Nothing is stopped."""
        return ""


def _ordinal(factor: int) -> str:
    return {2: "half", 3: "third"}.get(factor, f"1/{factor}")


SCHEDULES: dict[str, Schedule] = {"halving": Halving(), "none": Full()}
"""Schedules by name: `--no-pruning` is `none`."""
