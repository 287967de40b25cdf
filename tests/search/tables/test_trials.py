from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_arch.design import Conv, Design, MaxPool
from mnist_arch.epochs import EpochRecord
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejection
from search.goals import GOALS
from search.record import TrialRecord
from search.tables import trials as tables
from search.tables.csv_text import to_csv

TARGET = 0.994


def trial(number: int, accuracies: list[float], state: str = "", **other: object) -> TrialRecord:
    epochs = tuple(
        EpochRecord(epoch, 0.1, 0.5, 0.9, 0.4, accuracy, 10.0, 12.0, 5000.0)
        for epoch, accuracy in enumerate(accuracies, 1)
    )
    passed = bool(accuracies) and accuracies[-1] >= TARGET
    record = TrialRecord(
        number=number, state=state or ("passed" if passed else "missed"), design=BASELINE,
        epochs=epochs, rejections=(), reason="", duplicate_of=None, seed=number, engine="torch",
        device="cpu", worker="0", recipe=None,
    )  # fmt: skip
    return replace(record, **other)  # type: ignore[arg-type]


def frame_of(records: Sequence[TrialRecord], selected_on_test: bool = False) -> pd.DataFrame:
    rows = [tables.trial_row(record, TARGET) for record in records]
    return tables.trials_frame(rows, "abc", selected_on_test)


def board_of(records: Sequence[TrialRecord]) -> pd.DataFrame:
    return tables.leaderboard(frame_of(records), GOALS["accuracy"])


def epochs_of(records: Sequence[TrialRecord]) -> pd.DataFrame:
    return tables.epochs_frame([r for record in records for r in tables.epoch_rows(record)], "abc")


def rejections_of(records: Sequence[TrialRecord]) -> pd.DataFrame:
    rows = [row for record in records for row in tables.rejection_rows(record)]
    return tables.rejections_frame(rows, "abc")


LIMIT = Rejection("parameters", 30_000, 19_999, "parameters: 30,000, must be fewer than 20,000")
SMALLER = Design((Conv(4), MaxPool(), Conv(10, 14, 0, batch_norm=False, relu=False)))


def test_accuracy_is_the_last_epochs_and_the_best_is_a_fact_beside_it() -> None:
    frame = frame_of([trial(0, [0.98, 0.996, 0.993])])
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
    frame = frame_of([trial(0, [0.5])])
    assert tuple(frame.columns) == tables.TRIAL_COLUMNS
    assert tuple(tables.leaderboard(frame, GOALS["accuracy"]).columns) == tables.LEADERBOARD_COLUMNS


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
    ranked = board_of(records)
    assert list(ranked["trial"]) == [2, 3, 0, 4]
    assert list(ranked["rank"]) == [1, 2, 3, 4]


@given(st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_equal_trials_in_any_order_give_equal_files(shuffle: random.Random) -> None:
    records = [
        *(trial(number, [0.99, 0.994 + number % 3 / 1000]) for number in range(8)),
        trial(8, [], "rejected", rejections=(LIMIT,)),
    ]
    mixed = list(records)
    shuffle.shuffle(mixed)

    def files(given: list[TrialRecord]) -> list[str]:
        frames = [frame_of(given), board_of(given), epochs_of(given), rejections_of(given)]
        return [to_csv(frame) for frame in frames]

    assert files(mixed) == files(records)


def test_epochs_of_an_interrupted_trial_are_in_no_table() -> None:
    records = [trial(0, [0.9, 0.95], "interrupted"), trial(1, [0.9])]
    assert list(epochs_of(records)["trial"]) == [1]
    frame = frame_of(records)
    assert frame["validation_accuracy"].isna().tolist() == [True, False]


def test_rejections_have_a_row_for_each_broken_limit() -> None:
    broken = (
        LIMIT,
        Rejection("epochs", 20, 19, "epochs: 20, must be fewer than 20"),
    )
    frame = rejections_of([trial(3, [], "rejected", rejections=broken)])
    assert frame[["trial", "limit", "counted", "allowed"]].to_numpy().tolist() == [
        [3, "epochs", 20, 19],
        [3, "parameters", 30_000, 19_999],
    ]
    assert tables.refusals(frame)["largest"].tolist() == [20, 30_000]


def test_what_was_proposed_is_there_of_trained_designs() -> None:
    proposal = {"blocks": 3, "head": "average", "dropout_rate": 0.1, "bias": True}
    trained, looked = (
        replace(trial(number, [0.9], state), proposal=proposal)
        for number, state in enumerate(("missed", "screened"))
    )
    cells = frame_of([trained, looked])["proposal"]
    assert json.loads(cells[0]) == proposal
    assert pd.isna(cells[1])


def test_the_protocol_is_in_every_row() -> None:
    frame = frame_of([trial(0, [0.995])], True)
    assert frame["selected_on_test"].tolist() == [True]
    assert tables.leaderboard(frame, GOALS["accuracy"])["selected_on_test"].tolist() == [True]


def test_every_row_carries_its_study() -> None:
    records = [trial(0, [0.995]), trial(1, [], "rejected", rejections=(LIMIT,))]
    for frame in (frame_of(records), board_of(records), epochs_of(records), rejections_of(records)):
        assert set(frame["study"]) == {"abc"}


def test_a_broken_trial_has_its_reason_and_no_figures() -> None:
    record = trial(0, [0.9], "broken", reason="out of memory: host memory, 3 times")
    row = frame_of([record]).iloc[0]
    assert row["reason"] == "out of memory: host memory, 3 times"
    assert pd.isna(row["validation_accuracy"])
    assert epochs_of([record]).empty


def test_the_order_by_epochs_is_that_of_whole_trainings_never_of_the_first_pass() -> None:
    records = [
        trial(0, [0.994, 0.994]),  # passes from its first epoch on
        trial(1, [0.99, 0.996]),  # passes in its second only, and is better
        trial(2, [0.995]),  # was trained for one epoch in all
    ]
    assert list(tables.in_order(board_of(records), "epochs", None)["trial"]) == [2, 1, 0]


@pytest.mark.parametrize(
    ("sort", "order"),
    [("accuracy", [2, 0, 1]), ("parameters", [1, 2, 0]), ("trial", [0, 1, 2])],
)
def test_orders_of_the_leaderboard(sort: str, order: list[int]) -> None:
    records = [trial(0, [0.995]), trial(1, [0.994], design=SMALLER), trial(2, [0.996])]
    ranked = board_of(records)
    assert list(tables.in_order(ranked, sort, None)["trial"]) == order
    assert list(tables.in_order(ranked, sort, 1)["trial"]) == order[:1]


def test_the_baseline_is_the_first_trained_trial_of_the_assignments_design() -> None:
    records = [
        trial(0, [0.9], "interrupted"),
        trial(1, [0.995], design=SMALLER),
        trial(2, [0.993]),
    ]
    frame = frame_of(records)
    assert tables.baseline(frame)["trial"].tolist() == [2]


def test_the_nearest_are_those_that_missed_by_least() -> None:
    records = [trial(number, [0.98 + number / 1000]) for number in range(5)]
    frame = frame_of(records)
    assert tables.nearest(frame)["trial"].tolist() == [4, 3, 2]


def test_a_searched_recipe_has_its_columns() -> None:
    recipe = {"learning_rate": 0.2, "weight_decay": 1e-4, "augmentation": {"degrees": 5.0}}
    frame = frame_of([trial(0, [0.9], recipe=recipe)])
    assert frame["learning_rate"].tolist() == [0.2]
    assert frame["augmentation_degrees"].tolist() == [5.0]


def test_missing_cells_are_none() -> None:
    rows = tables.rows_of(frame_of([trial(0, [], "rejected", design=None)]))
    assert rows[0]["parameters"] is None
    assert rows[0]["trial"] == 0


def test_counts_in_words() -> None:
    assert tables.counts_in_words({"passed": 7}, ("passed", "missed")) == "7 passed, 0 missed"
