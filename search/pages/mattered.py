"""Mattered: which of the choices made in a design went with a good accuracy."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from optuna import visualization

from search.pages import choices
from search.pages.figure import BLUE, GREY, Figure, plain
from search.tables.files import StudyTables


def _too_few(study: StudyTables) -> str:
    number = len(choices.designs_of(study.trials).keys() & set(choices.measure(study)[1].index))
    if number >= choices.LEAST:
        return ""
    return f"It takes {choices.LEAST} designs to say what mattered; this study has {number}."


def importance(study: StudyTables) -> Figure:
    """Optuna's importance of each choice."""
    title, why = "Which choices mattered", _too_few(study)
    if why:
        return Figure("importance", title, why)
    made, words = choices.as_optuna(study)
    if len(made.best_trial.params) < 2:
        return Figure("importance", title, "The designs differ in one choice alone.")
    figure = visualization.plot_param_importances(
        made, evaluator=choices.evaluator(), target_name=f"accuracy {words}"
    )
    figure.update_layout(template="none", title=None, showlegend=False)
    figure.update_traces(marker_color=BLUE)
    figure.update_xaxes(title_text="share of the importance")
    figure.update_yaxes(title_text=None, automargin=True)
    says = (
        f"By Optuna's PED-ANOVA: what sets the best fifth of {len(made.trials)} designs apart from "
        f"the others, by accuracy {words}. It says what goes with a good design, not what makes it."
    )
    return Figure("importance", title, says, figure)


def dropout(study: StudyTables) -> Figure:
    """With dropout at a place against without it."""
    title, why = "Dropout, place by place", _too_few(study)
    table = choices.dropout_effects(study) if not why else pd.DataFrame()
    if table.empty:
        why = why or "No place has three designs with dropout and three without it."
        return Figure("dropout", title, why)
    figure = plain("points of accuracy with dropout, less without", "")
    figure.add_trace(
        go.Scatter(
            x=table["difference"] * 100, y=table["place"], mode="markers",
            error_x={"type": "data", "array": (table["high"] - table["difference"]) * 100,
                     "arrayminus": (table["difference"] - table["low"]) * 100},
            text=[f"{a} with, {b} without" for a, b in zip(table["with_dropout"], table["without"],
                                                           strict=True)],
            hovertemplate="%{y}: %{x:+.3f} points<br>%{text}<extra></extra>",
            marker={"color": BLUE, "size": 9},
        )
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": GREY, "width": 1})
    figure.update_yaxes(automargin=True)
    words = choices.measure(study)[0]
    says = (
        f"Right of the line: designs with dropout there did better ({words}). Bars are 95 % "
        "intervals; one that crosses the line shows no difference. The search chose what goes "
        "together, so this is no experiment."
    )
    return Figure("dropout", title, says, figure)


def widths(study: StudyTables) -> Figure:
    """Optuna's slices: accuracy against single choices."""
    title, why = "Widths and depth", _too_few(study)
    if why:
        return Figure("widths", title, why)
    made, words = choices.as_optuna(study)
    wanted = ("convolutions", "first width", "largest width", "last width")
    names = [name for name in wanted if name in made.best_trial.params]
    if not names:
        return Figure("widths", title, "All designs have the same widths and depth.")
    figure = visualization.plot_slice(
        made, params=names, target=lambda trial: (trial.value or 0) * 100, target_name="accuracy, %"
    )
    figure.update_layout(template="none", title=None, width=None)
    values = sorted((trial.value or 0) * 100 for trial in made.trials)
    figure.update_yaxes(range=[values[len(values) // 10] - 0.1, values[-1] + 0.1])
    says = f"Each dot is a design, by accuracy {words}; later trials are darker."
    return Figure("widths", title, says, figure)
