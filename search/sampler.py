"""A sampler whose proposal in trial k follows from the study's seed, k and the history alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.seeds import trial_seed

STARTUP_TRIALS = 10
"""Trials drawn at random before TPE has something to learn from (Optuna's default)."""


class SeededSampler(BaseSampler):
    """Optuna's multivariate TPE, seeded anew for each trial.

    So a study repeats whether it ran in one go or was interrupted, and two workers never draw
    the same numbers.
    """

    def __init__(self, study_seed: int) -> None:
        self._study_seed = study_seed
        self._sampler = self._seeded(0)

    def _seeded(self, number: int) -> TPESampler:
        seed = trial_seed(self._study_seed, number, "sampling")
        return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed the sampler for this trial."""
        self._sampler = self._seeded(trial.number)
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The joint space, as TPE sees it."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample all parameters jointly, as TPE does."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample one parameter on its own, as TPE does at the start."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Let TPE finish its bookkeeping."""
        self._sampler.after_trial(study, trial, state, values)


optuna.logging.set_verbosity(optuna.logging.ERROR)
