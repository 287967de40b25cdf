from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from search.exports import candidates
from tests.search.small_export import STUDY, told


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A copy of the committed study, to write into."""
    return Path(shutil.copytree(STUDY, tmp_path / "study"))


def rows(name: str) -> list[dict[str, str]]:
    """A table of the committed study, read without pandas."""
    with (STUDY / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def nearest() -> dict[str, str]:
    missed = [row for row in rows("trials") if row["state"] == "missed"]
    return max(missed, key=lambda row: float(row["validation_accuracy"]))


def test_candidates_of_the_committed_study() -> None:
    board = rows("leaderboard")
    for rank, row in enumerate(board, 1):
        candidate = candidates.ranked(STUDY, rank)
        assert (candidate.design.fingerprint, candidate.epochs) == (row["fingerprint"], 19)
        assert candidate.chosen.startswith(
            f"trial {row['trial']} of study first-light: rank {rank}"
        )
    assert candidates.numbered(STUDY, 0).design == BASELINE
    missed = nearest()
    accuracy = f"{float(missed['validation_accuracy']) * 100:.2f} %"
    chosen = candidates.numbered(STUDY, int(missed["trial"])).chosen
    assert f"it missed the target with validation accuracy ({accuracy})" in chosen
    with pytest.raises(UserError, match=rf"designs .* that pass: {len(board)}; give a rank from 1"):
        candidates.ranked(STUDY, len(board) + 1)
    with pytest.raises(UserError, match=r"--trial 999: .* has no such trial; its finished ones"):
        candidates.numbered(STUDY, 999)


def rewrite(study: Path, name: str, keep: str) -> None:
    """Keep a table's heading and the rows that contain a word."""
    lines = (study / name).read_text().splitlines(keepends=True)
    (study / name).write_text("".join([lines[0], *(row for row in lines[1:] if keep in row)]))


def test_a_study_where_nothing_passes_offers_the_nearest(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(study, "leaderboard.csv", "nothing")
    rewrite(study, "trials.csv", ",missed,")
    message = told(capsys, study)
    trial, accuracy = nearest()["trial"], float(nearest()["validation_accuracy"])
    assert f"passes 99.40 %; the nearest is trial {trial} with {accuracy * 100:.2f} %" in message
    assert f"python -m search.export {study} --trial {trial}" in message


def test_a_study_without_trials(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(study, "leaderboard.csv", "nothing")
    rewrite(study, "trials.csv", "nothing")
    assert "has no design that was trained to its last epoch; go on" in told(capsys, study)
    assert "has no trial yet" in told(capsys, study, "--trial", "0")


def test_a_rejected_trial_is_refused_by_the_rules(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejected = next(row for row in rows("trials") if row["reason"].startswith("parameters: "))
    assert rejected["reason"] in told(capsys, study, "--trial", rejected["trial"])


def test_a_damaged_study(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = (study / "trials.csv").read_text()
    (study / "trials.csv").write_text(trials.replace("59aea58c103e", "000000000000"))
    message = told(capsys, study, "--trial", "0")
    assert "does not describe the design of its fingerprint 000000000000" in message
    document = json.loads((study / "study.json").read_text())
    del document["settings"]["recipe"]
    (study / "study.json").write_text(json.dumps(document))
    assert "does not hold a study's settings ('recipe')" in told(capsys, study)
