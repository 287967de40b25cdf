"""Compare: several studies' fronts and answers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from search.pages import answers
from search.pages.accuracy import front_of
from search.pages.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    VIOLET,
    Figure,
    parameter_axis,
    plain,
    published_marks,
)
from search.pages.older import completed
from search.tables.files import StudyTables

COLOURS = (BLUE, ORANGE, GREEN, VIOLET, RED, GREY)


def comparisons(studies: Sequence[StudyTables]) -> list[Figure]:
    """The figures of a page with several studies."""
    found = [completed(study) for study in studies]
    return [fronts(found), three(found)]


def fronts(studies: Sequence[StudyTables]) -> Figure:
    """The Pareto front of each study."""
    figure = plain("parameters", "validation accuracy, %")
    drawn = 0
    for study, colour in zip(studies, COLOURS * len(studies), strict=False):
        front = front_of(answers.full(study))
        drawn += len(front)
        figure.add_trace(
            go.Scatter(
                x=front["parameters"].astype(float), y=front["validation_accuracy"] * 100,
                mode="lines+markers", name=escape(study.name),
                line={"color": colour, "shape": "hv"}, marker={"size": 7},
                hovertemplate="%{x:,} parameters, %{y:.2f} %<extra></extra>",
            )
        )  # fmt: skip
    if not drawn:
        return Figure("fronts", "Fronts", "No design of these studies was trained in full yet.")
    if any(study.config.dataset == "mnist" for study in studies):
        figure.add_trace(published_marks())
    for target in sorted({study.config.rules.target for study in studies}):
        figure.add_hline(y=target * 100, line={"color": RED, "dash": "dash", "width": 1.5})
    parameter_axis(figure)
    says = (
        "For each study, the designs that no other design of it beats in both accuracy and size, "
        "one seed each. Up and left is better. Dashed: the targets."
    )
    return Figure("fronts", "Fronts", says, figure)


def three(studies: Sequence[StudyTables]) -> Figure:
    """The three answers of each study: parameters across, accuracy up."""
    figure = plain("parameters", "accuracy, %")
    drawn = 0
    for study, colour in zip(studies, COLOURS * len(studies), strict=False):
        found = [a for a in answers.three_answers(study)[:3] if a.row and a.accuracy]
        drawn += len(found)
        figure.add_trace(
            go.Scatter(
                x=[a.row["parameters"] for a in found if a.row],
                y=np.array([a.accuracy for a in found], float) * 100,
                mode="markers", name=escape(study.name),
                text=[f"{a.title}: {a.sure}" for a in found],
                hovertemplate="%{text}<br>%{x:,} parameters, %{y:.3f} %<extra></extra>",
                marker={"color": colour, "size": 12, "symbol": "square"},
            )
        )  # fmt: skip
    if not drawn:
        return Figure("answers", "Answers", "None of these studies has an answer yet.")
    parameter_axis(figure)
    says = (
        "The most accurate, the smallest and the fastest design of each study: the mean on "
        "unseen images where it was confirmed, else the search's one measurement."
    )
    return Figure("answers", "Answers side by side", says, figure)
