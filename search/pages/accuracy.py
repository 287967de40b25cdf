"""Accuracy against size: every trained design, the front, the limits, and what others published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mnist_arch.datasets import VALIDATION_IMAGES
from search import statistics
from search.pages import answers
from search.pages.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    Figure,
    parameter_axis,
    plain,
    published_marks,
)
from search.record import TO_THE_END
from search.tables.files import StudyTables
from search.tables.trials import rows_of

MOST_INTERVALS = 400
"""Intervals drawn of one kind; more hide each other, and take a browser seconds."""


def accuracy_against_parameters(study: StudyTables) -> Figure:
    """Every trained design, the front, the limits, refused designs and the published answers."""
    title, rules = "Accuracy against size", study.config.rules
    done = answers.trained(study)
    whole = done[done["state"].isin(TO_THE_END)]
    if done.empty:
        return Figure("accuracy", title, "No design was trained yet: there is nothing to draw.")
    figure = plain("parameters", "validation accuracy, %")
    states = done["state"]
    figure.add_trace(_dots(done[states == "pruned"], "stopped early", GREY, 5))
    figure.add_trace(_dots(done[states == "missed"], "missed the target", ORANGE, 7))
    figure.add_trace(_dots(done[states == "passed"], "passed", BLUE, 9))
    _add_front(figure, whole)
    _add_judged(figure, study)
    top = [_top(whole, done), rules.target * 100]
    says_published = ""
    if study.config.dataset == "mnist":
        figure.add_trace(published_marks())
        top.append(99.72)
        says_published = (
            "Diamonds are answers that people published (single runs, their best figures). "
        )
    floor = min(rules.target * 100 - 0.25, _bottom(whole, rules.target))
    _add_refused(figure, study, floor)
    figure.add_hline(y=rules.target * 100, line={"color": RED, "dash": "dash", "width": 1.5})
    if rules.parameter_limit is not None:
        figure.add_vline(x=rules.parameter_limit, line={"color": RED, "width": 1.5})
    figure.update_yaxes(range=[floor - 0.03, max(top) + 0.08])
    parameter_axis(figure)
    says = (
        "Each dot is a trained design; the bar is the 95 % interval of one accuracy on "
        f"{VALIDATION_IMAGES:,} images. Up and left is better. The dashed line is the target, the "
        "red wall the parameter limit, crosses beyond it are refused designs. "
        f"{says_published}Double-click shows everything."
    )
    return Figure("accuracy", title, says, figure)


def _top(whole: pd.DataFrame, done: pd.DataFrame) -> float:
    return float((done if whole.empty else whole)["validation_accuracy"].max()) * 100


def _bottom(whole: pd.DataFrame, target: float) -> float:
    """The lowest accuracy worth seeing, in percent: a poor outlier does not flatten the rest.

    It has two and a half times the errors that the target allows: 98.5 % for 99.4 %.
    """
    lowest = 100 - 2.5 * (100 - target * 100)
    return max(lowest, target * 100 - 0.4 if whole.empty else _lowest(whole) - 0.2)


def _lowest(whole: pd.DataFrame) -> float:
    return float(whole["validation_accuracy"].min()) * 100


def _dots(rows: pd.DataFrame, name: str, colour: str, size: int) -> go.Scatter:
    """One mark a trial, with the 95 % interval of its validation accuracy.

    Grey ones, which were stopped early, are hollow and have none, nor have very many at once.
    """
    symbol = "circle-open" if colour == GREY else "circle"
    accuracies = rows["validation_accuracy"].astype(float)
    error = None
    if colour != GREY and 0 < len(rows) <= MOST_INTERVALS:
        low, high = np.array([answers.wilson(value) for value in accuracies]).T
        error = {
            "type": "data", "array": (high - accuracies) * 100, "arrayminus":
            (accuracies - low) * 100, "thickness": 1, "width": 0,
        }  # fmt: skip
    hovers = [_hover(row) for row in rows_of(rows)]
    return go.Scatter(
        x=rows["parameters"].astype(float), y=accuracies * 100, mode="markers", name=name,
        text=hovers, hovertemplate="%{text}<br>%{x:,} parameters, %{y:.2f} %<extra></extra>",
        error_y=error, marker={"color": colour, "symbol": symbol, "size": size},
    )  # fmt: skip


def _hover(row: Mapping[str, Any]) -> str:
    return escape(f"trial {row['trial']}: {row['widths']}")


def _add_front(figure: go.Figure, whole: pd.DataFrame) -> None:
    """The designs that no other beats in accuracy and parameters, joined by steps."""
    front = front_of(whole)
    figure.add_trace(
        go.Scatter(
            x=front["parameters"].astype(float), y=front["validation_accuracy"] * 100,
            mode="lines", name="Pareto front", line={"color": BLUE, "width": 1.5, "shape": "hv"},
            hoverinfo="skip",
        )
    )  # fmt: skip


def front_of(whole: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other beats in validation accuracy and parameters, by parameters."""
    known = whole[whole["parameters"].notna() & whole["validation_accuracy"].notna()]
    points = list(
        zip(-known["validation_accuracy"], known["parameters"].astype(float), strict=True)
    )
    kept = known[statistics.pareto(points)] if points else known
    return kept.drop_duplicates("parameters").sort_values("parameters")


def _add_judged(figure: go.Figure, study: StudyTables) -> None:
    """The designs that fresh seeds judged: filled squares for confirmed ones, hollow for others."""
    rows = [row for row in answers.verdicts(study).values() if row["test_accuracy"] is not None]
    unseen = "unseen" if any(map(answers.is_by_folds, rows)) else "the test"
    for word, symbol, confirmed in (
        ("confirmed", "square", True), ("not confirmed", "square-open", False),
    ):  # fmt: skip
        mine = [row for row in rows if bool(row["confirmed"]) is confirmed]
        if mine:
            name = f"{word} on {unseen} images (mean, lower bound)"
            figure.add_trace(_squares(mine, name, symbol))


def _squares(rows: Sequence[answers.Row], name: str, symbol: str) -> go.Scatter:
    """One mark a design with final runs: their mean, and the bar down to its lower bound."""
    means = np.array([row["test_accuracy"] for row in rows]) * 100
    lows = np.array([row["lower_bound"] or row["test_accuracy"] for row in rows]) * 100
    texts = [f"{_hover(row)}<br>{answers.sureness(row)}, {row['seeds']} seeds" for row in rows]
    return go.Scatter(
        x=[row["parameters"] for row in rows], y=means, mode="markers", text=texts, name=name,
        error_y={"type": "data", "array": np.zeros(len(rows)), "arrayminus": means - lows,
                 "thickness": 2.5, "width": 4},
        marker={"color": GREEN, "symbol": symbol, "size": 10},
        hovertemplate="%{text}<br>%{x:,} parameters, mean %{y:.3f} %<extra></extra>",
    )  # fmt: skip


def _add_refused(figure: go.Figure, study: StudyTables, floor: float) -> None:
    table = study.tables["rejections"]
    sizes = table[table["limit"] == "parameters"]["counted"].astype(float)
    sizes = sizes[sizes < 200_000]
    figure.add_trace(
        go.Scatter(
            x=sizes, y=np.full(len(sizes), floor), mode="markers", name="refused by the rules",
            marker={"color": RED, "symbol": "x", "size": 7},
            hovertemplate="%{x:,} parameters: refused<extra></extra>",
        )
    )  # fmt: skip
