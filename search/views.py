"""Views: a study's CSV files and `study.json`, made anew from its storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from search import files, study, tables
from search.confirmation import tables as confirmation_tables
from search.confirmation.runs import read_runs
from search.record import TRAINED
from search.settings import Settings


def frames_of(opened: optuna.Study, settings: Settings) -> dict[str, pd.DataFrame]:
    """A study's tables by name, with its confirmation's."""
    target = settings.rules.target
    frames = tables.frames_of(study.records(opened), target, settings.selected_on_test)
    return confirmation_tables.with_confirmation(frames, read_runs(opened.user_attrs), target)


def write_views(opened: optuna.Study, settings: Settings, folder: Path) -> None:
    """Make a study's CSV files and `study.json` anew from its storage."""
    tables.write_tables(folder, frames_of(opened, settings))
    files.write_json(folder / "study.json", study_document(opened))


def study_document(opened: optuna.Study) -> dict[str, Any]:
    """The content of `study.json`: settings, counts, and every run of the study."""
    attributes = opened.user_attrs
    runs, confirmations = (
        [attributes[key] for key in sorted(attributes) if key.startswith(prefix)]
        for prefix in ("run_", "confirm_")
    )
    counts = study.count_states(opened)
    return {
        "study": opened.study_name,
        "settings": attributes["settings"],
        "trained": sum(counts[state] for state in TRAINED),
        "states": counts,
        "seconds": round(sum(run["seconds"] for run in runs), 1),
        "runs": runs,
        "confirmations": confirmations,
    }
