"""Answers: what a study came to, in counts and sentences that anybody can check.

Pure functions of a study's tables. A table of an earlier version may lack a column: what cannot be
told is left out, and the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
from scipy import stats

from mnist_arch.datasets import VALIDATION_IMAGES
from mnist_arch.recipe import Judge
from search.formats import percent
from search.record import TO_THE_END, TRAINED
from search.tables import trials
from search.tables.answers import ANSWERS, in_order_of
from search.tables.files import StudyTables

Row = dict[str, Any]

LAST = "fewest epochs"

_JUDGES: dict[Judge, str] = {
    "test": "with fresh seeds and judged on the test images",
    "folds": "six times, each time judged on images that this training never saw",
}
"""How designs are confirmed, in words, the judge first whose verdict counts where both had one."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How a study's proposals went. `proposed` is the sum of all below, `confirmed` apart."""

    proposed: int
    rejected: int
    duplicate: int
    screened: int
    pruned: int
    missed: int
    passed: int
    failed: int
    other: int
    judged: int
    confirmed: int

    @property
    def trained(self) -> int:
        """Designs that count as trained."""
        return self.pruned + self.missed + self.passed + self.failed


def counts(study: StudyTables) -> Counts:
    """Count a study's trials by how they ended."""
    states = study.trials["state"].value_counts().to_dict()
    names = ("rejected", "duplicate", "screened", "pruned", "missed", "passed", "failed")
    told = {name: int(states.get(name, 0)) for name in names}
    judged = verdicts(study)
    total = len(study.trials)
    return Counts(
        proposed=total, **told, other=total - sum(told.values()), judged=len(judged),
        confirmed=sum(bool(row["confirmed"]) for row in judged.values()),
    )  # fmt: skip


def verdict(study: StudyTables) -> str:
    """The study in one or two sentences whose numbers add up."""
    found, target = counts(study), percent(study.config.rules.target)
    if not found.proposed:
        return "Nothing was tried yet: the study has no finished trial."
    parts = [
        f"{_some(found.rejected, 'was', 'were')} refused by the rules",
        f"{_some(found.duplicate, 'was', 'were')} tried before" if found.duplicate else "",
        f"{_some(found.screened, 'was', 'were')} dropped after a short look at the most"
        if found.screened
        else "",
        f"{_some(found.other, 'was', 'were')} not finished" if found.other else "",
        f"{_some(found.trained, 'was', 'were')} trained",
    ]
    tried = f"{_count(found.proposed, 'design')} tried: {_listed(parts)}."
    ends = [
        f"{_some(found.pruned, 'was', 'were')} stopped early" if found.pruned else "",
        f"{found.failed:,} failed" if found.failed else "",
        f"{found.missed:,} missed {target}" if found.missed else "",
        f"{found.passed:,} reached {target}" if found.passed else f"none reached {target}",
    ]
    again = [_confirmed_words(study, judge) for judge in _JUDGES]
    if not found.judged and found.passed:
        again = ["None was confirmed on fresh seeds yet."]
    return " ".join([f"{tried} Of those trained, {_listed(ends)}.", *filter(None, again)])


def _confirmed_words(study: StudyTables, judge: Judge) -> str:
    """What a judge said of the designs that it had; nothing where it had none."""
    rows = trials.rows_of(_judged_by(study, judge))
    if not rows:
        return ""
    confirmed = sum(bool(row["confirmed"]) for row in rows) or "none"
    return f"{_count(len(rows), 'design')} trained again {_JUDGES[judge]}: {confirmed} confirmed."


def _some(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun} was" if number == 1 else f"{number:,} {noun}s were"


def _listed(parts: list[str]) -> str:
    told = [part for part in parts if part]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the answers of a study: its title, its row of `trials.csv`, how sure it is.

    `accuracy`, a share in [0, 1], is the mean of a confirmed design's runs, else the validation
    accuracy of the search; `row` is None where there is none. `note` says what to know of it.
    """

    title: str
    row: Row | None
    accuracy: float | None
    sure: str
    note: str = ""


def three_answers(study: StudyTables) -> list[Answer]:
    """The most accurate, the smallest and the fastest design, then the assignment's own.

    They are chosen among the designs that are confirmed, else among those that pass, else among
    those trained in full, by what the search measured: never by the test images.
    """
    among = _candidates(study)
    equal = "all had as many epochs" if among["epochs"].nunique() == 1 and len(among) > 1 else ""
    found = [
        _answer(name.capitalize(), in_order_of(among, name), study, equal * (name == LAST))
        for name in ANSWERS
    ]
    return [*found, _answer("The assignment's own", trials.baseline(study.trials), study)]


def _candidates(study: StudyTables) -> pd.DataFrame:
    """The confirmed designs, else those that pass, else those trained in full."""
    table = study.trials
    confirmed = [trial for trial, row in verdicts(study).items() if row["confirmed"]]
    for among in (table[table["trial"].isin(confirmed)], table[table["state"] == "passed"]):
        if not among.empty:
            return among
    return full(study)


def _answer(title: str, rows: pd.DataFrame, study: StudyTables, note: str = "") -> Answer:
    if rows.empty:
        return Answer(title, None, None, "none")
    row = trials.rows_of(rows.head(1))[0]
    judged = verdicts(study).get(row["trial"])
    if judged and judged["test_accuracy"] is not None:
        return Answer(title, row | judged, judged["test_accuracy"], sureness(judged), note)
    words = {"passed": "passed, one seed", "missed": "missed the target", "pruned": "stopped early"}
    sure = words.get(row["state"], row["state"])
    return Answer(title, row, row["validation_accuracy"], sure, note)


def verdicts(study: StudyTables) -> dict[int, Row]:
    """Each confirmed or tried design's row of `finalists.csv`, by trial.

    What the test images said, where they did, else what the folds said, as in the leaderboard.
    """
    found = [trials.rows_of(_judged_by(study, judge)) for judge in reversed(_JUDGES)]
    return {row["trial"]: row for rows in found for row in rows}


def _judged_by(study: StudyTables, judge: Judge) -> pd.DataFrame:
    """A judge's rows of `finalists.csv`; an earlier version's table has none but the tests'."""
    found = study.tables.get("finalists", pd.DataFrame())
    if "judge" in found:
        return found[found["judge"] == judge]
    return found if judge == "test" else found.iloc[:0]


def is_by_folds(judged: Row) -> bool:
    """Whether a row of `finalists.csv` is of six trainings, each judged on images it never saw."""
    return bool(judged.get("judge") == "folds")


def sureness(judged: Row) -> str:
    """A design's verdict in a word or two."""
    if judged.get("failed_seeds"):
        return "failed on a seed"
    if judged.get("proven"):
        return "proven"
    return "confirmed" if judged.get("confirmed") else "not confirmed"


@cache
def wilson(accuracy: float, images: int = VALIDATION_IMAGES) -> tuple[float, float]:
    """The 95 % interval of an accuracy on so many images (Wilson 1927, JASA 22:209)."""
    tested = stats.binomtest(round(accuracy * images), images)
    interval = tested.proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def full(study: StudyTables) -> pd.DataFrame:
    """The trials that were trained to their last epoch."""
    return study.trials[study.trials["state"].isin(TO_THE_END)]


def trained(study: StudyTables) -> pd.DataFrame:
    """The trials that count as trained and have an accuracy."""
    table = study.trials
    return table[table["state"].isin(TRAINED) & table["validation_accuracy"].notna()]
