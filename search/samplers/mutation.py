"""Mutation: a sampler that changes a few choices of the best designs so far.

Regularised evolution (Real et al., arXiv:1802.01548) without ageing, on Optuna's interface, for one
goal or several: parents are drawn from the designs that few others beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

CHANGED = 3.0
"""Choices that are changed in a proposal, on average. Its continuous numbers all are: so a good
design is tried at other sizes."""

CROSSED = 0.2
"""Share of proposals that take half of their choices from a second parent."""

PARENT_SHARE = 1 / 4
"""Share of the trials that are parents while they are few: so the best soon lead."""

LEAST_PARENTS = 4

LEAST_DISTANCE = 0.05
"""Added to every distance on a front, so that two equal designs may be parents, too."""

RECENT = 1_000
"""Latest trials among which parents are sought: so a proposal costs the same in a long study."""

STEP = 0.15
"""Standard deviation of a change of a number, as a share of its range."""


class MutationSampler(BaseSampler):
    """Proposes at random at first, then changes of the best designs.

    `startup` trials with a value come before the first change; parents are the best quarter of
    them, at most `parents` or all that nobody beats: how likely each is, says `_best`. Trials
    whose user attribute `state` is one of `unfit`, or that have the user attribute `foreign`, are
    no parents: the parameters of these say nothing of what was tried. A trial that is still running
    is one, too, where its user attribute `so_far` has the values that it is expected to have: the
    best designs are trained for longest. Those with the user attribute `off_front` are parents only
    where there are no others: nobody beats the smallest, however poor. Everything follows from
    `seed` and the study's trials.
    """

    def __init__(
        self,
        seed: int,
        startup: int = 10,
        parents: int = 20,
        unfit: Sequence[str] = (),
        so_far: str = "",
        foreign: str = "",
        off_front: str = "",
    ) -> None:
        self._generator = np.random.default_rng(seed)
        self._random = RandomSampler(seed)
        self._startup, self._parents, self._unfit = startup, parents, unfit
        self._so_far, self._foreign, self._off_front = so_far, foreign, off_front
        self._space = IntersectionSearchSpace()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters that all finished trials have."""
        return self._space.calculate(study)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A changed copy of one of the best; nothing, and so a random proposal, at first."""
        states = (TrialState.COMPLETE, TrialState.RUNNING)
        done = study.get_trials(deepcopy=False, states=states)
        done = [each for each in done if self._may_be_parent(each, search_space)][-RECENT:]
        if len(done) < self._startup or not search_space:
            return {}
        wanted = [each for each in done if self._off_front not in each.user_attrs]
        best, weights = self._best(study, wanted or done)
        parent, other = self._draw(best, weights), self._draw(best, weights)
        params = {name: parent.params[name] for name in search_space}
        if self._generator.random() < CROSSED:
            params |= {
                name: other.params[name] for name in search_space if self._generator.random() < 0.5
            }
        return self._changed(params, search_space)

    def _may_be_parent(self, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> bool:
        attributes = trial.user_attrs
        if self._foreign in attributes:
            return False
        is_fit = attributes.get("state") not in self._unfit and self._values(trial)
        return bool(is_fit) and search_space.keys() <= trial.params.keys()

    def _values(self, trial: FrozenTrial) -> Sequence[float]:
        """What a trial was told, or is expected to be; nothing where that is not known."""
        if trial.state == TrialState.COMPLETE:
            return list(trial.values)
        return list(trial.user_attrs.get(self._so_far, ()))

    def _best(
        self, study: Study, done: list[FrozenTrial]
    ) -> tuple[list[FrozenTrial], NDArray[np.float64]]:
        """The trials that fewest others beat in every value, and how likely each is a parent.

        For one goal the first is twice as likely as the last. For several a trial is the likelier
        the further it stands from others, and the less of them beat it.
        """
        signs = [1 if d == StudyDirection.MINIMIZE else -1 for d in study.directions]
        values = np.array([self._values(trial) for trial in done]) * signs  # [trials, goals]
        beaten = beaten_by(values)
        order = np.argsort(beaten, kind="stable")[: self._count(beaten)]
        if values.shape[1] == 1:
            weights = np.linspace(2, 1, len(order))
        else:
            weights = alone(values[order]) / (1 + beaten[order])
        return [done[index] for index in order], weights / weights.sum()

    def _count(self, beaten: NDArray[np.int64]) -> int:
        front = int((beaten == 0).sum())
        few = max(LEAST_PARENTS, int(len(beaten) * PARENT_SHARE))
        return max(min(self._parents, few), front)

    def _draw(self, best: Sequence[FrozenTrial], weights: NDArray[np.float64]) -> FrozenTrial:
        return best[int(self._generator.choice(len(best), p=weights))]

    def _changed(
        self, params: dict[str, Any], search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters with some changed: at least one choice, `CHANGED` on average."""
        names = list(search_space)
        chosen = self._generator.random(len(names)) < CHANGED / len(names)
        chosen[self._generator.integers(len(names))] = True
        chosen |= [isinstance(search_space[name], FloatDistribution) for name in names]
        return {
            name: self._change(value, search_space[name]) if changes else value
            for (name, value), changes in zip(params.items(), chosen, strict=True)
        }

    def _change(self, value: Any, distribution: BaseDistribution) -> Any:
        """Another value of a choice: any other of a few, a step away for a number."""
        if isinstance(distribution, CategoricalDistribution):
            others = [choice for choice in distribution.choices if choice != value]
            return others[int(self._generator.integers(len(others)))] if others else value
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        low, high = distribution.low, distribution.high
        step = self._generator.normal(0, STEP)
        if distribution.log:
            moved = float(np.exp(np.log(value) + step * np.log(high / low)))
        else:
            moved = value + step * (high - low)
        if isinstance(distribution, IntDistribution):
            rounded = round(moved)
            if rounded == value:
                rounded += 1 if step > 0 else -1
            return int(min(max(rounded, low), high))
        if distribution.step is not None:
            moved = low + round((moved - low) / distribution.step) * distribution.step
        return float(min(max(moved, low), high))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def beaten_by(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """By how many others each row is beaten: [rows, goals], lower is better -> [rows].

    One beats another that it is not worse than in any column and better than in one.
    """
    no_worse = (values[:, None, :] <= values[None, :, :]).all(axis=2)  # [rows, rows]
    better = (values[:, None, :] < values[None, :, :]).any(axis=2)
    return np.asarray((no_worse & better).sum(axis=0))


def alone(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each row stands from its neighbours: [rows, goals] -> [rows], all above zero.

    The crowding distance (Deb et al., IEEE Trans. Evol. Comp. 6(2), 2002): over the goals, the gap
    between the next lower and the next higher row as a share of the range. A row at an end counts
    the gap to its one neighbour, where the original has infinity: so a front does not run away.
    """
    distances = np.full(len(values), LEAST_DISTANCE)
    for column in values.T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        if spread > 0:
            gaps = np.diff(column[order]) / spread
            distances[order] += np.append(0, gaps) + np.append(gaps, 0)
    return distances
