from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mnist_arch.design import AveragePool, Conv, Design
from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from search.exporting import candidates
from search.tables.describe import design_cells
from search.tables.files import read_study
from search.tables.trials import DESIGN_COLUMNS, rows_of
from tests.search.small_export import LOGITS, STUDY, told


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


def test_a_design_is_exported_with_the_length_of_its_own_training(study: Path) -> None:
    table = pd.read_csv(study / "trials.csv", dtype=str, keep_default_na=False)
    table.loc[table["trial"] == "0", "epochs"] = "4"
    table.to_csv(study / "trials.csv", index=False)
    assert candidates.numbered(study, 0).epochs == 4
    pruned = next(row for row in rows("trials") if row["state"] == "pruned")
    assert candidates.numbered(study, int(pruned["trial"])).epochs == 19


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
    assert "does not hold the design of its fingerprint 000000000000" in message
    document = json.loads((study / "study.json").read_text())
    document["settings"]["recipe"]["batch_size"] = "many"
    (study / "study.json").write_text(json.dumps(document))
    assert "cannot be read: Expected `int`, got `str`" in told(capsys, study)


def test_a_study_of_an_earlier_version_says_how_to_get_its_designs(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = pd.read_csv(study / "trials.csv").drop(columns=["design", "study"])
    trials.to_csv(study / "trials.csv", index=False)
    message = told(capsys, study)
    assert "does not hold the design of its fingerprint 1425e17c11e7 (not JSON" in message
    assert "running the study again makes its files anew" in message


def test_a_fingerprint_that_looks_like_a_number_stays_text(study: Path) -> None:
    design = next(
        design
        for design in (small(width) for width in range(1, 100_000))
        if re.fullmatch(r"[0-9]+e[0-9]+", design.fingerprint)
    )
    trials = pd.read_csv(study / "trials.csv", dtype=str).head(1)
    trials["fingerprint"] = design.fingerprint
    trials["design"] = json.dumps(design.to_dict())
    trials.to_csv(study / "trials.csv", index=False)
    assert candidates.numbered(study, 0).design == design


def small(width: int) -> Design:
    return Design((Conv(width), AveragePool(), LOGITS))


@pytest.mark.parametrize("name", ["first-light", "under-8000", "curves"])
def test_every_trial_of_the_committed_studies_holds_its_design(name: str) -> None:
    found = read_study(STUDY.with_name(name))
    assert found.document["id"] == found.identity == found.config.identity(name)
    for row in rows_of(found.trials):
        cells = design_cells(Design.from_json(row["design"]))
        assert all(row[column] == cells.get(column) for column in DESIGN_COLUMNS)
    for table in found.tables.values():
        assert table.columns[-1] == "study"
        assert set(table["study"]) <= {found.identity}
