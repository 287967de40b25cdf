"""Leaderboard: the rows of a page's table, each with its bar, its curve and its picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from mnist_arch.design import Design, DesignError
from mnist_arch.plan import plan
from search.formats import duration, percent
from search.pages import answers, choices
from search.pages.answers import Row
from search.pictures.architecture import draw
from search.tables import trials
from search.tables.files import StudyTables

_NOTHING = Markup()

MOST_ROWS = 100
"""Rows of a page's table; the rest is in `leaderboard.csv`."""

BAR, CURVE = (180, 26), (360, 130)
"""Pixels of the interval bars and of a row's learning curve."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table. `bar`, `curve` and `picture` are SVG; the rest is plain text or figures.

    `low` to `high` is the interval of the accuracy, shares; `mean` what stands inside it.
    """

    rank: int
    trial: int
    state: str
    sure: str
    mean: float
    low: float
    high: float
    seeds: int
    row: Row
    bar: Markup = _NOTHING
    curve: Markup = _NOTHING
    picture: Markup = _NOTHING


def lines(study: StudyTables) -> tuple[list[Line], int]:
    """The table's rows, best first, and how many designs there are in all.

    Designs that pass, in the leaderboard's order; where none passes, those that came nearest. The
    baseline and every design that was confirmed are always among them.
    """
    rows = _rows(study)
    always = set(answers.verdicts(study)) | set(trials.baseline(study.trials)["trial"])
    shown = [row for n, row in enumerate(rows) if n < MOST_ROWS or row["trial"] in always]
    judged = answers.verdicts(study)
    found = [_line(rank, row, judged.get(row["trial"])) for rank, row in enumerate(shown, 1)]
    if not found:
        return [], 0
    scale = min(line.low for line in found), max(line.high for line in found)
    target = study.config.rules.target
    designs = choices.designs_of(study.trials[study.trials["trial"].isin([f.trial for f in found])])
    curves = _curves(study, [line.trial for line in found])
    return [
        _drawn(line, scale, target, designs.get(line.trial), curves.get(line.trial))
        for line in found
    ], len(rows)


def _rows(study: StudyTables) -> list[Row]:
    """Rows of `trials.csv`: passing ones in order, then others that belong into the table."""
    table = study.trials
    order = {trial: place for place, trial in enumerate(study.leaderboard["trial"])}
    passing = table[table["trial"].isin(list(order))]
    passing = passing.sort_values("trial", key=lambda column: column.map(order))
    extra = set(answers.verdicts(study)) | set(trials.baseline(table)["trial"])
    rest = answers.full(study)
    rest = rest[~rest["trial"].isin(list(order))]
    if order:
        rest = rest[rest["trial"].isin(list(extra))]
    rest = rest.sort_values(["validation_accuracy", "parameters"], ascending=[False, True])
    others = table[table["trial"].isin(list(extra - set(order) - set(rest["trial"])))]
    others = others[others["validation_accuracy"].notna()]
    return trials.rows_of(pd.concat([passing, rest, others]))


def _line(rank: int, row: Row, judged: Row | None) -> Line:
    if judged and judged["test_accuracy"] is not None:
        mean = judged["test_accuracy"]
        bounds = (judged.get("lower_bound"), judged.get("upper_bound"))
        low, high = (mean if bound is None else bound for bound in bounds)
        sure = answers.sureness(judged)
        return Line(rank, row["trial"], row["state"], sure, mean, low, high, judged["seeds"], row)
    mean = row["validation_accuracy"]
    low, high = answers.wilson(mean)
    words = {"passed": "one seed", "missed": "missed", "pruned": "stopped early"}
    sure = words.get(row["state"], str(row["state"]))
    return Line(rank, row["trial"], row["state"], sure, mean, low, high, 0, row)


def _drawn(
    line: Line, scale: tuple[float, float], target: float, design: Design | None,
    curve: list[float] | None,
) -> Line:  # fmt: skip
    picture = Markup()
    if design is not None:
        try:
            picture = Markup(draw(plan(design)).svg(alone=False))
        except DesignError:
            picture = Markup("<p>No image passes through this design.</p>")
    return Line(
        line.rank, line.trial, line.state, line.sure, line.mean, line.low, line.high, line.seeds,
        line.row, _bar(line, scale, target), _curve(curve or [], target), picture,
    )  # fmt: skip


def _bar(line: Line, scale: tuple[float, float], target: float) -> Markup:
    """The interval on a scale that all rows share, the target as a line."""
    width, height = BAR
    low, high = min(scale[0], target) - 0.0002, max(scale[1], target) + 0.0002

    def at(share: float) -> float:
        return (share - low) / (high - low) * width

    left, right, middle = at(line.low), at(line.high), height / 2
    kind = "sure" if line.seeds else "guess"
    return Markup(
        '<svg class="bar" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">'
        "<title>{2} to {3}</title>"
        '<line class="target" x1="{4:.1f}" x2="{4:.1f}" y1="0" y2="{1}"/>'
        '<line class="{5}" x1="{6:.1f}" x2="{7:.1f}" y1="{8}" y2="{8}"/>'
        '<circle class="{5}" cx="{9:.1f}" cy="{8}" r="4"/></svg>'
    ).format(
        width, height, percent(line.low), percent(line.high), at(target), kind, left,
        max(right, left + 1), middle, at(line.mean),
    )  # fmt: skip


def _curves(study: StudyTables, wanted: list[int]) -> dict[int, list[float]]:
    """Validation accuracies after each epoch of the longest training, by trial."""
    table = study.tables["epochs"]
    table = table[table["trial"].isin(wanted)]
    if "look" in table:
        table = table[table["look"] == table.groupby("trial")["look"].transform("max")]
    groups = table.sort_values("epoch").groupby("trial")["validation_accuracy"]
    return {int(str(trial)): list(group.astype(float)) for trial, group in groups}


def _curve(values: list[float], target: float) -> Markup:
    """A learning curve from 97 % up, the target as a line."""
    if not values:
        return Markup("<p>No curve is known.</p>")
    width, height = CURVE
    low, high = max(0.97, min(0.97, *values, target) - 0.001), max(*values, target) + 0.001
    if max(values) < low:
        low = min(values)

    def place(share: float) -> float:
        share = min(max(share, low), high)
        return height - 18 - (share - low) / (high - low) * (height - 30)

    step = (width - 60) / max(len(values) - 1, 1)
    points = " ".join(f"{44 + n * step:.1f},{place(v):.1f}" for n, v in enumerate(values))
    last = values[-1]
    return Markup(
        '<svg class="curve" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">'
        "<title>Learning curve</title>"
        '<line class="target" x1="44" x2="{2}" y1="{3:.1f}" y2="{3:.1f}"/>'
        '<polyline points="{4}"/><circle cx="{5:.1f}" cy="{6:.1f}" r="3.5"/>'
        '<text x="40" y="{3:.1f}" text-anchor="end" dy="3">{7}</text>'
        '<text x="40" y="{8}" text-anchor="end">{9}</text>'
        '<text x="44" y="{8}">epoch 1</text>'
        '<text x="{2}" y="{8}" text-anchor="end">epoch {10}: {11}</text></svg>'
    ).format(
        width, height, width - 16, place(target), points, 44 + (len(values) - 1) * step,
        place(last), percent(target), height - 4, percent(low), len(values), percent(last),
    )  # fmt: skip


def cells(line: Line) -> dict[str, Any]:
    """What the template shows of a row, in words."""
    row = line.row
    return {
        "accuracy": f"{line.mean * 100:.3f}" if line.seeds > 1 else f"{line.mean * 100:.2f}",
        "search": percent(row["validation_accuracy"]) if row["validation_accuracy"] else "",
        "parameters": "" if row["parameters"] is None else f"{row['parameters']:,}",
        "macs": f"{row['macs']:,}" if row.get("macs") else "",
        "seconds": duration(row["seconds"]) if row.get("seconds") else "",
    }
