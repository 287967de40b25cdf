from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.training_sets import deviations


def test_deviations_by_hand() -> None:
    """Set means 0.5 and 0.7 (variance 0.02), within each 0.1 either way (variance 0.02)."""
    table = pd.DataFrame([(0, 0.4), (0, 0.6), (1, 0.6), (1, 0.8)], columns=["set", "accuracy"])
    of_sets, of_seeds = deviations(table)
    assert of_seeds == pytest.approx(np.sqrt(0.02))
    assert of_sets == pytest.approx(np.sqrt(0.02 - 0.02 / 2))


def test_sets_that_differ_less_than_their_seeds_do_not_differ() -> None:
    table = pd.DataFrame([(0, 0.4), (0, 0.6), (1, 0.4), (1, 0.6)], columns=["set", "accuracy"])
    assert deviations(table)[0] == 0
