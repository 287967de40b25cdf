from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.predictions import (
    LAST,
    as_now,
    both,
    fresh_seeds,
    line,
    main,
    read,
    second_seeds,
    weight,
)
from search.looks import Judged, Predictor


def trials(count: int, seed: int) -> pd.DataFrame:
    """Trials whose losses follow lines, and a little luck; the study expected a tenth more."""
    generator = np.random.default_rng(seed)
    parameters = generator.integers(2_000, 20_000, count)
    size = 6_000 / parameters
    quarter = generator.normal(-1.80, 0.3, count)
    one = -2.85 - 0.7 + 1.0 * np.log1p(np.exp(quarter + 1.80)) + generator.normal(0, 0.02, count)
    three = -3.35 - 0.9 + 1.3 * np.log1p(np.exp(one + 2.85)) + generator.normal(0, 0.02, count)
    luck = generator.normal(0, 0.02, count)
    final = -3.80 - 0.96 + 1.28 * np.log1p(np.exp(three + 3.35)) + 0.1 * size + luck
    return pd.DataFrame({
        "state": "passed", "parameters": parameters, "epochs": 19, "ended": range(count),
        "look_0.25_loss": np.exp(quarter), "look_1_loss": np.exp(one), "look_3_loss":
        np.exp(three), "validation_loss": np.exp(final),
        "predicted_loss": np.exp(final + generator.normal(0.1, 0.01, count)),
    })  # fmt: skip


def write_table(folder: Path, count: int, seed: int) -> None:
    """The same designs as a table of `benchmarks.curves`."""
    rows = trials(count, seed)
    names = [f"d{number}" for number in range(count)]
    sizes = pd.DataFrame({"design": names, "parameters": rows["parameters"]})
    sizes.to_csv(folder / "designs.csv", index=False)
    losses = {0.25: "look_0.25_loss", 1.0: "look_1_loss", 3.0: "look_3_loss",
              19.0: "validation_loss"}  # fmt: skip
    trainings = [
        pd.DataFrame({"design": names, "budget_epochs": epochs, "seed": seed, "outcome": "finished",
                      "validation_loss": rows[column]})
        for epochs, column in losses.items()
        for seed in (1, 2)
        if seed == 1 or epochs == 19
    ]  # fmt: skip
    pd.concat(trainings).to_csv(folder / "trainings.csv", index=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two studies, a table, and a folder that is none."""
    root = tmp_path_factory.mktemp("results")
    for name in ("a", "b", "none", "table"):
        (root / name).mkdir()
    for seed, name in enumerate(("a", "b")):
        trials(200, seed).to_csv(root / name / "trials.csv", index=False)
    write_table(root / "table", 50, 2)
    return sorted(root.iterdir())


def test_lines_are_found_again(folders: list[Path]) -> None:
    found = line(both(read(folders), *LAST), *LAST)
    assert found.coefficients == pytest.approx([-0.96, 1.28, 0.1], abs=0.04)
    assert len(found.errors) == 450
    assert found.errors.std() == pytest.approx(0.02, rel=0.1)


def test_of_each_folder_the_others_say_what_was_to_be_expected(tmp_path: Path) -> None:
    """A study that lies a tenth above another is a tenth above its line, and that one below."""
    for number, times in enumerate((1.0, 1.1)):
        (tmp_path / str(number)).mkdir()
        rows = trials(200, number)
        rows["validation_loss"] *= times
        rows.to_csv(tmp_path / str(number) / "trials.csv", index=False)
    errors = line(both(read(sorted(tmp_path.iterdir())), *LAST), *LAST).errors
    assert errors[:200].mean() == pytest.approx(-math.log(1.1), abs=0.01)
    assert errors[200:].mean() == pytest.approx(math.log(1.1), abs=0.01)


def test_trainings_of_other_lengths_are_no_full_ones(tmp_path: Path) -> None:
    rows = trials(3, 0)
    rows.loc[0, "state"] = "pruned"
    rows.loc[1, "epochs"] = 15
    rows.to_csv(tmp_path / "trials.csv", index=False)
    designs = read([tmp_path])
    assert len(designs) == len(both(designs, 1.0, 3.0)) == 3
    assert len(both(designs, *LAST)) == 1


def test_the_search_learns_from_its_own_study_alone(folders: list[Path]) -> None:
    designs = both(read(folders), *LAST)
    errors = as_now(designs)
    for first in (200, 400, 449):  # of the second study, and two random ones
        design = designs[first].design
        assert design.full is not None
        nothing_known = Predictor().loss(Judged(design.parameters, 19, design.looks))
        assert errors[first] == pytest.approx(math.log(design.full.loss / nothing_known))
    assert np.abs(errors[100:200]).mean() < 0.03


def test_a_full_training_counts_as_much_as_it_tells() -> None:
    """Where another seed lies a quarter of the way from what was expected to what was measured."""
    generator = np.random.default_rng(3)
    expected, measured = generator.normal(-3.9, 0.1, (2, 500))
    other = 0.2 + 0.75 * expected + 0.25 * measured
    shown = list(zip(expected, measured, other, strict=True))
    assert weight(shown) == pytest.approx(0.25)


def test_each_seed_of_a_table_is_once_the_other_one(folders: list[Path]) -> None:
    shown = second_seeds(folders)
    assert len(shown) == 100
    assert all(measured == other for _, measured, other in shown)  # both seeds were made equal


def test_finalists_are_those_with_two_fresh_seeds_on_the_test_images(tmp_path: Path) -> None:
    trials(4, 0).assign(trial=range(4)).to_csv(tmp_path / "trials.csv", index=False)
    runs = [(0, "test", 0.02), (0, "test", 0.03), (1, "test", 0.02), (2, "folds", 0.02),
            (2, "folds", 0.02), (3, "test", 0.04), (3, "test", 0.04)]  # fmt: skip
    frame = pd.DataFrame(runs, columns=["trial", "judge", "test_loss"]).assign(state="done")
    frame.to_csv(tmp_path / "confirmations.csv", index=False)
    others = [other for _, _, other in fresh_seeds([tmp_path])]
    assert others == pytest.approx([math.log(0.025), math.log(0.04)])


def test_both_tables_are_printed(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder) for folder in folders]) == 0
    printed = capsys.readouterr().out
    assert "of studies (400)" in printed
    assert "random, of a table (50)" in printed
    assert "A full training counts 1.00: random designs, two seeds (100)" in printed
    then = next(row for row in printed.splitlines() if "the study, then" in row)
    assert [float(mean) for mean in re.findall(r"([+-]\S+), ", then)] == pytest.approx(
        [-10, -10], abs=0.3
    )


def test_one_study_is_too_few(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folders[0])]) == 2
    assert "give two or more, such as results/*/" in capsys.readouterr().err
