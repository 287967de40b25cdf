from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.looks import OWN_WEIGHTS, Judged, Look, Predictor, expected_log_loss


def seen(parameters: int, short: float, final: float, length: float = 1.0) -> Judged:
    """A design with one look and its full training."""
    return Judged(parameters, 19, (Look(length, short, 0.9),), Look(19.0, final, 0.99))


def test_a_full_training_alone_is_its_own_prediction() -> None:
    assert Predictor().loss(Judged(5_000, 19, (), Look(19.0, 0.0213, 0.99))) == 0.0213


def test_a_full_training_that_did_better_than_its_look_said_was_lucky_too() -> None:
    """Another seed is expected between the two, 0.6 of the way to what was measured, in logs."""
    lucky = seen(5_000, 0.06, 0.018)
    by_look = Predictor().loss(Judged(5_000, 19, lucky.looks))
    assert by_look > 0.019
    between = 0.4 * math.log(by_look) + 0.6 * math.log(0.018)
    assert Predictor().loss(lucky) == pytest.approx(math.exp(between))


def test_nothing_is_expected_of_a_design_without_looks() -> None:
    assert math.isinf(Predictor().loss(Judged(5_000, 19)))


def test_before_anything_is_known_the_step_is_the_one_of_earlier_studies() -> None:
    """By hand: after 3 epochs 0.05 nats, 4,000 parameters."""
    design = Judged(4_000, 19, (Look(3.0, 0.05, 0.985),))
    expected = -3.80 - 0.96 + 1.28 * math.log(1 + 0.05 / math.exp(-3.35)) + 0.088 * 6_000 / 4_000
    assert Predictor().loss(design) == pytest.approx(math.exp(expected))


@given(st.floats(0.01, 2), st.floats(0.01, 2), st.sampled_from([0.25, 1.0, 3.0]))
def test_a_lower_look_predicts_a_lower_end(one: float, other: float, length: float) -> None:
    lower, higher = sorted((one, other))
    predictions = [
        Predictor().loss(Judged(6_000, 19, (Look(length, loss, 0.9),))) for loss in (lower, higher)
    ]
    assert predictions[0] <= predictions[1]


def test_the_longest_look_counts() -> None:
    one = Look(1.0, 0.06, 0.98)
    both, alone = (Judged(6_000, 19, looks) for looks in ((Look(0.25, 9.0, 0.5), one), (one,)))
    assert Predictor().loss(both) == Predictor().loss(alone)


def test_a_shorter_look_says_less() -> None:
    """Half the loss after a quarter of an epoch is no half after an epoch, nor at the end."""
    ratios = []
    for length, loss in ((0.25, 0.16), (1.0, 0.06), (3.0, 0.036)):
        poor, good = (Judged(6_000, 19, (Look(length, each, 0.9),)) for each in (loss, loss / 2))
        ratios.append(Predictor().loss(poor) / Predictor().loss(good))
    assert 1.1 < ratios[0] < ratios[1] < ratios[2] < 2


def test_a_good_look_says_less_than_a_poor_one() -> None:
    """There is a loss that no network gets below; far above it all falls alike."""
    halves = [
        Predictor().loss(Judged(6_000, 19, (Look(3.0, loss, 0.9),)))
        / Predictor().loss(Judged(6_000, 19, (Look(3.0, loss / 2, 0.9),)))
        for loss in (0.03, 0.1, 0.5)
    ]
    assert 1.2 < halves[0] < halves[1] < halves[2]


def test_of_two_with_the_same_look_the_larger_ends_better() -> None:
    for length in (0.25, 1.0, 3.0):
        small, large = (Judged(each, 19, (Look(length, 0.1, 0.9),)) for each in (3_000, 12_000))
        assert Predictor().loss(small) > 1.1 * Predictor().loss(large)


@given(st.floats(0.02, 0.5), st.integers(1_500, 20_000), st.sampled_from([(0.25, 1), (1, 3)]))
def test_a_prediction_of_a_prediction_is_the_prediction(
    loss: float, parameters: int, lengths: tuple[float, int]
) -> None:
    """What 1 epoch says of 19 is what the 3 that it predicts say of 19."""
    short, middle = lengths
    look = (Look(short, loss, 0.9),)
    between = Predictor().loss(Judged(parameters, middle, look))
    at_once = Predictor().loss(Judged(parameters, 19, look))
    in_two = Predictor().loss(Judged(parameters, 19, (Look(float(middle), between, 0.9),)))
    assert in_two == pytest.approx(at_once)


@given(st.floats(0.01, 2), st.integers(1_500, 20_000))
def test_lengths_in_between_lie_in_between(loss: float, parameters: int) -> None:
    """The longer the training, the lower its loss, or the other way round; without a jump."""
    look = (Look(3.0, loss, 0.9),)
    losses = [Predictor().loss(Judged(parameters, epochs, look)) for epochs in (4, 8, 15, 19)]
    assert losses == sorted(losses, reverse=losses[-1] < loss)
    near = Predictor().loss(Judged(parameters, 19, (Look(18.999, loss, 0.9),)))
    assert near == pytest.approx(loss * math.exp(-3.80 - expected_middling(18.999)), rel=1e-3)


def expected_middling(epochs: float) -> float:
    """Between 3 and 19 epochs, by the log of the epochs."""
    return -3.35 - 0.45 * math.log(epochs / 3) / math.log(19 / 3)


def test_a_look_of_another_length_is_one_that_is_on_its_way() -> None:
    """Of the same rank among its like a longer look says more: 1.1, 3 and 8 epochs of 19."""
    spreads = []
    for length in (1.1, 3.0, 8.0):
        poor, good = (
            Predictor().loss(Judged(6_000, 19, (Look(length, math.exp(above - 3.3), 0.9),)))
            for above in (0.2, -0.2)
        )
        spreads.append(poor / good)
    assert spreads == sorted(spreads)


def test_trainings_longer_than_any_known_are_predicted_by_the_longest_known() -> None:
    look = (Look(3.0, 0.03, 0.99),)
    assert Predictor().loss(Judged(6_000, 40, look)) == Predictor().loss(Judged(6_000, 19, look))
    assert Predictor().loss(Judged(6_000, 40, (Look(20.0, 0.02, 0.99),))) == pytest.approx(0.02)


def test_other_images_have_another_level_after_a_few_full_trainings() -> None:
    """Where all ends at ten times the loss that MNIST would have, four designs say so."""
    looked = Judged(9_000, 19, (Look(1.0, 0.06, 0.9),))
    ten_times = 10 * Predictor().loss(looked)
    seen_there = [seen(9_000, 0.06, ten_times)] * 4
    assert 4 < Predictor(seen_there).loss(looked) / Predictor().loss(looked) < 10


def test_many_designs_outweigh_the_expectation() -> None:
    """Where log final is expected + 0.4 - 0.2 log(short / middling) + 0.3 (6,000 / parameters)."""
    generator = np.random.default_rng(1)

    def truth(parameters: int, short: float) -> float:
        expected = expected_log_loss(Look(1.0, short, 0.9), parameters, 19)
        return expected + 0.4 - 0.2 * (math.log(short) + 2.85) + 0.3 * 6_000 / parameters

    designs = []
    for _ in range(3_000):
        parameters = int(generator.integers(1_500, 20_000))
        short = float(generator.uniform(0.03, 0.3))
        designs.append(seen(parameters, short, math.exp(truth(parameters, short))))
    asked = Judged(12_000, 19, (Look(1.0, 0.1, 0.9),))
    expected = math.exp(truth(12_000, 0.1))
    assert Predictor(designs).loss(asked) == pytest.approx(expected, rel=0.02)


def test_the_correction_is_a_ridge_regression() -> None:
    """Against ordinary least squares with a row added for each weight."""
    figures = ((4_000, 0.05, 0.02), (9_000, 0.08, 0.018), (15_000, 0.04, 0.015))
    designs = [seen(*each) for each in figures]
    rows = [[1, math.log(d.looks[0].loss) + 2.85, 6_000 / d.parameters] for d in designs]
    over = [math.log(d.full.loss) - expected_log_loss(d.looks[0], d.parameters, 19)
            for d in designs if d.full]  # fmt: skip
    features = np.vstack([np.array(rows), np.sqrt(np.diag(OWN_WEIGHTS))])
    solution, *_ = np.linalg.lstsq(features, np.array([*over, 0, 0, 0]), rcond=None)
    look = Look(1.0, 0.06, 0.98)
    correction = solution @ [1, math.log(0.06) + 2.85, 6_000 / 7_000]
    expected = expected_log_loss(look, 7_000, 19) + correction
    assert Predictor(designs).loss(Judged(7_000, 19, (look,))) == pytest.approx(math.exp(expected))


def test_lengths_are_kept_apart() -> None:
    others = [seen(6_000, 0.5, 1.0, length=0.25)] * 50
    design = Judged(6_000, 19, (Look(1.0, math.exp(-2.8), 0.98),))
    assert Predictor(others).loss(design) == Predictor().loss(design)
