"""Running: a design in training: which training it is at, and what it has shown so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import optuna

from mnist_arch.design import Design
from mnist_arch.epochs import EpochRecord
from mnist_arch.references import BASELINE
from search.looks import Judged
from search.loop.proposals import Proposal
from search.record import LookRecord
from search.seeds import trial_seed
from search.task import Budget, Epoch, Result


@dataclass(slots=True)
class RunningTrial:
    """A design in training, and the trials that propose the same.

    `seed_number` is the number that its seeds follow from. `budget` is that of the training it is
    at, None before the first. `reported` are the epochs that Optuna knows of, also from an attempt
    that was cut short; `looks` are the complete trainings before this one.
    """

    proposal: Proposal
    seed_number: int
    reported: set[int]
    looks: list[LookRecord]
    budget: Budget | None = None
    worker: str = ""
    epochs: list[Epoch] = field(default_factory=list)
    duplicates: list[optuna.Trial] = field(default_factory=list)

    @property
    def trial(self) -> optuna.Trial:
        """Its trial."""
        return self.proposal.trial

    @property
    def design(self) -> Design:
        """What is trained."""
        return self.proposal.design

    @property
    def is_baseline(self) -> bool:
        """Whether it is the assignment's own design, which is trained in full at once."""
        return self.design == BASELINE

    @property
    def counts(self) -> bool:
        """Whether it has been, or is being, trained for at least a whole epoch."""
        lengths = [look.length for look in self.looks]
        if self.budget is not None:
            lengths.append(self.budget.length)
        return any(length >= 1 for length in lengths)

    @property
    def judged(self) -> Judged:
        """It as goals and schedules see it."""
        walked = self.proposal.plan
        assert walked is not None
        looks = tuple(look.look for look in self.looks)
        return Judged(walked.parameters, self.proposal.epochs, looks)

    def seed(self, study_seed: int) -> int:
        """The seed of the training that it is at; each look has its own."""
        if self.budget is None or self.budget.look is None:
            return trial_seed(study_seed, self.seed_number, "training")
        return trial_seed(study_seed, self.seed_number, "look", len(self.looks))

    def keep_look(self, result: Result, study_seed: int) -> None:
        """Note a look that has ended."""
        assert self.budget is not None
        assert self.budget.look is not None
        epochs: tuple[EpochRecord, ...] = result.epochs
        self.looks.append(LookRecord(self.budget.look, self.seed(study_seed), epochs))
