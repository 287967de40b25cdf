"""Figure: one figure of a page, and what all figures share.

Colours are of middle lightness, to be seen on light and dark grounds; texts have no colour here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from search.pages.published import published

BLUE, ORANGE, GREEN, GREY, RED, VIOLET = (
    "#4c8bc4", "#e08a2e", "#3a9d6e", "#8a94a3", "#d3544f", "#a06bb5",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a page: a name for files and links, a title, a sentence on how to read it.

    `plot` is None where the study has nothing to draw; `says` then says why.
    """

    name: str
    title: str
    says: str
    plot: go.Figure | None = None


def plain(x: str, y: str, **layout: Any) -> go.Figure:
    """An empty figure with titles for its axes, without plotly's own colours."""
    figure = go.Figure(layout={"template": "none", **layout})
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


def parameter_axis(figure: go.Figure) -> None:
    """A logarithmic axis of parameters, with round numbers."""
    ticks = [1_000, 2_000, 3_000, 5_000, 8_000, 12_000, 20_000, 30_000, 50_000, 100_000]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{t:,}" for t in ticks])


def published_marks() -> go.Scatter:
    """The published answers, each with its author's name."""
    rows = published()
    return go.Scatter(
        x=[a.parameters for a in rows], y=[a.accuracy * 100 for a in rows], mode="markers+text",
        name="published, single runs", text=[a.who for a in rows], textfont={"size": 9},
        textposition=[("top center", "bottom center")[n % 2] for n in range(len(rows))],
        customdata=[f"{a.epoch}; augmentation: {a.augmentation}" for a in rows],
        hovertemplate="%{text}: %{x:,} parameters, %{y:.2f} %<br>epoch %{customdata}"
        "<extra>published</extra>",
        marker={"color": VIOLET, "symbol": "diamond", "size": 8},
    )  # fmt: skip
