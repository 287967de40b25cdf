"""Samplers: who proposes designs. A sampler of your own: one entry in `SAMPLERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from mnist_arch.errors import UserError
from search.record import OFF_FRONT, OWN_DESIGN, VALUES_SO_FAR
from search.samplers.mutation import MutationSampler
from search.seeds import trial_seed

STARTUP_TRIALS = 10
"""Trials drawn at random before TPE has something to learn from (Optuna's default)."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


class SeededSampler(BaseSampler):
    """A sampler whose proposal in trial k follows from the study's seed, k and the history alone.

    `make` gives a fresh sampler with a seed, for each trial: so a study repeats whether it ran in
    one go or was interrupted. Every parameter of a space is suggested in every trial, so the
    joint space is known from the first finished trial on, and is not sought again in all of them.
    """

    def __init__(self, study_seed: int, make: Callable[[int], BaseSampler]) -> None:
        self._study_seed, self._make = study_seed, make
        self._sampler = make(trial_seed(study_seed, 0, "sampling"))
        self._space: dict[str, BaseDistribution] = {}
        self._repeated = False

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed the sampler for this trial."""
        self._sampler = self._make(trial_seed(self._study_seed, trial.number, "sampling"))
        self._repeated = False
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The joint space, as the sampler sees it."""
        if not self._space:
            self._space = self._sampler.infer_relative_search_space(study, trial)
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample all parameters jointly."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample one parameter on its own, as happens before there is a joint space.

        In a trial that was cut short while it was proposed, the draws that it has are repeated
        first, so that the others come out as they would have.
        """
        if not self._repeated:
            self._repeated = True
            for name in trial.params:
                distribution = trial.distributions[name]
                self._sampler.sample_independent(study, trial, name, distribution)
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Let the sampler finish its bookkeeping."""
        self._sampler.after_trial(study, trial, state, values)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "mutation": lambda seed: MutationSampler(
        seed,
        unfit=("screened", "duplicate"),
        so_far=VALUES_SO_FAR,
        foreign=OWN_DESIGN,
        off_front=OFF_FRONT,
    ),
    "tpe": lambda seed: TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(population_size=30, seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
"""Samplers by name: a seed -> an Optuna sampler.

Mutation takes no parents from what only had a look of less than an epoch: a search that climbed on
such looks bred quick starters; they choose which of its children are looked at for longer.
"""


def make_sampler(name: str, study_seed: int) -> SeededSampler:
    """The sampler of a study; raises `UserError` for an unknown name."""
    if name not in SAMPLERS:
        raise UserError(f"--sampler {name}: must be one of {', '.join(SAMPLERS)}")
    return SeededSampler(study_seed, SAMPLERS[name])
