"""Answers: the three that a study gives: most accurate, smallest, fewest epochs. Pure functions."""

from __future__ import annotations

import pandas as pd

_LAST = (("validation_accuracy", False), ("parameters", True), ("trial", True))

ANSWERS: dict[str, tuple[tuple[str, bool], ...]] = {
    "most accurate": _LAST,
    "smallest": (("parameters", True), *_LAST),
    "fewest epochs": (("epochs", True), *_LAST),
}
"""Columns that order the designs for each answer, best first, each with whether it ascends.

One design may be several answers. Accuracy is that in validation: test images choose nothing.
"""


def in_order_of(rows: pd.DataFrame, answer: str) -> pd.DataFrame:
    """Designs' rows in the order of one of `ANSWERS`, best first; without an accuracy last."""
    columns, ascending = zip(*ANSWERS[answer], strict=True)
    return rows.sort_values(list(columns), ascending=list(ascending))


def first_of_each(rows: pd.DataFrame) -> dict[str, int]:
    """The trial that is each answer among these designs; none where there is no design."""
    if rows.empty:
        return {}
    return {answer: int(in_order_of(rows, answer)["trial"].iloc[0]) for answer in ANSWERS}


def candidates(board: pd.DataFrame, near: pd.DataFrame, tries: int) -> dict[str, list[int]]:
    """The trials to confirm for each answer, `tries` at the most, in the order to try them.

    Where designs that missed the target narrowly, `near`, would make a better answer than the first
    of the leaderboard (smaller, or of fewer epochs), they come first; the last is one that passes.
    """
    found = {}
    for answer, ((column, ascending), *_) in ANSWERS.items():
        passing = in_order_of(board, answer)
        better = in_order_of(near, answer)
        if len(passing):
            first = passing[column].iloc[0]
            better = better[better[column] < first if ascending else better[column] > first]
            better = better.head(tries - 1)
        numbers = [*better["trial"].tolist(), *passing["trial"].tolist()]
        found[answer] = [int(number) for number in numbers]
    return found


def confirmed_answers(finalists: pd.DataFrame, judge: str = "test") -> dict[str, int]:
    """The trial of each answer among the designs that a judge confirmed; none where there is none.

    `finalists` is a study's table of that name.
    """
    return first_of_each(finalists[finalists["confirmed"] & (finalists["judge"] == judge)])
