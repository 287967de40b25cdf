"""Timed: the search's parts that a benchmark measures, their processor time counted by name."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.loop.running import RunningTrial
from search.record import TrialRecord
from search.tables.files import StudyFiles


@dataclass(slots=True)
class Clock:
    """Adds up seconds by name; a name within another counts for itself alone."""

    seconds: dict[str, float] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def under(self, name: str) -> Iterator[None]:
        """Count the time of a block."""
        if self._open:  # the outermost name has it all
            yield
            return
        self._open.append(name)
        start = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start
            self._open.pop()


class TimedSampler(BaseSampler):
    """A sampler whose time is counted."""

    def __init__(self, sampler: BaseSampler, clock: Clock) -> None:
        self._sampler, self._clock = sampler, clock

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """As the sampler does."""
        with self._clock.under("sampler"):
            self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the sampler does."""
        with self._clock.under("sampler"):
            return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the sampler does."""
        with self._clock.under("sampler"):
            return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # fmt: skip
        """As the sampler does."""
        with self._clock.under("sampler"):
            return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState,
        values: Sequence[float] | None,
    ) -> None:  # fmt: skip
        """As the sampler does."""
        with self._clock.under("sampler"):
            self._sampler.after_trial(study, trial, state, values)


class TimedFiles(StudyFiles):
    """A study's files whose time is counted."""

    clock: Clock

    def add(self, record: TrialRecord) -> None:
        """As `StudyFiles` does."""
        with self.clock.under("tables"):
            super().add(record)


class Nobody:
    """Is told of the search, and says nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def finished(self, trial: TrialRecord, trained: int) -> None:
        """Nothing."""

    def update(self, running: Sequence[RunningTrial], counts: object) -> None:
        """Nothing."""
