from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from search.config import StudyConfig
from search.confirmation import finalists
from search.confirmation.racing import Race
from search.final_run import Finalist
from search.goals import GOALS
from search.record import TrialRecord
from search.run_config import ConfirmConfig
from search.tables import trials
from tests.search.studies import EASY, HARD, THREE, small, trial


def by_number(records: Sequence[TrialRecord]) -> finalists.Records:
    return {record.number: record for record in records}


def tables(records: Sequence[TrialRecord], config: StudyConfig = EASY) -> dict[str, pd.DataFrame]:
    rows = [trials.trial_row(record, config.rules.target) for record in records]
    frame = trials.trials_frame(rows, "", False)
    return {"trials": frame, "leaderboard": trials.leaderboard(frame, GOALS["accuracy"])}


def best(records: Sequence[TrialRecord], rank_by: str, top: int) -> list[Finalist]:
    board = tables(records)["leaderboard"]
    return finalists.best(board, by_number(records), EASY, rank_by, top)


@pytest.mark.parametrize(
    ("rank_by", "numbers"),
    [
        ("accuracy", [4, 2, 3, 1]),  # 2 and 3 are as good: the smaller one first
        ("parameters", [4, 2, 3, 1]),
        ("macs", [4, 2, 3, 1]),
        ("epochs", [4, 2, 3, 1]),  # equally many: by accuracy
        ("seconds", [1, 3, 4, 2]),
    ],
)
def test_finalists_are_the_first_that_pass_by_the_rule(rank_by: str, numbers: list[int]) -> None:
    records = [
        trial(1, BASELINE, 0.5, seconds=1),
        trial(2, small(6), 0.6, seconds=4),
        trial(3, small(8), 0.6, seconds=2),
        trial(4, small(4), 0.7, seconds=3),
        trial(5, small(2), 0.9, "missed"),
    ]
    for top in (2, 9):
        found = best(records, rank_by, top)
        assert [finalist.trial for finalist in found] == numbers[:top]


def by_answer(top: int) -> tuple[dict[str, list[int]], list[int]]:
    records = [
        trial(1, BASELINE, 0.6), trial(2, small(6), 0.5), trial(3, small(4), 0.4),
        trial(4, small(8), 0.7), trial(5, small(10), 0.55), trial(6, small(4), 0.3),
        trial(7, small(2), 0.0, "missed"),
    ]  # fmt: skip
    answers, others = finalists.by_answer(tables(records), by_number(records), EASY, top)
    trials_of = {name: [f.trial for f in found] for name, found in answers.items()}
    return trials_of, [f.trial for f in others]


def test_three_finalists_are_the_three_answers_with_what_to_try_next() -> None:
    answers, others = by_answer(3)
    assert answers == {
        "most accurate": [4, 1, 5, 2],
        "smallest": [3, 2, 4, 5],  # trial 6 found trial 3's design again
        "fewest epochs": [4, 1, 5, 2],
    }
    assert others == []


def test_a_smaller_design_that_missed_the_target_narrowly_is_tried_first() -> None:
    """The standard error of 90 % on 10,000 images is 0.3 points."""
    config = replace(EASY, rules=replace(EASY.rules, target=0.9))
    records = [
        trial(1, BASELINE, 0.95), trial(2, small(20), 0.91), trial(3, small(16), 0.898, "missed"),
        trial(4, small(12), 0.899, "missed"), trial(5, small(8), 0.8975, "missed"),
        trial(6, small(6), 0.8971, "missed"), trial(7, small(4), 0.8969, "missed"),
        trial(8, small(24), 0.8999, "missed"),
    ]  # fmt: skip
    answers, _ = finalists.by_answer(tables(records, config), by_number(records), config, 3)
    tried = {name: [finalist.trial for finalist in found] for name, found in answers.items()}
    assert tried["smallest"] == [6, 5, 4, 2]  # three misses, then what passes
    assert tried["most accurate"] == tried["fewest epochs"] == [1, 2]


def test_where_nothing_passes_narrow_misses_are_confirmed() -> None:
    config = replace(EASY, rules=replace(EASY.rules, target=0.9))
    records = [trial(1, small(16), 0.898, "missed"), trial(2, small(12), 0.899, "missed")]
    found = tables(records, config)
    assert finalists.obstacle(found, config, Path("x")) == ""
    answers, _ = finalists.by_answer(found, by_number(records), config, 3)
    assert [f.trial for f in answers["most accurate"]] == [2, 1]
    assert [f.trial for f in answers["smallest"]] == [2, 1]


def test_fewer_are_the_first_answers_and_more_are_filled_up_from_the_leaderboard() -> None:
    assert [list(by_answer(top)[0]) for top in (1, 2)] == [
        ["most accurate"], ["most accurate", "smallest"],
    ]  # fmt: skip
    assert [by_answer(top)[1] for top in (1, 2, 4, 5, 99)] == [[], [], [1, 5], [1, 5, 2], [1, 5, 2]]


def race(choices: ConfirmConfig) -> tuple[Race, str]:
    return finalists.race(tables(THREE), by_number(THREE), EASY, choices)


def test_what_is_asked_for_is_raced_or_run_with_the_baseline_beside() -> None:
    answers, note = race(ConfirmConfig(Path("x"), seeds=2))
    assert list(answers.answers) == ["most accurate", "smallest", "fewest epochs"]
    assert [f.trial for f in answers.beside] == [1]
    assert note == "The baseline, trial 1, beside them."
    ranked, _ = race(ConfirmConfig(Path("x"), top=1, rank_by="seconds"))
    assert (ranked.answers, [f.trial for f in ranked.others]) == ({}, [3])
    given, note = race(ConfirmConfig(Path("x"), trials=(1, 2), judge="folds"))
    assert ([f.trial for f in given.others], given.beside) == ([1, 2], [])
    assert (given.seeds, given.judge, answers.seeds) == (6, "folds", 2)
    assert note == "The baseline, trial 1, is one of them."


def test_the_first_epoch_that_passes_chooses_nothing() -> None:
    early, late = trial(1, small(4), 0.5), trial(2, small(6), 0.6)
    first, last = early.epochs[0], replace(early.epochs[0], epoch=2)
    low = replace(late.epochs[0], validation_accuracy=0.001)
    records = [
        replace(early, epochs=(first, last)),  # passes from its first epoch on
        replace(late, epochs=(low, replace(last, validation_accuracy=0.6))),  # in its second only
    ]
    board = tables(records)["leaderboard"]
    assert board.set_index("trial")["first_pass_epoch"].to_dict() == {2: 2, 1: 1}
    assert [finalist.trial for finalist in best(records, "epochs", 2)] == [2, 1]


def test_two_trials_of_one_design_are_one_finalist() -> None:
    records = [*THREE, trial(4, small(4), 0.7)]
    found = finalists.of_trials(by_number(records), EASY, [3, 4, 2])
    assert [finalist.trial for finalist in found] == [3, 2]
    assert [finalist.trial for finalist in best(records, "accuracy", 2)] == [3, 2]


def test_the_baseline_stands_beside_them_once() -> None:
    one, three = (best(THREE, "accuracy", top) for top in (1, 3))
    beside, note = finalists.baseline_beside(one, by_number(THREE), EASY)
    assert [finalist.trial for finalist in beside] == [1]
    assert note == "The baseline, trial 1, beside them."
    beside, note = finalists.baseline_beside(three, by_number(THREE), EASY)
    assert beside == []
    assert note == "The baseline, trial 1, is one of them."
    beside, note = finalists.baseline_beside([], by_number(THREE[1:]), EASY)
    assert beside == []
    assert note.startswith("No baseline beside them: no trial has trained the assignment's own")


def test_a_study_without_passing_designs_offers_the_nearest() -> None:
    folder = Path("results/x")
    nothing = "no design passes 100.00 %, and none was trained to its last epoch; search on first"
    assert finalists.obstacle(tables([]), HARD, folder) == nothing
    missed = [trial(1, small(8), 0.6, "missed"), trial(2, small(4), 0.7, "missed")]
    why = finalists.obstacle(tables(missed), HARD, folder)
    assert "the nearest is trial 2 with validation 70.00 %" in why
    assert why.endswith("anyway: python -m search.confirm results/x --trial 2")


def test_designs_chosen_by_the_test_images_cannot_be_confirmed_by_them() -> None:
    chosen_on_test = replace(EASY, protocol="assignment")
    found = tables(THREE)
    assert finalists.obstacle(found, EASY, Path("x")) == ""
    assert "chosen by the test images" in finalists.obstacle(found, chosen_on_test, Path("x"))


def test_a_trial_that_cannot_be_confirmed_says_why() -> None:
    failed = replace(trial(4, small(2), 0.1, "failed"), reason="diverged: loss is nan")
    duplicate = replace(trial(5, small(4), 0.1, "duplicate"), duplicate_of=3)
    records = by_number([*THREE, failed, duplicate])
    assert [f.trial for f in finalists.of_trials(records, EASY, [2, 1, 2])] == [2, 1]
    for number, message in (
        (9, "--trial 9: no such trial; finished ones: 1 to 5"),
        (4, r"--trial 4: its state is failed \(diverged: loss is nan\); give one that was trained"),
        (5, "--trial 5: its state is duplicate; give --trial 3"),
    ):
        with pytest.raises(UserError, match=message):
            finalists.of_trials(records, EASY, [number])
    with pytest.raises(UserError, match="finished ones: none yet"):
        finalists.of_trials({}, EASY, [0])
