"""History: what a study has so far, and the one place where a trial ends.

A trial that ends is told to Optuna, then stands in the tables.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, TrialState

from search import record
from search.looks import Judged, Predictor
from search.record import TO_THE_END, TRAINED, TrialRecord
from search.storage import FINISHED, UNFINISHED
from search.storage.driver import Driver, Known
from search.tables.files import StudyFiles


@dataclass(slots=True)
class History:
    """The finished trials of a study, its own driver's and others'.

    `earlier` are designs of the study that it learns from, for its predictor alone.
    """

    driver: Driver
    files: StudyFiles
    earlier: Sequence[Judged] = ()
    _identities: dict[str, int] = field(default_factory=dict)
    _curves: dict[int, Mapping[int, float]] = field(default_factory=dict)
    _judged: list[Judged] = field(default_factory=list)
    _judged_trials: list[int] = field(default_factory=list)
    _passed: dict[int, Judged] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _counted: set[int] = field(default_factory=set)
    _known: Known = field(default_factory=Known)
    _predictor: Predictor | None = None

    @property
    def predictor(self) -> Predictor:
        """What predicts the end of a full training, from all designs that had one."""
        if self._predictor is None:
            own = [each for each in self._judged if each.full]
            self._predictor = Predictor([*self.earlier, *own])
        return self._predictor

    @property
    def looked(self) -> Sequence[Judged]:
        """The designs that had looks, in the order of their trials."""
        return self._judged

    @property
    def passed(self) -> list[Judged]:
        """The designs that pass."""
        return [self._passed[number] for number in sorted(self._passed)]

    def load(self) -> None:
        """Take over what the study has; its tables are then as its database is."""
        fresh = self._fresh()
        self.files.load([self._read(trial) for trial in fresh])
        self.files.rewrite()

    def finish(
        self, trial: optuna.Trial, state: TrialState, values: tuple[float, ...] | None = None
    ) -> TrialRecord | None:
        """End a trial; None if another driver has taken it over in the meantime."""
        if not self.driver.tell(trial, state, values):
            return None
        return self._add(self.driver.look(trial.number))

    def others(self) -> list[TrialRecord]:
        """What other drivers have finished since the last call, now in the tables too."""
        return [self._add(trial) for trial in self._fresh()]

    def original(self, identity: str) -> FrozenTrial | None:
        """The trial that trained this proposal before, or tried to; None if there is none."""
        number = self._identities.get(identity)
        return None if number is None else self.driver.look(number)

    def known(self) -> Known:
        """Below which number all trials are finished, and how many of them trained a design."""
        below, trained = self._known.below, self._known.trained
        while below in self._seen:
            trained += below in self._counted
            below += 1
        self._known = Known(below, trained)
        return self._known

    def other_curves(self, number: int) -> list[Mapping[int, float]]:
        """Validation accuracies by epoch of all other trainings, also of those in training."""
        unfinished = self.driver.study.get_trials(deepcopy=False, states=UNFINISHED)
        others = [other.intermediate_values for other in unfinished if other.number != number]
        return [*self._curves.values(), *others]

    def _fresh(self) -> list[FrozenTrial]:
        finished = self.driver.study.get_trials(deepcopy=False, states=FINISHED)
        return [trial for trial in finished if trial.number not in self._seen]

    def _add(self, trial: FrozenTrial) -> TrialRecord:
        found = self._read(trial)
        self.files.add(found)
        return found

    def _read(self, trial: FrozenTrial) -> TrialRecord:
        found = record.read(trial)
        self._seen.add(trial.number)
        if found.state in TRAINED:
            self._counted.add(trial.number)
        if found.state in TRAINED and found.epochs:
            self._curves[trial.number] = {e.epoch: e.validation_accuracy for e in found.epochs}
        if found.looks or found.state in TO_THE_END:
            self._judge(found)
        if found.state in (*TRAINED, "screened", "broken"):
            self._identities.setdefault(trial.user_attrs["identity"], trial.number)
        return found

    def _judge(self, found: TrialRecord) -> None:
        judged = found.judged(self.files.config.full_epochs)
        place = bisect(self._judged_trials, found.number)  # nearly always the end
        self._judged_trials.insert(place, found.number)
        self._judged.insert(place, judged)
        if found.state == "passed":
            self._passed[found.number] = judged
        if found.state in TO_THE_END:
            self._predictor = None
