from __future__ import annotations

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


def test_candidates_of_the_committed_study() -> None:
    best, second = candidates.ranked(STUDY, 1), candidates.ranked(STUDY, 2)
    assert (best.design.fingerprint, best.epochs) == ("56daffd1f5b1", 19)
    assert second.design == BASELINE == candidates.numbered(STUDY, 0).design
    missed = candidates.numbered(STUDY, 1)
    assert "it missed the target with validation accuracy (99.19 %)" in missed.chosen
    with pytest.raises(UserError, match=r"--rank 7: designs .* that pass: 6; give a rank from 1"):
        candidates.ranked(STUDY, 7)
    with pytest.raises(UserError, match=r"--trial 99: .* has no such trial; its finished ones"):
        candidates.numbered(STUDY, 99)


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
    assert "passes 99.40 %; the nearest is trial 1 with 99.19 %" in message
    assert f"python -m search.export {study} --trial 1" in message


def test_a_study_without_trials(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(study, "leaderboard.csv", "nothing")
    rewrite(study, "trials.csv", "nothing")
    assert "has no design that was trained to its last epoch; go on" in told(capsys, study)
    assert "has no trial yet" in told(capsys, study, "--trial", "0")


def test_a_rejected_trial_is_refused_by_the_rules(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = told(capsys, study, "--trial", "7")
    assert "parameters: 20,622, must be fewer than 20,000" in message


def test_a_damaged_study(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = (study / "trials.csv").read_text()
    (study / "trials.csv").write_text(trials.replace("59aea58c103e", "000000000000"))
    message = told(capsys, study, "--trial", "0")
    assert "does not describe the design of its fingerprint 000000000000" in message
    document = json.loads((study / "study.json").read_text())
    del document["settings"]["recipe"]
    (study / "study.json").write_text(json.dumps(document))
    assert "does not hold a study's settings ('recipe')" in told(capsys, study)
