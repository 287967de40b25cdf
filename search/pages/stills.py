"""Stills: a plotly figure drawn by matplotlib, as PNG and SVG, without any browser.

Knows what our figures hold: marks, lines and bars, error bars, lines across, a few subplots.
"""

from __future__ import annotations

import re
from html import unescape
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

SIZE = (9.0, 5.0)
"""Inches of a picture; 110 dots an inch."""

MARKERS = {"circle": "o", "square": "s", "diamond": "D", "x": "x", "cross": "P"}
"""matplotlib's markers by plotly's names; those with `-open` are the same, hollow."""

_SETTINGS: Any = {
    "svg.hashsalt": "mnist-arch", "font.size": 10, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "svg.fonttype": "none",
}  # fmt: skip


def still(figure: go.Figure, title: str) -> dict[str, bytes]:
    """The figure as `png` and `svg` files' content; equal figures give equal files."""
    with mpl.rc_context(_SETTINGS):
        drawn = _draw(figure, title)
        found = {}
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            target = BytesIO()
            drawn.savefig(target, format=kind, dpi=110, metadata=metadata, bbox_inches="tight")
            found[kind] = target.getvalue()
    return found


def _draw(figure: go.Figure, title: str) -> Figure:
    layout = figure.layout
    places = sorted({trace.xaxis or "x" for trace in figure.data}, key=_number)
    drawn = Figure(figsize=SIZE)
    axes = drawn.subplots(1, len(places), squeeze=False, sharey=len(places) > 1)[0]
    for place, axis in zip(places, axes, strict=True):
        for trace in figure.data:
            if (trace.xaxis or "x") == place:
                _trace(axis, trace)
        _axis(axis, layout["xaxis" + place[1:]], layout["yaxis" + place[1:]])
    for shape in layout.shapes:
        _across(axes[0], shape)
    drawn.suptitle(_text(title), x=0.02, ha="left", weight="bold")
    shown = [trace for trace in figure.data if trace.name and trace.showlegend is not False]
    if len(shown) > 1:
        drawn.legend(loc="outside lower center", ncols=min(len(shown), 3), frameon=False,
                     fontsize=8)  # fmt: skip
        drawn.set_layout_engine("constrained")
    return drawn


def _number(place: str) -> int:
    return int(place[1:] or 1)


def _text(text: str | None) -> str:
    """Text as matplotlib shows it: no HTML, and dollars that start no formula."""
    return unescape(re.sub(r"<[^>]*>", " ", text or "")).replace("$", r"\$")


def _values(values: Any) -> list[Any]:
    found = [] if values is None else list(values)
    return [np.nan if value is None else value for value in found]


def _trace(axis: Axes, trace: Any) -> None:
    x, y = _values(trace.x), _values(trace.y)
    label = _text(trace.name) if trace.name and trace.showlegend is not False else None
    if trace.type == "bar":
        left = _values(trace.base) if trace.base is not None else None
        colour = trace.marker.color if isinstance(trace.marker.color, str) else None
        if trace.orientation == "h":
            axis.barh(y, x, left=left, color=colour, label=label, height=0.7)
        else:
            axis.bar(x, y, color=colour, label=label)
        return
    mode = trace.mode or "lines"
    if "lines" in mode:
        steps = "steps-post" if trace.line.shape == "hv" else "default"
        axis.plot(
            x, y, color=trace.line.color, linewidth=trace.line.width or 1.5, label=label,
            drawstyle=steps, marker="o" if "markers" in mode else "", markersize=2,
        )  # fmt: skip
        return
    _marks(axis, trace, x, y, label)
    if "text" in mode:
        sides = [6 if str(side).startswith("top") else -12 for side in trace.textposition]
        for place, text, side in zip(zip(x, y, strict=True), trace.text, sides, strict=True):
            axis.annotate(_text(text), place, (0, side), textcoords="offset points", ha="center",
                          fontsize=7, annotation_clip=True)  # fmt: skip


def _marks(axis: Axes, trace: Any, x: list[Any], y: list[Any], label: str | None) -> None:
    for name, options in (("error_x", "xerr"), ("error_y", "yerr")):
        error = trace[name]
        if error is not None and error.array is not None and len(x):
            both = [_values(error.arrayminus), _values(error.array)]
            bars: dict[str, Any] = {options: both}
            axis.errorbar(x, y, fmt="none", ecolor=_colour(trace), alpha=0.6,
                          linewidth=error.thickness or 1, zorder=1, **bars)  # fmt: skip
    symbol = str(trace.marker.symbol or "circle")
    marker, hollow = MARKERS[symbol.removesuffix("-open")], symbol.endswith("-open")
    size = trace.marker.size if isinstance(trace.marker.size, int | float) else 6
    numbers = trace.marker.color if not isinstance(trace.marker.color, str) else None
    look: dict[str, Any] = {"color": _colour(trace)}
    if hollow:
        look = {"edgecolors": _colour(trace), "facecolors": "none"}
    elif numbers is not None:
        look = {"c": list(numbers), "cmap": "Blues"}
    axis.scatter(x, y, s=size**2 * 0.6, marker=marker, label=label, alpha=trace.marker.opacity,
                 zorder=2, **look)  # fmt: skip


def _colour(trace: Any) -> str:
    colour = trace.marker.color
    return colour if isinstance(colour, str) else "#4c8bc4"


def _axis(axis: Axes, x: Any, y: Any) -> None:
    axis.set_xlabel(_text(x.title.text))
    axis.set_ylabel(_text(y.title.text))
    if x.type == "log":
        axis.set_xscale("log")
    if x.tickvals is not None:
        axis.set_xticks(list(x.tickvals), list(x.ticktext))
        axis.minorticks_off()
        _narrow(axis)
    elif x.type != "log" and _whole(axis):
        axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if y.range is not None:
        axis.set_ylim(*y.range)


def _whole(axis: Axes) -> bool:
    """Whether all places along x are whole numbers: then so are the ticks."""
    lines = [line.get_xdata() for line in axis.lines]
    marks = _offsets(axis)
    places = np.concatenate([*map(np.asarray, lines), *marks]) if lines or marks else np.zeros(0)
    places = places[np.isfinite(places.astype(float))].astype(float)
    return len(places) > 0 and bool((places == places.round()).all())


def _narrow(axis: Axes) -> None:
    """As wide as the data: ticks alone would widen it."""
    axis.autoscale(axis="x")
    columns = _offsets(axis)
    found = np.concatenate(columns) if columns else np.array([])
    found = found[np.isfinite(found) & (found > 0)]  # error bars have an offset of 0
    if len(found):
        axis.set_xlim(found.min() * 0.85, found.max() * 1.15)


def _offsets(axis: Axes) -> list[Any]:
    """Where the marks of an axis stand along x."""
    places = [np.asarray(collection.get_offsets()) for collection in axis.collections]
    return [found[:, 0] for found in places if len(found)]


def _across(axis: Axes, shape: Any) -> None:
    """A line across the whole figure."""
    style = {"color": shape.line.color, "linewidth": shape.line.width or 1.2,
             "linestyle": "--" if shape.line.dash == "dash" else "-", "zorder": 0}  # fmt: skip
    if shape.y0 == shape.y1:
        axis.axhline(shape.y0, **style)
    else:
        axis.axvline(shape.x0, **style)
