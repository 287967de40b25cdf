from __future__ import annotations

from collections.abc import Callable

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from search.samplers.mutation import MutationSampler, alone, beaten_by


def suggest(trial: optuna.Trial) -> tuple[float, float]:
    """Two values of a small space with every kind of parameter; the best is at (0, 0)."""
    kind = trial.suggest_categorical("kind", ("a", "b", "c"))
    width = trial.suggest_int("width", 1, 64, log=True)
    rate = trial.suggest_float("rate", 0.0, 1.0, step=0.05)
    scale = trial.suggest_float("scale", 1.0, 1_000.0, log=True)
    return (width - 1 + (kind != "c"), rate + np.log(scale))


def study(seed: int, directions: int = 1, startup: int = 10) -> optuna.Study:
    return optuna.create_study(
        directions=["minimize"] * directions, sampler=MutationSampler(seed, startup)
    )


def run(searched: optuna.Study, count: int) -> list[FrozenTrial]:
    for _ in range(count):
        trial = searched.ask()
        values = suggest(trial)
        searched.tell(trial, values if len(searched.directions) == 2 else sum(values))
    return searched.get_trials()


@pytest.mark.parametrize("directions", [1, 2])
def test_the_same_seed_proposes_the_same_and_another_otherwise(directions: int) -> None:
    first, again, other = (
        [trial.params for trial in run(study(seed, directions), 30)] for seed in (3, 3, 4)
    )
    assert first == again != other


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000))
def test_every_proposal_lies_in_the_space(seed: int) -> None:
    for trial in run(study(seed, startup=3), 25):
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            assert distribution._contains(distribution.to_internal_repr(value))


def test_after_the_start_nearly_every_proposal_shares_a_choice_with_an_earlier_one() -> None:
    trials = run(study(5), 60)
    choices = ("kind", "width")
    shared = [
        max(sum(trial.params[n] == other.params[n] for n in choices) for other in trials[:k])
        for k, trial in enumerate(trials)
        if k >= 10
    ]
    assert sum(count >= 1 for count in shared) > 0.9 * len(shared)


def test_continuous_numbers_all_move_so_that_a_good_design_is_tried_at_other_sizes() -> None:
    trials = run(study(6), 60)
    scales = [trial.params["scale"] for trial in trials[10:]]
    assert len(set(scales)) > 0.8 * len(scales)


def test_trials_of_an_unfit_state_are_no_parents() -> None:
    only = optuna.create_study(sampler=MutationSampler(7, startup=1, unfit=("screened",)))
    trial = only.ask()
    suggest(trial)
    trial.set_user_attr("state", "screened")
    only.tell(trial, 0.0)
    assert only.ask().relative_params == {}
    trial = only.ask()
    suggest(trial)
    only.tell(trial, 9.0)  # worse, but fit
    assert only.ask().relative_params.keys() == {"kind", "width", "rate", "scale"}


def test_a_trial_whose_parameters_say_nothing_of_it_is_no_parent() -> None:
    only = optuna.create_study(sampler=MutationSampler(7, startup=1, foreign="own_design"))
    only.enqueue_trial({}, user_attrs={"own_design": {}})
    run(only, 1)
    assert only.ask().relative_params == {}
    run(only, 1)
    assert only.ask().relative_params.keys() == {"kind", "width", "rate", "scale"}


def test_what_is_off_the_front_is_a_parent_only_where_there_is_no_other() -> None:
    only = optuna.create_study(sampler=MutationSampler(7, startup=2, off_front="off"))
    distributions: dict[str, BaseDistribution] = {
        f"x{n}": CategoricalDistribution((0, 1)) for n in range(9)
    }

    def tell(value: int, **attributes: bool) -> None:
        params = dict.fromkeys(distributions, value)
        only.add_trial(
            optuna.create_trial(
                params=params, distributions=distributions, value=value, user_attrs=attributes
            )
        )

    def proposed() -> float:
        trials = [only.ask(distributions) for _ in range(20)]
        return float(np.mean([list(trial.params.values()) for trial in trials]))

    tell(0, off=True)
    tell(0, off=True)
    assert proposed() < 0.5  # near both, for there is nothing else
    tell(1)
    assert proposed() > 0.5  # the value 1 is worse, but wanted


def test_a_running_trial_is_a_parent_where_it_is_known_what_to_expect_of_it() -> None:
    only = optuna.create_study(sampler=MutationSampler(7, startup=2, so_far="expected"))
    run(only, 1)
    running = only.ask()
    suggest(running)
    assert only.ask().relative_params == {}
    running.set_user_attr("expected", [0.0])
    assert only.ask().relative_params.keys() == {"kind", "width", "rate", "scale"}


def median_best(make: Callable[[int], BaseSampler]) -> float:
    """The best value of 80 trials: the median over seeds."""
    found = []
    for seed in range(9):
        trials = run(optuna.create_study(sampler=make(seed)), 80)
        found.append(min(trial.values[0] for trial in trials))
    return float(np.median(found))


def test_it_finds_better_designs_than_chance() -> None:
    mutation = median_best(lambda seed: MutationSampler(seed, 10))
    assert mutation < 0.7 * median_best(lambda seed: optuna.samplers.RandomSampler(seed))


def test_a_front_is_spread_over_both_values() -> None:
    searched = study(1, directions=2)
    run(searched, 120)
    front = np.array([trial.values for trial in searched.best_trials])
    assert front[:, 0].min() == 0
    assert front[:, 1].min() < 0.5


@settings(deadline=None)
@given(arrays(np.int64, st.tuples(st.integers(1, 12), st.just(2)), elements=st.integers(0, 4)))
def test_what_beats_a_row_is_counted_as_by_hand(values: np.ndarray) -> None:
    expected = [
        sum(all(b <= a) and any(b < a) for b in values) for a in values
    ]  # fmt: skip
    assert beaten_by(values.astype(float)).tolist() == expected


def test_beaten_by_of_a_front() -> None:
    assert beaten_by(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [3.0, 3.0]])).tolist() == [
        0, 0, 0, 3,
    ]  # fmt: skip


def test_a_row_stands_as_far_apart_as_its_neighbours_are_by_hand() -> None:
    front = np.array([[0.0, 8.0], [1.0, 4.0], [2.0, 2.0], [10.0, 0.0]])
    first = [0.1, 0.1 + 0.1, 0.1 + 0.8, 0.8]
    second = [0.5, 0.5 + 0.25, 0.25 + 0.25, 0.25]
    expected = 0.05 + np.array(first) + np.array(second)
    np.testing.assert_allclose(alone(front), expected)
    np.testing.assert_allclose(alone(front[::-1]), expected[::-1])


def test_equal_rows_and_a_single_one_stand_alike() -> None:
    assert alone(np.ones((1, 2))).tolist() == [0.05]
    assert alone(np.ones((3, 2))).tolist() == [0.05] * 3


def test_of_a_front_the_one_that_stands_alone_is_the_likeliest_parent() -> None:
    """Of nine designs of one size and one far larger, that is drawn for about half of all."""
    crowded = study(2, directions=2, startup=10)
    for k in range(10):
        scale, values = (1.0, (1 - 0.01 * k, 1 + 0.01 * k)) if k < 9 else (1_000.0, (0, 10))
        crowded.enqueue_trial({"kind": "a", "width": 8, "rate": 0.5, "scale": scale})
        trial = crowded.ask()
        suggest(trial)
        crowded.tell(trial, values)
    scales = []
    for _ in range(100):
        trial = crowded.ask()
        suggest(trial)
        scales.append(trial.params["scale"])
    assert 35 < sum(scale > 30 for scale in scales) < 65
