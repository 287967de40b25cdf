from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.looks import PRIOR_WEIGHT, Judged, Look, Predictor


def seen(
    parameters: int, short: float, final: float, length: float = 1.0, macs: int = 600_000
) -> Judged:
    """A design with one look and its full training."""
    return Judged(parameters, 19, (Look(length, short, 0.9),), Look(19.0, final, 0.99), macs)


def test_a_full_training_is_its_own_prediction() -> None:
    assert Predictor().loss(seen(5_000, 0.06, 0.0213)) == 0.0213


def test_nothing_is_expected_of_a_design_without_looks() -> None:
    assert math.isinf(Predictor().loss(Judged(5_000, 19)))


def test_before_anything_is_known_a_typical_look_predicts_a_typical_end() -> None:
    design = Judged(6_000, 19, (Look(1.0, math.exp(-2.85), 0.98),))
    assert Predictor().loss(design) == pytest.approx(math.exp(-3.73))


@given(st.floats(0.01, 2), st.floats(0.01, 2), st.sampled_from([0.25, 1.0, 3.0]))
def test_a_lower_look_predicts_a_lower_end(one: float, other: float, length: float) -> None:
    lower, higher = sorted((one, other))
    predictions = [
        Predictor().loss(Judged(6_000, 19, (Look(length, loss, 0.9),))) for loss in (lower, higher)
    ]
    assert predictions[0] <= predictions[1]


def test_the_longest_look_counts() -> None:
    looks = (Look(0.25, 9.0, 0.5), Look(1.0, math.exp(-2.85), 0.98))
    assert Predictor().loss(Judged(6_000, 19, looks)) == pytest.approx(math.exp(-3.73))


def test_a_short_look_says_less_and_size_more() -> None:
    """Half the loss after a quarter of an epoch is no half after an epoch, nor at the end."""
    for length, follows in ((0.25, 0.25), (1.0, 0.55), (3.0, 0.75)):
        poor, good = (Judged(6_000, 19, (Look(length, loss, 0.9),)) for loss in (0.1, 0.05))
        ratio = Predictor().loss(poor) / Predictor().loss(good)
        assert ratio == pytest.approx(2**follows)
    small, large = (Judged(size, 19, (Look(0.25, 0.2, 0.9),)) for size in (3_000, 12_000))
    assert Predictor().loss(small) / Predictor().loss(large) == pytest.approx(4**0.20)


def test_of_two_with_the_same_start_the_one_of_more_multiply_adds_ends_better() -> None:
    for length, falls in ((0.25, 0.15), (1.0, 0.12), (3.0, 0.08)):
        looks = (Look(length, 0.1, 0.9),)
        quick, slow = (Judged(3_000, 19, looks, macs=macs) for macs in (200_000, 800_000))
        assert Predictor().loss(quick) / Predictor().loss(slow) == pytest.approx(4**falls)


def test_many_designs_outweigh_the_prior() -> None:
    """Where log final = -2 + 0.8 log short - 0.1 log(parameters / 6,000) + 0.2 log(macs / 600,000),

    that is what is found.
    """
    generator = np.random.default_rng(1)
    designs = []
    for _ in range(2_000):
        parameters = int(generator.integers(1_500, 20_000))
        short = float(generator.uniform(0.03, 0.3))
        macs = int(generator.integers(200_000, 1_000_000))
        size, work = math.log(parameters / 6_000), math.log(macs / 600_000)
        final = math.exp(-2 + 0.8 * math.log(short) - 0.1 * size + 0.2 * work)
        designs.append(seen(parameters, short, final, macs=macs))
    asked = Judged(12_000, 19, (Look(1.0, 0.1, 0.9),), macs=1_200_000)
    expected = math.exp(-2 + 0.8 * math.log(0.1) + (0.2 - 0.1) * math.log(2))
    assert Predictor(designs).loss(asked) == pytest.approx(expected, rel=0.01)


def test_the_fit_is_a_ridge_regression_towards_the_prior() -> None:
    """Against the same regression as ordinary least squares with rows added for the prior."""
    figures = ((4_000, 0.05, 0.02), (9_000, 0.08, 0.018), (15_000, 0.04, 0.015))
    designs = [seen(*each, macs=300_000) for each in figures]
    rows = [
        [1, math.log(d.looks[0].loss) + 2.85, math.log(d.parameters / 6_000), math.log(0.5)]
        for d in designs
    ]
    targets = [math.log(d.full.loss) for d in designs if d.full]
    prior = np.array([-3.73, 0.55, -0.13, -0.12])
    added = np.sqrt(PRIOR_WEIGHT * np.diag([0.2, 0.3, 0.3, 0.3]))
    features = np.vstack([np.array(rows), added])
    solution, *_ = np.linalg.lstsq(features, np.array([*targets, *(added @ prior)]), rcond=None)
    asked = Judged(7_000, 19, (Look(1.0, 0.06, 0.98),))
    expected = solution @ [1, math.log(0.06) + 2.85, math.log(7_000 / 6_000), 0]
    assert Predictor(designs).loss(asked) == pytest.approx(math.exp(expected))


def test_lengths_are_kept_apart() -> None:
    others = [seen(6_000, 0.5, 1.0, length=0.25)] * 50
    design = Judged(6_000, 19, (Look(1.0, math.exp(-2.8), 0.98),))
    assert Predictor(others).loss(design) == Predictor().loss(design)
