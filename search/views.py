"""Views: a study's CSV files and `study.json`, made anew from its storage."""

from __future__ import annotations

from pathlib import Path

import optuna
import pandas as pd

from search import files, study, tables
from search.conductors import summary
from search.confirmation import tables as confirmation_tables
from search.confirmation.runs import read_runs
from search.settings import Settings


def frames_of(opened: optuna.Study, settings: Settings) -> dict[str, pd.DataFrame]:
    """A study's tables by name, with its confirmation's."""
    target = settings.rules.target
    frames = tables.frames_of(study.records(opened), target, settings.selected_on_test)
    return confirmation_tables.with_confirmation(frames, read_runs(opened.user_attrs), target)


def write_views(opened: optuna.Study, settings: Settings, folder: Path) -> None:
    """Make a study's CSV files and `study.json` anew from its storage."""
    tables.write_tables(folder, frames_of(opened, settings))
    files.write_json(folder / "study.json", summary.study_document(opened))
