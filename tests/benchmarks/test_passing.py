from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.curves import FULL
from benchmarks.passing import (
    Found,
    Random,
    found,
    main,
    mean_interval,
    ratio_interval,
    read_random,
    table,
)
from mnist_arch.errors import UserError
from search.config import StudyConfig
from search.loop.proposals import space_of
from search.tables.files import StudyTables

STARTS = len(space_of(StudyConfig()).starts())
FINALISTS = pd.DataFrame({"trial": [0, STARTS + 1], "test_accuracy": [0.996, 0.9955]})


def study(
    *own: tuple[str, float, int], finalists: pd.DataFrame | None = None, designs: Sequence[str] = ()
) -> StudyTables:
    """A study of passing first proposals, then trials of (state, accuracy, parameters)."""
    trials = [("passed", 0.999, 1_000)] * (STARTS + len(designs)) + list(own)
    rows = [
        {"trial": number, "ended": f"2026-11-27T00:00:{number:02}", "state": state,
         "validation_accuracy": accuracy, "parameters": parameters}
        for number, (state, accuracy, parameters) in enumerate(trials)
    ]  # fmt: skip
    epochs = [
        {"trial": number, "look": look}
        for number, (state, _, _) in enumerate(trials)
        for look in (0.25, 1.0, *([19.0] * 19 if state in ("passed", "missed") else []))
    ]
    tables = {"trials": pd.DataFrame(rows), "epochs": pd.DataFrame(epochs)}
    if finalists is not None:
        tables["finalists"] = finalists
    config = replace(StudyConfig(), designs=tuple(designs))
    return StudyTables(Path("some"), "some", "", config, {}, tables)


OWN = (
    ("passed", 0.994, 5_000),
    ("passed", 0.995, 9_000),
    ("missed", 0.993, 3_000),
    ("pruned", 0.980, 2_000),
)


def test_a_search_is_credited_with_what_it_proposed_itself() -> None:
    counted = found(study(*OWN, finalists=FINALISTS))
    assert counted.passing == 2
    assert counted.epochs == 3 * 20.25 + 1.25
    assert counted.rate == pytest.approx(1_000 * 2 / 62)
    assert counted.smallest == 5_000
    assert counted.again == 0.9955  # not the 0.996 of trial 0


def test_designs_given_by_hand_are_left_out_too() -> None:
    assert found(study(*OWN, designs=["mine"])).passing == 2


def test_a_search_without_passing_designs_or_confirmation_has_neither() -> None:
    counted = found(study(OWN[2], OWN[3]))
    assert (counted.passing, counted.smallest, counted.again) == (0, None, None)


def test_a_study_of_nothing_but_first_proposals_is_refused() -> None:
    with pytest.raises(UserError, match=f"trained only the {STARTS} designs that it began with"):
        found(study())


def random_designs(first: Sequence[float], second: Sequence[float], passing: int) -> Random:
    return Random(np.array(first), np.array(second), passing)


def test_the_rate_of_random_designs_is_their_share_by_the_epochs_of_each() -> None:
    beside = random_designs([0.99] * 9 + [0.995], [math.nan] * 10, 1)
    assert beside.rate == pytest.approx(1_000 / (10 * FULL))


def test_shares_of_random_designs_have_the_interval_of_jeffreys() -> None:
    beside = random_designs([0.0] * 33, [0.0] * 33, 3)
    drawn = np.percentile(beside.shares(200_000, np.random.default_rng(1)), [2.5, 97.5])
    assert drawn == pytest.approx(stats.beta(3.5, 30.5).ppf([0.025, 0.975]), rel=0.02)


def test_the_best_of_the_first_seed_is_told_by_the_second() -> None:
    beside = random_designs([0.99, 0.98, 0.999], [0.97, 0.96, math.nan], 0)
    one = beside.chosen(1, np.random.default_rng(2))
    assert one.mean() == pytest.approx(0.965, abs=0.001)  # the third was never trained again
    # Of many the better one is missed only where the drawn table has the worse one twice.
    many = beside.chosen(50, np.random.default_rng(3))
    assert set(many.round(6)) == {0.96, 0.97}
    assert np.mean(many < 0.965) == pytest.approx(1 / 4, abs=0.05)


def test_a_mean_has_the_interval_of_student() -> None:
    values = [20.0, 22.0, 27.0]
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)
    assert mean_interval([20.0]) == (-math.inf, math.inf)


def test_the_ratio_lies_between_those_of_the_extremes() -> None:
    searches = [Found("a", 1_000, 20, None, None), Found("b", 1_000, 30, None, None)]
    beside = random_designs([0.0] * 1_000, [0.0] * 1_000, 190)  # 10 for each 1,000 epochs
    low, high = ratio_interval(searches, beside, np.random.default_rng(4))
    assert 1.6 < low < 2.1
    assert 2.8 < high < 3.5


def trainings(folder: Path, *rows: tuple[str, float, int, float]) -> Path:
    """A table of trainings of (design, epochs, seed, accuracy)."""
    columns = ["design", "budget_epochs", "seed", "validation_accuracy"]
    made = pd.DataFrame(rows, columns=columns).assign(recipe="default")
    made.to_csv(folder / "trainings.csv", index=False)
    return folder


WHOLE = [("a", FULL, 1, 0.995), ("a", FULL, 2, 0.993), ("b", FULL, 1, 0.99), ("b", FULL, 2, 0.991)]


def test_a_table_gives_the_designs_that_were_trained_in_full(tmp_path: Path) -> None:
    beside = read_random(
        trainings(tmp_path, *WHOLE, ("c", FULL, 1, 0.994), ("d", 3.0, 1, 0.99)), 0.994
    )
    assert beside.first.tolist() == [0.995, 0.99, 0.994]
    assert np.isnan(beside.second).tolist() == [False, False, True]
    assert beside.passing == 2


def test_tables_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--random .*nowhere: No such file.*benchmarks.curves"):
        read_random(tmp_path / "nowhere", 0.994)
    with pytest.raises(UserError, match="fewer than 2 of its designs were trained in full"):
        read_random(trainings(tmp_path, *WHOLE[:3]), 0.994)


def test_the_table_has_a_line_for_each_and_the_ratio() -> None:
    searches = [Found("first", 500, 10, 4_000, 0.9958), Found("second", 500, 12, None, None)]
    beside = random_designs([0.99] * 8 + [0.995] * 2, [0.99] * 10, 2)
    told = [[*column.cells] for column in table(searches, beside).columns]
    assert told[0] == ["first", "second", "mean", "10 random, in full", ""]
    assert told[2][:4] == ["10", "12", "11.0", "2"]
    assert told[3][:2] == ["20.0", "24.0"]
    assert str(told[3][3]).startswith("10.5 (")  # 2 of 10, 19 epochs each
    assert str(told[3][4]).startswith("2.1 (")
    assert told[4][:2] == ["4,000", "-"]
    assert told[5][:2] == ["99.580", "-"]


def test_the_command_compares_a_committed_search(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results/again-0", "--random", "results/table"]) == 0
    assert "again-0" in capsys.readouterr().out


def test_studies_of_unlike_targets_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = study(*OWN)
    rules = replace(other.config.rules, target=0.99)
    other = replace(other, config=replace(other.config, rules=rules))
    both = [study(*OWN), other]
    monkeypatch.setattr("benchmarks.passing.read_study", lambda folder: both[int(str(folder))])
    assert main(["0", "1", "--random", "results/table"]) == 2
    assert "have the targets 0.99, 0.994; give studies of one target" in capsys.readouterr().err


def test_what_is_no_study_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--random", str(tmp_path)]) == 2
    assert "holds no study" in capsys.readouterr().err
