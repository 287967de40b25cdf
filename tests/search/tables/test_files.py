from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejection
from search import StudyConfig
from search.record import TrialRecord
from search.tables import files
from search.tables.csv_text import to_csv
from search.tables.files import (
    StudyFiles,
    read_study,
    read_table,
    require_no_orphans,
    require_own,
)
from search.tables.trials import (
    EPOCH_COLUMNS,
    REJECTION_COLUMNS,
    TRIAL_COLUMNS,
    look_columns,
)
from tests.search.commands import ROOT
from tests.search.studies import EASY, THREE, final_run, small, study_files, trial

LIMIT = Rejection("parameters", 30_000, 19_999, "parameters: 30,000, must be fewer than 20,000")
COMMITTED = sorted(path.parent for path in (ROOT / "results").glob("*/study.json"))
RUNS = [final_run(3, 0, 0.9951), final_run(3, 1, None, 'diverged: loss, is "nan"')]


def rejected(number: int) -> TrialRecord:
    refused = replace(trial(number, small(4), 0.1, "rejected"), epochs=(), rejections=(LIMIT,))
    return replace(refused, reason=str(LIMIT))


def csvs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the files' timer reads: change its one element."""
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def many(count: int) -> list[TrialRecord]:
    """Trials with accuracies that rise and fall, every fifth rejected."""
    return [
        rejected(number)
        if number % 5 == 4
        else trial(number, small(2 + number % 20), 0.5 + number * 7919 % 1000 / 2500)
        for number in range(count)
    ]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    written = study_files(tmp_path, runs=RUNS)
    written.load([*THREE, rejected(4)])
    frames = written.rewrite()
    study = read_study(tmp_path)
    assert (study.name, study.identity, study.config) == ("test", written.identity, EASY)
    assert study.tables.keys() == frames.keys()
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(
            study.tables[name].astype(object).where(study.tables[name].notna(), None),
            frame.astype(object).where(frame.notna() & (frame != ""), None),
            check_dtype=False,
        )
    assert study.document["trained"] == 3
    assert study.document["states"] == {"passed": 3, "rejected": 1}
    assert study.trials["trial"].dtype == "Int64"


def test_a_study_without_trials_has_tables_with_headings(tmp_path: Path) -> None:
    study_files(tmp_path).rewrite()
    looked = look_columns((0.25,))
    assert looked == ["look_0.25_loss", "look_0.25_accuracy", "predicted_loss"]
    columns = [*TRIAL_COLUMNS[:-1], *looked, "study"]
    assert (tmp_path / "trials.csv").read_text() == ",".join(columns) + "\n"
    assert (tmp_path / "epochs.csv").read_text() == ",".join(EPOCH_COLUMNS) + "\n"
    assert (tmp_path / "rejections.csv").read_text() == ",".join(REJECTION_COLUMNS) + "\n"
    assert read_study(tmp_path).leaderboard.empty


def test_adding_a_trial_to_2_000_touches_no_byte_that_is_there(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = many(2_002)
    written = study_files(tmp_path)
    written.load(records[:2_000])
    written.rewrite()
    before = csvs(tmp_path)
    monkeypatch.setattr(StudyFiles, "frames", None)  # nothing is made of all trials
    written.add(records[2_000])
    written.add(rejected(2_001))
    after = csvs(tmp_path)
    for name, content in before.items():
        assert after[name].startswith(content)
    added = {name: after[name][len(content) :].count(b"\n") for name, content in before.items()}
    assert added == {"trials.csv": 2, "epochs.csv": 1, "rejections.csv": 1, "leaderboard.csv": 0}
    assert clock == [1_000.0]


def test_tables_that_grew_equal_those_written_at_once(tmp_path: Path) -> None:
    records = many(60)
    for name in ("grown", "whole"):
        (tmp_path / name).mkdir()
    grown = study_files(tmp_path / "grown", runs=RUNS)
    grown.load(records[:3])
    grown.rewrite()
    for record in records[:2:-1]:  # in another order, too
        grown.add(record)
    grown.rewrite()
    whole = study_files(tmp_path / "whole", runs=RUNS)
    whole.load(records)
    whole.rewrite()
    assert csvs(tmp_path / "grown") == csvs(tmp_path / "whole")
    assert grown.trained == whole.trained == 48


def test_appended_lines_are_those_of_the_whole_table(tmp_path: Path, clock: list[float]) -> None:
    written = study_files(tmp_path)
    written.rewrite()
    for record in many(20):
        written.add(record)
    appended = csvs(tmp_path)
    written.rewrite()
    rewritten = csvs(tmp_path)
    for name in ("trials.csv", "epochs.csv", "rejections.csv"):
        pd.testing.assert_frame_equal(
            _read(appended[name], tmp_path), _read(rewritten[name], tmp_path)
        )
    assert appended["leaderboard.csv"] != rewritten["leaderboard.csv"]
    assert clock == [1_000.0]


def _read(content: bytes, folder: Path) -> pd.DataFrame:
    (folder / "other.csv").write_bytes(content)
    return read_table(folder / "other.csv")


def test_what_depends_on_all_trials_is_written_when_it_is_due(
    tmp_path: Path, clock: list[float]
) -> None:
    written = study_files(tmp_path)
    written.rewrite()
    written.add(THREE[0])
    assert read_study(tmp_path).leaderboard.empty
    clock[0] += files.REWRITE_SECONDS
    written.add(THREE[1])
    assert read_study(tmp_path).leaderboard["trial"].tolist() == [2, 1]


def test_rewrites_take_three_thousandths_of_the_time_at_most(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = study_files(tmp_path)
    frames = StudyFiles.frames

    def slow(self: StudyFiles) -> dict[str, pd.DataFrame]:
        clock[0] += 3.0
        return frames(self)

    monkeypatch.setattr(StudyFiles, "frames", slow)
    written.rewrite()  # takes 3 s, ends at 1,003
    clock[0] += 999
    written.add(THREE[0])
    assert read_study(tmp_path).leaderboard.empty
    clock[0] += 1
    written.add(THREE[1])
    assert len(read_study(tmp_path).leaderboard) == 2


def test_a_fingerprint_of_digits_and_an_e_stays_text(tmp_path: Path) -> None:
    written = study_files(tmp_path)
    written.load([trial(1, BASELINE, 0.5)])
    frame = written.rewrite()["trials"].assign(fingerprint="59e123456789", worker="007")
    (tmp_path / "trials.csv").write_text(to_csv(frame))
    read = read_study(tmp_path).trials
    assert read["fingerprint"].tolist() == ["59e123456789"]
    assert read["worker"].tolist() == ["007"]


def test_a_table_of_another_study_is_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written = study_files(tmp_path / name, runs=RUNS, name=name)
        written.load(THREE)
        written.rewrite()
    shutil.copy(tmp_path / "two" / "finalists.csv", tmp_path / "one" / "finalists.csv")
    foreign = EASY.identity("two")
    with pytest.raises(UserError, match=rf"finalists.csv is of another study: {foreign}"):
        read_study(tmp_path / "one")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("study.json", "[1]", r"cannot be read \(study.json is not a study's\)"),
        ("study.json", "{", "cannot be read .*makes its files anew from study.db"),
        ("study.json", '{"study": "x"}', "study.json is not a study's"),
        ("trials.csv", "", "cannot be read"),
    ],
)
def test_damaged_files_are_a_user_error(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    written = study_files(tmp_path)
    written.rewrite()
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_study(tmp_path)


@pytest.mark.parametrize("name", ["study.json", "trials.csv", "leaderboard.csv"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    study_files(tmp_path).rewrite()
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=rf"holds no study: {name} is missing; give the folder"):
        read_study(tmp_path)


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_committed_studies_are_read(folder: Path) -> None:
    study = read_study(folder)
    assert study.name == study.document["study"]
    trained = study.trials["state"].isin(["passed", "missed", "pruned", "failed"]).sum()
    assert trained == study.document["trained"]
    assert study.leaderboard["trial"].isin(study.trials["trial"]).all()
    assert len(study.leaderboard) == study.document["states"].get("passed", 0)


def test_states_of_an_earlier_version_are_read_as_todays(tmp_path: Path) -> None:
    written = study_files(tmp_path)
    written.load([replace(trial(4, small(4), 0.5, "duplicate"), duplicate_of=3)])
    written.rewrite()
    path = tmp_path / "trials.csv"
    path.write_text(path.read_text().replace("duplicate", "repeat"))
    assert read_study(tmp_path).trials["state"].tolist() == ["duplicate"]


@pytest.mark.parametrize(
    "name",
    ["trials.csv", "epochs.csv", "leaderboard.csv", "finalists.csv", "confirmations.csv",
     "rejections.csv", "study.json", "training.json", "weights"],
)  # fmt: skip
def test_results_without_their_database_are_refused(tmp_path: Path, name: str) -> None:
    require_no_orphans(tmp_path)
    (tmp_path / "notes.txt").write_text("a user's own")
    require_no_orphans(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(UserError) as refusal:
        require_no_orphans(tmp_path)
    assert str(refusal.value) == (
        f"{tmp_path} holds results ({name}) without their database study.db: a new study would "
        "write over them. Give another --study NAME (or another --results DIR), put study.db "
        "back, or move the folder away"
    )
    (tmp_path / "study.db").write_bytes(b"")
    require_no_orphans(tmp_path)


def test_the_identity_is_in_every_file(tmp_path: Path) -> None:
    written = study_files(tmp_path, StudyConfig(seed=5), RUNS)
    written.load([*THREE, rejected(4)])
    written.rewrite()
    assert json.loads((tmp_path / "study.json").read_text())["id"] == written.identity
    assert len(csvs(tmp_path)) == 6
    for name in csvs(tmp_path):
        assert set(read_table(tmp_path / name)["study"]) == {written.identity}


def test_one_driver_writes_and_another_goes_on_when_it_has_ended(tmp_path: Path) -> None:
    writer, other = study_files(tmp_path), study_files(tmp_path)
    turn = [True, False]
    writer.is_writer, other.is_writer = lambda: turn[0], lambda: turn[1]
    for each in (writer, other):
        each.load([])
        each.rewrite()
    writer.add(THREE[0])
    written = (tmp_path / "trials.csv").read_text()
    other.add(THREE[0])
    other.add(THREE[1])
    assert (tmp_path / "trials.csv").read_text() == written
    turn[:] = [False, True]  # the writer has died
    other.add(THREE[2])
    assert read_study(tmp_path).trials["trial"].tolist() == [1, 2, 3]
    assert other.read().document["trained"] == 3


def test_who_does_not_write_waits_for_the_writer_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CATCH_UP_SECONDS", 0.5)
    writer, other = study_files(tmp_path), study_files(tmp_path)
    other.is_writer = lambda: False
    writer.load([THREE[0]])
    writer.rewrite()
    other.load(THREE)
    other.rewrite()
    assert len(other.read().trials) == 1
    writer.load(THREE[1:])
    writer.rewrite()
    assert len(other.read().trials) == 3


def test_a_folder_belongs_to_one_study_of_a_server(tmp_path: Path) -> None:
    require_own(tmp_path, None)
    require_own(tmp_path, "token")
    written = study_files(tmp_path)
    settings = {"study": "test", "settings": EASY.to_dict(), "token": "token"}
    written.document = lambda: settings
    written.load(THREE)
    written.rewrite()
    require_own(tmp_path, "token")
    for token in (None, "another"):
        with pytest.raises(UserError, match=r"trials.csv.* of another study than the server's"):
            require_own(tmp_path, token)
    (tmp_path / "study.db").touch()
    with pytest.raises(UserError, match="another --study NAME"):
        require_own(tmp_path, "token")
