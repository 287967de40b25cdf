"""Document: a study as plain values, for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from search.pages import answers
from search.pages.older import completed
from search.tables.files import StudyTables
from search.tables.trials import in_order, rows_of


def document(found: StudyTables, sort: str = "accuracy", top: int | None = None) -> dict[str, Any]:
    """A study's counts, verdict, answers, leaderboard and confirmations as JSON values.

    Accuracies are shares; columns are those of `results/README.md`.
    """
    study = completed(found)
    return {
        "study": study.name,
        "folder": str(study.folder),
        "settings": study.config.to_dict(),
        "counts": asdict(answers.counts(study)),
        "verdict": answers.verdict(study),
        "answers": [
            {"title": a.title, "accuracy": a.accuracy, "sure": a.sure, "note": a.note}
            | ({"trial": a.row["trial"], "parameters": a.row["parameters"]} if a.row else {})
            for a in answers.three_answers(study)
        ],
        "leaderboard": rows_of(in_order(study.leaderboard, sort, top)),
        "finalists": rows_of(study.tables["finalists"]) if "finalists" in study.tables else [],
    }
