from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.search_efficiency import (
    BY_LOOKS,
    POLICIES,
    Measured,
    alike,
    compare,
    main,
    measured,
    read_table,
    replay,
)
from search.looks import Look

IN_USE = "looks: 1/4, then 1/3 (in use)"


def design(quality: float, seed: int = 0) -> Measured:
    """A design whose looks tell its quality, in [0, 1]; its curve tells it at the end only."""
    noise = np.random.default_rng(seed).uniform(0.5, 0.9, 19)
    looks = tuple(Look(length, 0.5 - 0.4 * quality, 0.9) for length in (0.25, 1.0, 3.0, 8.0))
    end = 0.98 + 0.015 * quality
    curve = (*noise[:-1].tolist(), end)
    return Measured(5_000, looks, curve, Look(19.0, 0.06 - 0.04 * quality, end), end)


def designs(count: int = 100) -> list[Measured]:
    qualities = np.random.default_rng(3).permutation(count) / count
    return [design(quality, seed) for seed, quality in enumerate(qualities)]


def test_without_judging_the_epochs_buy_as_many_designs() -> None:
    found = replay(designs(), POLICIES["no judging"], 200)
    assert (found.met, found.full) == (11, 11)  # the last one begins at 190


def test_looks_that_tell_the_truth_find_better_designs_for_the_same_epochs() -> None:
    found = replay(designs(400), POLICIES[IN_USE], 300)
    other = replay(designs(400), POLICIES["no judging"], 300)
    assert found.met > 3 * other.met
    assert found.regret_points < other.regret_points
    assert found.good_for_1000_epochs > other.good_for_1000_epochs


def test_regret_is_that_of_the_second_seed() -> None:
    """By hand: of two designs, the one that looked better is worse by half a point."""
    lucky = Measured(5_000, (), (0.995,), Look(19.0, 0.02, 0.995), 0.990)
    steady = Measured(5_000, (), (0.994,), Look(19.0, 0.02, 0.994), 0.995)
    assert replay([lucky, steady], POLICIES["no judging"], 99).regret_points == pytest.approx(0.5)


def test_every_policy_is_a_row_of_the_comparison() -> None:
    table = compare(designs(30), tables=2, orders=3, epochs=60, seed=1)
    assert table.row_count == len(POLICIES)
    assert list(table.columns[0].cells) == list(POLICIES)


def test_how_many_times_as_many_good_ones_is_told_with_its_interval_over_draws() -> None:
    """Looks that tell the truth find several times as many, whichever designs are drawn."""
    table = compare(designs(120), tables=2, orders=8, epochs=200, seed=1)
    times = dict(zip(table.columns[0].cells, table.columns[-1].cells, strict=True))
    assert times["no judging"] == "1.0 (1.0 to 1.0)"
    found = re.fullmatch(r"([\d.]+) \(([\d.]+) to [\d.]+\)", str(times[IN_USE]))
    assert found is not None
    assert float(found[1]) > float(found[2]) > 1


def columns(of: list[Measured]) -> list[list[float]]:
    """Parameters, losses after the first look and the last epoch, accuracy of the second seed."""
    rows = [(each.parameters, each.looks[0].loss, each.full.loss, each.second) for each in of]
    return [list(column) for column in zip(*rows, strict=True)]


def test_made_up_designs_are_like_those_of_the_table() -> None:
    """The same range and, nearly, the same median and rank correlation of each figure."""
    known = [
        replace(each, parameters=round(1e6 * (each.second - 0.979)) + 150 * n)
        for n, each in enumerate(designs(60))
    ]
    made = alike(known, 4_000, seed=1)
    assert len(made) == 4_000
    for old, new in zip(columns(known), columns(made), strict=True):
        assert min(old) <= min(new) < max(new) <= max(old)
        assert np.median(new) == pytest.approx(np.median(old), rel=0.05)
    sizes, early, late, _ = columns(made)
    assert stats.spearmanr(early, late).statistic == pytest.approx(1.0, abs=1e-3)
    before = stats.spearmanr(columns(known)[0], columns(known)[2]).statistic
    assert stats.spearmanr(sizes, late).statistic == pytest.approx(before, abs=0.05)


def test_of_made_up_designs_only_looks_are_compared() -> None:
    table = compare(designs(30), tables=2, orders=1, epochs=60, seed=1, like=50)
    assert list(table.columns[0].cells) == list(BY_LOOKS)
    assert "30 designs, 50 made up like them" in str(table.title)


def write(folder: Path, count: int, leave_out: int = 0) -> None:
    lengths = [(0.25, 1), (1, 1), (3, 1), (19, 1), (19, 2)]
    names = [f"{n:012x}" for n in range(count)]
    designs = pd.DataFrame({"design": names, "parameters": 5_000, "macs": 400_000})
    designs.to_csv(folder / "designs.csv", index=False)
    rows = [
        {"design": name, "budget_epochs": epochs, "seed": seed, "outcome": "finished",
         "validation_loss": 0.1, "validation_accuracy": 0.99}
        for name in names for epochs, seed in lengths
    ]  # fmt: skip
    pd.DataFrame(rows[: len(rows) - leave_out]).to_csv(folder / "trainings.csv", index=False)
    epochs = [
        {"design": name, "budget_epochs": 19, "seed": 1, "epoch": epoch,
         "validation_accuracy": epoch / 20}
        for name in names for epoch in range(1, 20)
    ]  # fmt: skip
    pd.DataFrame(epochs).to_csv(folder / "epochs.csv", index=False)


def test_a_table_is_read_and_what_is_not_complete_left_out(tmp_path: Path) -> None:
    write(tmp_path, 22, leave_out=1)
    found = read_table(tmp_path)
    assert len(found) == 21
    assert found[0].parameters == 5_000
    assert [look.epochs for look in found[0].looks] == [0.25, 1, 3]
    assert found[0].curve == tuple(epoch / 20 for epoch in range(1, 20))


def test_a_training_that_failed_leaves_its_design_out() -> None:
    rows = pd.DataFrame({"outcome": ["diverged"], "budget_epochs": [19.0], "seed": [1]})
    assert measured(5_000, rows, pd.DataFrame({"epoch": [], "validation_accuracy": []})) is None


@pytest.mark.parametrize(
    ("count", "message"), [(None, "holds no table of"), (5, "has 5 designs with all their train")]
)
def test_a_folder_without_enough_is_a_mistake(
    count: int | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if count is not None:
        write(tmp_path, count)
    assert main([str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
