from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import fronts as module
from benchmarks.fronts import (
    Front,
    difference,
    epochs_of,
    fresh_difference,
    front,
    fronts,
    main,
    read_runs,
    table,
    trainings,
)
from benchmarks.trainings import Training
from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE, REFERENCE_DESIGNS
from search.config import StudyConfig
from search.tables.files import StudyTables

SIZES = (2_500, 4_000, 20_000)


DESIGNS = {
    "pareto": json.dumps(BASELINE.to_dict()),
    "accuracy": json.dumps(REFERENCE_DESIGNS["published-7758"].to_dict()),
    "smallest": json.dumps(REFERENCE_DESIGNS["published-4392"].to_dict()),
}
"""The design that all trials of a goal's study have here."""


def study(goal: str, *trials: tuple[float, int, float, str], look: float = 1.0) -> StudyTables:
    """A study whose trials are (accuracy, parameters, epochs trained after one look, state)."""
    rows = [
        {"trial": number, "ended": f"2026-11-27T00:0{number}:00", "state": state,
         "validation_accuracy": accuracy, "parameters": parameters, "design": DESIGNS[goal]}
        for number, (accuracy, parameters, _, state) in enumerate(trials)
    ]  # fmt: skip
    epochs = [
        {"trial": number, "look": length}
        for number, (_, _, many, _) in enumerate(trials)
        for length in (look, *[19.0] * int(many))
    ]
    tables = {"trials": pd.DataFrame(rows), "epochs": pd.DataFrame(epochs)}
    config = replace(StudyConfig(), goal=goal)
    return StudyTables(Path(goal), goal, "", config, {}, tables)


PARETO = study("pareto", (0.990, 2_000, 3, "missed"), (0.994, 3_000, 3, "passed"))


def best(found: Front) -> dict[int, tuple[float, int]]:
    """Accuracy and parameters of the best design of each size."""
    return {size: (each.accuracy, each.parameters) for size, each in found.best.items()}


def test_a_look_of_less_than_an_epoch_costs_its_length() -> None:
    made = study("smallest", (0.9, 2_000, 0, "screened"), (0.99, 3_000, 2, "missed"), look=0.25)
    assert epochs_of(made).to_dict() == {0: 0.25, 1: 2.25}


def test_the_front_of_a_size_is_the_best_of_those_designs_smaller_ones_included() -> None:
    found = front(PARETO, SIZES, 99)
    assert best(found) == {2_500: (0.990, 2_000), 4_000: (0.994, 3_000), 20_000: (0.994, 3_000)}


def test_designs_that_were_not_trained_in_full_are_not_on_it() -> None:
    made = study("accuracy", (0.999, 2_000, 3, "pruned"), (0.99, 3_000, 3, "missed"))
    assert best(front(made, SIZES, 99)) == {4_000: (0.99, 3_000), 20_000: (0.99, 3_000)}


def test_all_are_cut_at_the_epochs_of_the_one_that_trained_fewest() -> None:
    """By hand: the other trained 3 + 1 epochs, so of pareto's 4 and 4 only the first count."""
    other = study("accuracy", (0.991, 2_400, 3, "missed"))
    own, its = fronts([PARETO, other], SIZES)
    assert (own.epochs, its.epochs) == (4, 4)
    assert best(own) == dict.fromkeys(SIZES, (0.990, 2_000))
    between = difference([own, its], 2_500)
    assert between is not None
    assert between.points == pytest.approx(-0.1)
    assert math.isnan(between.error)
    assert between.studies == (1, 1)


def test_whole_studies_are_not_cut() -> None:
    own, its = fronts([PARETO, study("accuracy", (0.991, 2_400, 3, "missed"))], SIZES, whole=True)
    assert (own.epochs, its.epochs) == (8, 4)
    assert best(own)[4_000] == (0.994, 3_000)


def test_the_difference_is_between_the_means_over_studies_of_pareto_and_of_the_best_goal() -> None:
    """By hand: 99.0 and 99.4 against 99.1 and 98.9, each with a standard error; 98.95 is less."""
    second = study("pareto", (0.994, 2_000, 3, "missed"))
    once = study("smallest", (0.9895, 2_000, 3, "missed"))
    better, later = (study("accuracy", (share, 2_400, 3, "missed")) for share in (0.991, 0.989))
    found = fronts([PARETO, second, once, better, later], SIZES)
    between = difference(found, 2_500)
    assert between is not None
    assert (between.points, between.error) == pytest.approx((0.2, (0.2**2 + 0.1**2) ** 0.5))
    assert between.studies == (2, 2)
    last = [str([*column.cells][-1]) for column in table(found, SIZES).columns]
    assert last[3] == "+0.200 ± 0.224, n 2, 2"


def test_a_size_that_no_other_goal_reached_says_nothing() -> None:
    found = fronts([PARETO, study("accuracy", (0.991, 9_000, 7, "missed"))], SIZES)
    assert difference(found, 2_500) is None
    assert str([*table(found, SIZES).columns[3].cells][-1]) == "-"


def test_one_goal_alone_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(UserError, match="have the goals pareto; give at least one of goal pareto"):
        fronts([PARETO, PARETO], SIZES)


def test_what_is_no_study_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "holds no study" in capsys.readouterr().err


def test_a_study_of_an_earlier_version_is_told() -> None:
    recent = study("accuracy", (0.99, 3_000, 3, "missed"))
    trials = recent.trials.drop(columns="ended")
    older = replace(recent, tables={**recent.tables, "trials": trials})
    with pytest.raises(UserError, match="accuracy is a study of an earlier version"):
        fronts([PARETO, older], SIZES)


THREE = [PARETO, study("accuracy", (0.991, 2_400, 3, "missed")),
         study("smallest", (0.993, 3_900, 3, "missed"))]  # fmt: skip


def test_each_design_of_a_front_is_trained_once_for_each_seed() -> None:
    """The same seeds for every design, all 60,000 images, judged on the test images at the end."""
    orders = trainings(fronts([*THREE, PARETO], SIZES), 2)
    assert len({order.key for order in orders}) == len(orders) == 6
    assert orders[0].seed == orders[2].seed != orders[3].seed
    task = orders[0].task
    assert (task.protocol, task.judged, task.budget.epochs) == ("assignment", "last epoch", 19)
    assert task.budget.train_images is None


RUNS = {"pareto": [0.990, 0.994], "accuracy": [0.991, 0.993], "smallest": [0.992, 0.994]}


def kept(folder: Path, goals: dict[str, list[float]]) -> Path:
    """A folder with the runs of each goal's design."""
    rows = [
        {"design": order.name, "seed": order.seed, "test_accuracy": share}
        for goal, accuracies in goals.items()
        for order, share in zip(of(goal), accuracies, strict=False)
    ]
    pd.DataFrame(rows).to_csv(folder / "trainings.csv", index=False)
    return folder


def of(goal: str) -> list[Training]:
    """The two runs of a goal's design."""
    other = "accuracy" if goal == "pareto" else "pareto"
    found = fronts([study(name, (0.99, 2_000, 3, "missed")) for name in (goal, other)], SIZES)
    return trainings(found, 2)[::2]


def test_on_fresh_seeds_pareto_is_compared_with_the_goal_that_is_best_there(tmp_path: Path) -> None:
    """By hand: 99.2 on average against 99.3 and, at 4,000 only, 99.2; paired: -0.2 and 0.0."""
    found = fronts(THREE, SIZES)
    runs = read_runs(kept(tmp_path, RUNS), found)
    for size, expected in ((2_500, 0.0), (4_000, -0.001)):
        between = fresh_difference(found, size, runs)
        assert between is not None
        assert between.difference == pytest.approx(expected)
        assert between.seeds == 2
    last = [str([*column.cells][-1]) for column in table(found, SIZES, runs).columns]
    assert last[4] == "-0.100 (-1.371 to +1.171)"  # 12.706, Student's t for 1 degree, times 0.1


def test_a_seed_that_a_design_still_lacks_is_left_out(tmp_path: Path) -> None:
    found = fronts(THREE, SIZES)
    runs = read_runs(kept(tmp_path, {**RUNS, "accuracy": [0.991]}), found)
    assert [len(accuracies) for accuracies in runs.values()] == [1, 1, 1]
    assert str([*table(found, SIZES, runs).columns[4].cells][-1]) == "-0.200"


def test_the_command_trains_the_fronts_and_compares_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "read_study", lambda folder: THREE[int(str(folder))])
    monkeypatch.setattr(module, "train_all", lambda _, folder, __: kept(folder, RUNS))
    assert main(["0", "1", "2", "--seeds", "2", "--to", str(tmp_path)]) == 0
    assert "on 2 fresh seeds" in capsys.readouterr().out


def test_fresh_seeds_need_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["a", "b", "--seeds", "2"])
    assert "--seeds and --to go together" in capsys.readouterr().err
