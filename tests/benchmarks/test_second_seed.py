from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.second_seed import differences, left_over, main, pairs


def table(designs: int = 40, seed: int = 0) -> pd.DataFrame:
    """Designs whose loss is their truth, and whose accuracy is that and much luck."""
    generator = np.random.default_rng(seed)
    truth = np.repeat(generator.uniform(np.log(0.005), np.log(0.01), designs), 2)
    misread = np.exp(truth + generator.normal(0, 0.2, 2 * designs))
    return pd.DataFrame({
        "design": np.repeat([f"d{number}" for number in range(designs)], 2),
        "seed": [1, 2] * designs, "budget_epochs": 19.0,
        "validation_accuracy": 1 - misread, "validation_loss": 3 * np.exp(truth),
    })  # fmt: skip


def test_each_of_two_seeds_is_once_the_first_and_once_the_second() -> None:
    found = pairs(table(1), 19, 1.0)
    assert found["misread"].tolist() == found["second"].tolist()[::-1]
    assert len(found) == 2


def test_short_trainings_and_poor_ones_are_left_out() -> None:
    trainings = table(2)
    trainings.loc[0, "validation_accuracy"] = 0.9
    assert pairs(trainings, 19, 0.05)["design"].unique().tolist() == ["d1"]
    assert pairs(trainings, 3, 0.05).empty


def test_a_line_leaves_nothing_over_and_luck_its_deviation() -> None:
    found = pairs(table(4_000), 19, 1.0)
    exact = found.assign(second=found["validation_loss"] ** 2)
    assert left_over(exact, ["validation_loss"]) == pytest.approx(0, abs=1e-9)
    assert left_over(found, ["validation_loss"]) == pytest.approx(0.2, rel=0.03)


def test_the_interval_says_which_figure_tells_more() -> None:
    low, high = np.percentile(differences(pairs(table(), 19, 1.0)), [2.5, 97.5])
    assert 0 < low < high


def test_a_folder_without_second_seeds_ends_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(5).iloc[::2].to_csv(tmp_path / "trainings.csv", index=False)
    assert main([str(tmp_path)]) == 2
    assert "has 0 designs with two such trainings; give a table" in capsys.readouterr().err


def test_it_prints_what_each_figure_leaves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table().to_csv(tmp_path / "trainings.csv", index=False)
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "40 designs, 80 pairs of trainings of 19 epochs." in printed
    assert "by loss" in printed
