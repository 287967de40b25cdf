from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_arch.design import Conv, Design, MaxPool
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejection
from mnist_arch.training import EpochRecord
from search import tables
from search.record import TrialRecord

TARGET = 0.994


def trial(number: int, accuracies: list[float], state: str = "", **other: object) -> TrialRecord:
    epochs = tuple(
        EpochRecord(epoch, 0.1, 0.5, 0.9, 0.4, accuracy, 10.0, 12.0, 5000.0)
        for epoch, accuracy in enumerate(accuracies, 1)
    )
    passed = bool(accuracies) and accuracies[-1] >= TARGET
    record = TrialRecord(
        number=number, state=state or ("passed" if passed else "missed"), design=BASELINE,
        epochs=epochs, rejections=(), reason="", repeat_of=None, seed=number, engine="torch",
        device="cpu", worker="0", recipe=None,
    )  # fmt: skip
    return replace(record, **other)  # type: ignore[arg-type]


SMALLER = Design((Conv(4), MaxPool(), Conv(10, 14, 0, batch_norm=False, relu=False)))


def test_accuracy_is_the_last_epochs_and_the_best_is_a_fact_beside_it() -> None:
    frame = tables.trials_frame([trial(0, [0.98, 0.996, 0.993])], TARGET, False)
    row = frame.iloc[0]
    assert row["state"] == "missed"
    assert row["validation_accuracy"] == 0.993
    assert row["best_validation_accuracy"] == 0.996
    assert row["first_pass_epoch"] == 2
    assert row["epochs"] == 3
    assert row["seconds"] == 36.0
    assert row["seconds_per_epoch"] == 12.0
    assert row["images_per_second"] == 5000.0


def test_the_columns_are_the_designed_ones() -> None:
    frame = tables.trials_frame([trial(0, [0.5])], TARGET, False)
    assert tuple(frame.columns) == tables.TRIAL_COLUMNS
    assert tuple(tables.leaderboard(frame).columns) == tables.LEADERBOARD_COLUMNS


def test_the_leaderboard_ranks_by_accuracy_then_size_then_trial() -> None:
    records = [
        trial(0, [0.995]),
        trial(1, [0.993]),
        trial(2, [0.996]),
        trial(3, [0.995], design=SMALLER),
        trial(4, [0.995]),
        trial(5, [0.999], state="pruned"),
        trial(6, [float("nan")], state="failed"),
    ]
    ranked = tables.leaderboard(tables.trials_frame(records, TARGET, False))
    assert list(ranked["trial"]) == [2, 3, 0, 4]
    assert list(ranked["rank"]) == [1, 2, 3, 4]


@given(st.randoms(use_true_random=False))
def test_equal_trials_in_any_order_give_equal_files(shuffle: random.Random) -> None:
    records = [
        *(trial(number, [0.99, 0.994 + number % 3 / 1000]) for number in range(8)),
        trial(8, [], "rejected", rejections=(Rejection("parameters", 30_000, 19_999, "too many"),)),
    ]
    mixed = list(records)
    shuffle.shuffle(mixed)

    def files(given: list[TrialRecord]) -> list[str]:
        trials = tables.trials_frame(given, TARGET, False)
        frames = [trials, tables.leaderboard(trials), tables.epochs_frame(given)]
        return [tables.to_csv(frame) for frame in [*frames, tables.rejections_frame(given)]]

    assert files(mixed) == files(records)


def test_epochs_of_an_interrupted_trial_are_in_no_table() -> None:
    records = [trial(0, [0.9, 0.95], "interrupted"), trial(1, [0.9])]
    assert list(tables.epochs_frame(records)["trial"]) == [1]
    frame = tables.trials_frame(records, TARGET, False)
    assert frame["validation_accuracy"].isna().tolist() == [True, False]


def test_running_trials_are_in_no_table() -> None:
    assert tables.trials_frame([trial(0, [0.9], "running")], TARGET, False).empty


def test_rejections_have_a_row_for_each_broken_limit() -> None:
    broken = (
        Rejection("parameters", 30_000, 19_999, "parameters: 30,000, must be fewer than 20,000"),
        Rejection("epochs", 20, 19, "epochs: 20, must be fewer than 20"),
    )
    frame = tables.rejections_frame([trial(3, [], "rejected", rejections=broken)])
    assert frame[["trial", "limit", "counted", "allowed"]].to_numpy().tolist() == [
        [3, "epochs", 20, 19],
        [3, "parameters", 30_000, 19_999],
    ]
    assert tables.refusals(frame)["largest"].tolist() == [20, 30_000]


def test_the_protocol_is_in_every_row() -> None:
    frame = tables.trials_frame([trial(0, [0.995])], TARGET, True)
    assert frame["selected_on_test"].tolist() == [True]
    assert tables.leaderboard(frame)["selected_on_test"].tolist() == [True]


def test_tables_are_read_back_as_written(tmp_path: Path) -> None:
    records = [trial(0, [0.98, 0.995]), trial(1, [], "rejected", design=None)]
    tables.write_tables(tmp_path, tables.frames_of(records, TARGET, False))
    frame = tables.trials_frame(records, TARGET, False)
    again = tables.read_table(tmp_path / "trials.csv")
    for column in ("trial", "parameters", "epochs", "validation_accuracy", "seed"):
        pd.testing.assert_series_equal(again[column], frame[column])
    assert {path.name for path in tmp_path.iterdir()} == {
        "trials.csv", "epochs.csv", "rejections.csv", "leaderboard.csv",
    }  # fmt: skip


def test_a_study_without_trials_gives_tables_with_headings(tmp_path: Path) -> None:
    tables.write_tables(tmp_path, tables.frames_of([], TARGET, False))
    assert (tmp_path / "trials.csv").read_text() == ",".join(tables.TRIAL_COLUMNS) + "\n"
    assert tables.read_table(tmp_path / "leaderboard.csv").empty


@pytest.mark.parametrize(
    ("sort", "order"),
    [("accuracy", [2, 0, 1]), ("parameters", [1, 2, 0]), ("trial", [0, 1, 2])],
)
def test_orders_of_the_leaderboard(sort: str, order: list[int]) -> None:
    records = [trial(0, [0.995]), trial(1, [0.994], design=SMALLER), trial(2, [0.996])]
    ranked = tables.leaderboard(tables.trials_frame(records, TARGET, False))
    assert list(tables.in_order(ranked, sort, None)["trial"]) == order
    assert list(tables.in_order(ranked, sort, 1)["trial"]) == order[:1]


def test_the_baseline_is_the_first_trained_trial_of_the_assignments_design() -> None:
    records = [
        trial(0, [0.9], "interrupted"),
        trial(1, [0.995], design=SMALLER),
        trial(2, [0.993]),
    ]
    frame = tables.trials_frame(records, TARGET, False)
    assert tables.baseline(frame)["trial"].tolist() == [2]


def test_the_nearest_are_those_that_missed_by_least() -> None:
    records = [trial(number, [0.98 + number / 1000]) for number in range(5)]
    frame = tables.trials_frame(records, TARGET, False)
    assert tables.nearest(frame)["trial"].tolist() == [4, 3, 2]


def test_a_searched_recipe_has_its_columns() -> None:
    recipe = {"learning_rate": 0.2, "weight_decay": 1e-4, "augmentation": {"degrees": 5.0}}
    frame = tables.trials_frame([trial(0, [0.9], recipe=recipe)], TARGET, False)
    assert frame["learning_rate"].tolist() == [0.2]
    assert frame["augmentation_degrees"].tolist() == [5.0]
