from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import soak
from benchmarks.soak import Kept, Soak, look
from search.tables.files import StudyFiles
from tests.search.studies import study_files, three_designs


@pytest.fixture
def done(tmp_path: Path) -> Soak:
    """A soak that has looked at a study of three designs, whose tables are whole."""
    folder = tmp_path / "soak-00"
    three_designs(folder)
    files: StudyFiles = study_files(folder)
    files.load(list(look(folder).trials.values()))
    files.rewrite()
    return Soak(tmp_path, 3, random.Random(0))


def test_a_study_that_is_as_it_was_has_no_fault(done: Soak) -> None:
    folder = done.results / "soak-00"
    before = done.check(folder, Kept({}, {}, 0))
    assert len(before.trained) == 3
    done.check(folder, before)
    assert done.faults == []
    assert done.counts == {"checks": 2, "tables": 8}


def test_a_trial_that_is_lost_or_changed_is_a_fault(done: Soak) -> None:
    folder = done.results / "soak-00"
    before = look(folder)
    changed = replace(before.trials[1], state="missed")
    more = Kept({**before.trials, 1: changed, 9: before.trials[2]}, {}, 0)
    done.check(folder, more)
    assert done.faults == [f"{folder}: trials lost or changed: [1, 9]"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("trial,state\n1,missed\n", "other states than the database's: [1]"),
        ("trial,state\n1,passed\n1,passed\n", "holds a trial twice"),
        ("trial,state\n7,passed\n", "holds trials that the database does not: {7}"),
        ("", "does not parse"),
    ],
)
def test_a_table_that_says_something_else_is_a_fault(done: Soak, text: str, fault: str) -> None:
    folder = done.results / "soak-00"
    (folder / "trials.csv").write_text(text)
    done.check(folder, Kept({}, {}, 0))
    assert any(fault in each for each in done.faults)


def test_a_search_that_is_not_whole_is_a_fault(done: Soak) -> None:
    folder = done.results / "soak-00"
    done.trials = 4
    now = replace(look(folder), unfinished=3, running=2)
    with pytest.raises(FileNotFoundError):  # it has no confirmation
        done.check_end(folder, now, 3)
    assert done.faults[:3] == [
        f"{folder}: exit status 3",
        f"{folder}: 3 trained designs",
        f"{folder}: 2 trials still run",
    ]


@pytest.mark.slow
def test_a_few_kills_leave_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.main(["--kills", "3", "--trials", "4", "--within", "20", "--seed", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Faults: 0."
