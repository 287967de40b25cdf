from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from search import statistics
from search.final_run import FinalRun
from search.goals import GOALS
from search.record import TrialRecord
from search.statistics import confidence
from search.tables import confirmations, trials
from search.tables.confirmations import Luck
from search.tables.csv_text import to_csv
from search.tables.files import read_table
from search.terminal import confirmation as words
from search.terminal import verdicts
from search.terminal.comparison import comparison_text
from tests.search.studies import EASY, THREE, final_run, small, trial

TARGET = 0.994
RUNS = [
    *(final_run(1, index, value) for index, value in enumerate([0.9941, 0.9939, 0.9943])),
    *(final_run(3, index, value) for index, value in enumerate([0.9967, 0.9969, 0.9968])),
    final_run(2, 0, 0.9960), final_run(2, 1, None, "diverged: loss is nan"),
]  # fmt: skip


def frames(runs: list[FinalRun], *more: TrialRecord) -> dict[str, pd.DataFrame]:
    rows = [trials.trial_row(record, TARGET) for record in (*THREE, *more)]
    return confirmations.with_confirmation(of_trials(rows), runs, TARGET, "abc")


def of_trials(rows: list[trials.Row]) -> dict[str, pd.DataFrame]:
    frame = trials.trials_frame(rows, "abc", False)
    return {"trials": frame, "leaderboard": trials.leaderboard(frame, GOALS["accuracy"])}


def test_finalists_stand_by_their_mean_with_their_verdicts() -> None:
    found = trials.rows_of(frames(RUNS)["finalists"])
    assert [row["trial"] for row in found] == [3, 2, 1]
    assert [row["baseline"] for row in found] == [False, False, True]
    assert [verdicts.verdict_of(row) for row in found] == ["proven", "1 failed", "confirmed"]
    assert [row["failed_seeds"] for row in found] == [0, 1, 0]
    best = found[0]
    assert best["test_accuracy"] == pytest.approx(0.9968)
    assert best["drop"] == pytest.approx(0.7 - 0.9968)
    alone = statistics.verdict([0.9967, 0.9969, 0.9968], TARGET, 10_000)
    assert best["lower_bound"] == pytest.approx(alone.lower_bound, abs=1e-6)
    assert (best["judge"], best["epochs"], best["shared_errors"]) == ("test", 19, None)


def test_runs_in_any_order_give_equal_tables() -> None:
    mixed = list(RUNS)
    random.Random(0).shuffle(mixed)
    one, two = frames(RUNS), frames(mixed)
    assert to_csv(one["finalists"]) == to_csv(two["finalists"])


def test_the_leaderboard_carries_the_verdicts_of_its_rows() -> None:
    board = frames(RUNS[:6])["leaderboard"]
    assert list(board["trial"]) == [3, 2, 1]
    assert board["seeds"].astype(object).where(board["seeds"].notna(), None).tolist() == [
        3,
        None,
        3,
    ]
    assert board["pareto"].tolist() == [True, False, False]
    names = (*trials.LEADERBOARD_COLUMNS[:-1], "pareto", *confirmations.VERDICT_COLUMNS, "study")
    assert tuple(board.columns) == names


def test_a_study_without_runs_has_empty_verdicts_and_no_further_files(tmp_path: Path) -> None:
    found = frames([])
    assert "finalists" not in found
    assert "confirmations" not in found
    assert found["leaderboard"]["seeds"].isna().all()
    (tmp_path / "leaderboard.csv").write_text(to_csv(found["leaderboard"]))
    assert read_table(tmp_path / "leaderboard.csv")["proven"].isna().all()


def test_an_empty_study_has_tables_too() -> None:
    empty = confirmations.with_confirmation(of_trials([]), [], TARGET, "abc")
    assert empty["leaderboard"].empty


def test_runs_are_read_back_from_their_file(tmp_path: Path) -> None:
    for name, frame in frames(RUNS).items():
        (tmp_path / f"{name}.csv").write_text(to_csv(frame), encoding="utf-8")
    again = read_table(tmp_path / "confirmations.csv")
    assert tuple(again.columns) == confirmations.RUN_COLUMNS
    assert again["test_accuracy"].isna().sum() == 1
    assert again["reason"].dropna().tolist() == ["diverged: loss is nan"]
    read = read_table(tmp_path / "finalists.csv")
    assert tuple(read.columns) == confirmations.FINALIST_COLUMNS
    assert [verdicts.verdict_of(row) for row in trials.rows_of(read)] == [
        "proven", "1 failed", "confirmed",
    ]  # fmt: skip


def test_two_trials_of_one_design_are_judged_as_one() -> None:
    """Judged apart, 1 + 2 seeds were 'confirmed' and 'not confirmed' of the very same network."""
    twin = trial(9, small(4), 0.8)
    runs = [
        final_run(9, 0, 0.9967, design=small(4)),
        final_run(3, 1, 0.9969),
        final_run(3, 2, 0.9968),
    ]
    found = trials.rows_of(frames(runs, twin)["finalists"])
    assert [(row["trial"], row["seeds"]) for row in found] == [(3, 3)]
    together = statistics.verdict([0.9967, 0.9969, 0.9968], TARGET, 10_000)
    assert found[0]["lower_bound"] == pytest.approx(together.lower_bound, abs=1e-6)
    assert found[0]["proven"]


def test_a_seed_that_failed_in_one_of_two_trials_of_a_design_counts_for_the_design() -> None:
    runs = [final_run(9, 0, None, "diverged", design=small(4)), final_run(3, 1, 0.9969)]
    (row,) = trials.rows_of(frames(runs, trial(9, small(4), 0.8))["finalists"])
    assert (row["trial"], row["seeds"], row["failed_seeds"]) == (3, 2, 1)
    assert not row["confirmed"]


def test_one_design_under_two_recipes_is_judged_as_two() -> None:
    recipe = EASY.recipe.to_dict()
    own = trial(9, small(4), 0.8, recipe=recipe)
    runs = [final_run(3, 0, 0.9967), replace(final_run(9, 0, 0.99, design=small(4)), finalist="x")]
    found = trials.rows_of(frames(runs, own)["finalists"])
    assert [(row["trial"], row["seeds"]) for row in found] == [(3, 1), (9, 1)]


def with_answers(trial: int, index: int, *wrong: int) -> FinalRun:
    misread = tuple((60_000 + image, 4, 9) for image in wrong)
    return final_run(trial, index, 1 - len(wrong) / 10_000, misread=misread)


def test_answers_are_kept_and_make_the_bound_sharper() -> None:
    hard = range(20)
    runs = [with_answers(3, seed, *hard, *range(100 * seed, 100 * seed + 20)) for seed in (1, 2, 3)]
    found = frames(runs)
    (row,) = trials.rows_of(found["finalists"])
    worst = statistics.verdict([0.996] * 3, TARGET, 10_000)
    assert row["lower_bound"] > worst.lower_bound
    assert row["shared_errors"] == pytest.approx(0.5, abs=0.01)
    assert row["images_error"] > row["seeds_error"] == 0
    assert found["confirmations"]["misread"].tolist() == [40] * 3
    errors = found["errors"]
    assert tuple(errors.columns) == confirmations.ERROR_COLUMNS
    assert len(errors) == 120
    first = trials.rows_of(errors)[0]
    assert (first["part"], first["image"], first["truth"], first["answer"]) == ("test", 0, 4, 9)


def test_one_run_without_its_answers_leaves_the_worst_case() -> None:
    runs = [with_answers(3, 1, *range(40)), final_run(3, 2, 0.9955), with_answers(3, 3, 1)]
    (row,) = trials.rows_of(frames(runs)["finalists"])
    values = [0.996, 0.9955, 0.9999]
    assert row["lower_bound"] == pytest.approx(
        statistics.verdict(values, TARGET, 10_000).lower_bound, abs=1e-6
    )
    assert row["shared_errors"] is None
    table = confirmations.confirmations_frame(runs, "abc")["misread"]
    assert table.isna().tolist() == [False, True, False]


def test_the_two_judges_are_two_rows_and_the_leaderboard_carries_the_test_images() -> None:
    folds = [final_run(3, fold, 0.995, judge="folds", misread=((5, 1, 7),)) for fold in range(6)]
    found = frames([*RUNS, *folds])
    rows = trials.rows_of(found["finalists"])
    assert [(row["trial"], row["judge"]) for row in rows] == [
        (3, "test"), (2, "test"), (1, "test"), (3, "folds"),
    ]  # fmt: skip
    alone = statistics.verdict([0.995] * 6, TARGET, 10_000, "folds")
    assert rows[3]["lower_bound"] == pytest.approx(alone.lower_bound, abs=1e-6)
    assert rows[3]["p_holm"] == pytest.approx(alone.p_value, abs=1e-6)  # alone with its judge
    board = trials.rows_of(found["leaderboard"])
    assert [row["judge"] for row in board] == ["test"] * 3
    assert len(board) == 3
    only = trials.rows_of(frames(folds)["leaderboard"])
    assert [row["judge"] for row in only] == ["folds", None, None]
    (part,) = set(found["errors"]["part"])
    assert part == "train"


def test_a_proof_is_corrected_for_the_designs_that_were_tried() -> None:
    near = [0.99490, 0.99495, 0.99500, 0.99492, 0.99498]
    alone = statistics.verdict(near, 0.9936, 10_000)
    assert alone.proven
    assert alone.p_value is not None
    assert alone.p_value > 0.05 / 3
    runs = [final_run(t, seed, value) for t in (1, 2, 3) for seed, value in enumerate(near)]
    rows = [trials.trial_row(record, TARGET) for record in THREE]
    found = confirmations.with_confirmation(of_trials(rows), runs, 0.9936, "abc")["finalists"]
    assert found["confirmed"].all()
    assert not found["proven"].any()
    assert found["p_holm"].tolist() == pytest.approx([3 * alone.p_value] * 3, abs=1e-5)


def test_the_answers_are_the_confirmed_designs_of_each_kind() -> None:
    rows = trials.rows_of(frames(RUNS)["finalists"])
    assert {row["trial"]: row["answers"] for row in rows} == {
        3: "most accurate; smallest; fewest epochs", 2: None, 1: None,
    }  # fmt: skip
    apart = frames([*RUNS[:3], final_run(3, 0, 0.99), final_run(2, 0, 0.997)])["finalists"]
    assert {row["trial"]: row["answers"] for row in trials.rows_of(apart)} == {
        2: "most accurate; smallest; fewest epochs", 1: None, 3: None,
    }  # fmt: skip
    lines = verdicts.answer_lines(frames(RUNS)["finalists"])
    assert lines == [
        "Confirmed, beside the baseline:",
        "  most accurate  trial 3     99.680 %     236 parameters  19 epochs  proven",
        "  smallest       trial 3     99.680 %     236 parameters  19 epochs  proven",
        "  fewest epochs  trial 3     99.680 %     236 parameters  19 epochs  proven",
        "  baseline       trial 1     99.410 %  18,430 parameters  19 epochs  confirmed",
    ]
    none = verdicts.answer_lines(frames([final_run(3, 0, 0.99)])["finalists"])
    assert none == []
    poor = verdicts.answer_lines(frames([final_run(1, 0, 0.99)])["finalists"])
    assert poor[0] == "None is confirmed."


def test_causes_of_doubt_in_words() -> None:
    runs = [with_answers(3, seed, *range(20), 100 + seed) for seed in (1, 2, 3)]
    (line,) = verdicts.doubt_lines(trials.rows_of(frames(runs)["finalists"]))
    assert line.startswith("Standard error of the mean in points, by cause: trial 3: seeds 0.000, ")
    assert "images 0.04" in line
    assert "% of its errors shared)" in line
    assert verdicts.doubt_lines(trials.rows_of(frames(runs[:1])["finalists"])) == []


def test_what_proven_means_by_each_judge() -> None:
    rows = trials.rows_of(frames(RUNS)["finalists"])
    text = verdicts.explanation(TARGET, rows)
    assert "corrected for the 3 designs in the table (Holm)" in text
    assert "Test images were used for nothing else" in text
    text = verdicts.explanation(TARGET, rows[:1], "folds")
    assert "the bound allows for the images that the six trainings share" in text
    assert "Holm" not in text
    old = [{name: row[name] for name in row if name != "p_holm"} for row in rows]
    assert "Holm" not in verdicts.explanation(TARGET, old)


def test_luck_compares_what_is_expected_with_what_was_measured() -> None:
    found = frames(RUNS)
    luck = confirmations.luck(found["trials"], found["finalists"])
    assert luck.designs == 3
    assert luck.optimism == statistics.expected_optimism([0.5, 0.6, 0.7], 10_000)
    assert luck.best_drop == pytest.approx(0.7 - 0.9968)
    assert luck.finalists == 2
    assert luck.mean_drop == pytest.approx((0.7 - 0.9968 + 0.6 - 0.9960) / 2)


def test_a_pruned_trials_accuracy_is_no_validation_to_drop_from() -> None:
    found = frames([final_run(4, 0, 0.9)], trial(4, small(2), 0.3, "pruned"))["finalists"]
    assert found["validation_accuracy"].isna().all()
    assert found["drop"].isna().all()


@pytest.mark.parametrize(
    ("luck", "lines"),
    [
        (Luck(0, None, None, 0, None), []),
        (
            Luck(7, 0.00104, None, 0, None),
            [
                "Luck: the best of 7 designs trained to their last epoch is expected to look "
                "better than it is by about 0.10 points (selection bias: optimizer's curse, Smith "
                "and Winkler 2006)."
            ],
        ),
    ],
)
def test_luck_in_words(luck: Luck, lines: list[str]) -> None:
    assert words.luck_lines(luck) == lines


def test_measured_drops_in_words() -> None:
    both = words.luck_lines(Luck(7, 0.001, 0.0005, 3, -0.0002))[1]
    assert "the best one by 0.05 points, the 3 designs of the search by -0.02 points" in both
    only = words.luck_lines(Luck(7, 0.001, None, 1, 0.0004))[1]
    assert "the one design of the search by 0.04 points on average" in only


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ([], [], "Trials 3 and 1 have no seed in common: nothing to compare."),
        ([0.99], [0.98], "over 1 common seeds: +1.000 points of test accuracy; one seed has no"),
        ([0.99, 0.98], [0.98, 0.97], "+1.000 points of test accuracy; the differences are all eq"),
        ([0.99, 0.98, 0.99], [0.98, 0.99, 0.98], "p = 0.67 (paired t test): these seeds cannot te"),
        ([0.9967, 0.9969, 0.9968], [0.9941, 0.9942, 0.9943], "these seeds tell them apart, on the"),
    ],
)
def test_comparisons_in_words(first: list[float], second: list[float], text: str) -> None:
    assert text in comparison_text(3, 1, confidence.compare(first, second))


def test_the_table_of_finalists_fits_a_narrow_terminal() -> None:
    console = Console(width=80, record=True)
    many = [final_run(1, index, 0.99 + index % 2 / 300) for index in range(100)]
    rows = trials.rows_of(frames([*many, *RUNS[3:]])["finalists"])
    console.print(verdicts.finalists_table(rows))
    text = console.export_text()
    assert "…" not in text
    assert "1 (baseline)" in text
    assert "not confirmed" in text
    assert " 0/100 " in text
    assert "99.680 ± 0.010  99.67     3/3" in text
