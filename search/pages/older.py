"""Older: studies of earlier versions of the program, whose tables lack some columns."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from search.tables.files import StudyTables

TEXTS = ("fingerprint", "widths", "dropout", "head", "worker")
NUMBERS = ("parameters", "macs", "epochs", "seconds", "validation_accuracy")
OTHERS = ("design",)


def missing(study: StudyTables) -> list[str]:
    """The columns that a page shows and this study's trials lack."""
    return [name for name in (*TEXTS, *NUMBERS, *OTHERS) if name not in study.trials]


def completed(study: StudyTables) -> StudyTables:
    """The study with empty columns where its tables have none."""
    absent = missing(study)
    if not absent:
        return study
    empty = {
        name: "" if name in TEXTS else pd.Series(None, study.trials.index, dtype="Float64")
        for name in absent
    }
    return replace(study, tables={**study.tables, "trials": study.trials.assign(**empty)})
