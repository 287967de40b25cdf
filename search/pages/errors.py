"""Errors: the test digits that a study's best network misreads, as a picture for its page."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

from mnist_arch.data import load
from mnist_arch.design import Design
from mnist_arch.errors import MachineError, UserError
from search.exporting.candidates import confirmed_runs
from search.exporting.predictions import MOST_DRAWN, errors_picture, logits, predictions
from search.pages import answers, choices
from search.tables.files import StudyTables
from search.weights import read_weights


def errors_of(study: StudyTables) -> tuple[str, str]:
    """The picture as a data URL, and a sentence on it; no URL where no network is at hand.

    It is of the network in the study's folder `best`, else of the first confirmation run of the
    most accurate confirmed design.
    """
    noun = study.config.data.noun
    try:
        content = (study.folder / "best" / "errors.png").read_bytes()
        whose = "the exported network"
    except OSError:
        content, whose = _of_confirmed(study)
    if not content:
        return "", (
            f"Confirm or export a network to see the {noun}s that it misreads: python -m "
            f"search.export {study.folder.as_posix()} --rank 1, then make this page again."
        )
    encoded = base64.b64encode(content).decode()
    return f"data:image/png;base64,{encoded}", (
        f"The test {noun}s that {whose} misreads, the {MOST_DRAWN} surest where there are more: "
        "what each is, what the network says, and how sure it is."
    )


def _of_confirmed(study: StudyTables) -> tuple[bytes, str]:
    """The errors of the best confirmed design's first run; nothing where its weights are gone."""
    best = answers.three_answers(study)[0]
    judged = best.row is not None and best.row["trial"] in answers.verdicts(study)
    if not judged or best.row is None:
        return b"", ""
    trial = best.row["trial"]
    design = choices.designs_of(study.trials).get(trial)
    try:
        path = _weights(study, design)
        if path is None or design is None:
            return b"", ""
        network, _ = read_weights(path, design)
        test = load("test", _data_folder(study), study.config.dataset)
        found = predictions(logits(network, test), test)
    except (UserError, MachineError):
        return b"", ""
    target = BytesIO()
    words = f"{found.counted(study.config.data.noun)}: truth > prediction"
    errors_picture(found, test, words).save(target, "PNG", optimize=True)
    return target.getvalue(), f"the first confirmation run of trial {trial}"


def _data_folder(study: StudyTables) -> Path | None:
    """Where the study's last command read data that the program does not ship; else None."""
    runs = [*(study.document.get("runs") or ()), *(study.document.get("confirmations") or ())]
    if study.config.data.is_shipped or not runs:
        return None
    folder = runs[-1]["arguments"]["machine"]["data"]
    return Path(folder) if folder else None


def _weights(study: StudyTables, design: Design | None) -> Path | None:
    runs = confirmed_runs(study, design)[0] if design is not None else []
    return runs[0].path if runs else None
