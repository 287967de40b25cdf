"""Trainings: learning curves, early judging, who worked when, and how much was luck."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from search.formats import percent
from search.pages import answers, choices
from search.pages.figure import BLUE, GREEN, GREY, ORANGE, RED, VIOLET, Figure, plain
from search.tables.files import StudyTables

LEAST_RANKED = 8
"""Designs that a rank correlation is told of, at least: among 7 even one of 0.7 may be luck
(two-sided p = 0.08)."""

MOST_CURVES = 80
"""Learning curves drawn at most, of each way to end: the best ones."""


def learning_curves(study: StudyTables) -> Figure:
    """Validation accuracy after each epoch, of the longest training of each design."""
    title, table = "Learning curves", study.tables["epochs"]
    if table.empty:
        return Figure("curves", title, "No epoch was trained yet: there is nothing to draw.")
    if "look" in table:
        table = table[table["look"] == table.groupby("trial")["look"].transform("max")]
    state = study.trials.set_index("trial")["state"]
    by_trial = {trial: group for trial, group in table.groupby("trial") if trial in state.index}
    figure = plain("epoch", "validation accuracy, %")
    drawn = 0
    kinds = (("pruned", "stopped early", GREY, 0.8), ("missed", "missed", ORANGE, 1.2),
             ("passed", "passed", BLUE, 1.6))  # fmt: skip
    for kind, name, colour, width in kinds:
        groups = [group for trial, group in by_trial.items() if state[trial] == kind]
        groups.sort(key=lambda group: -group["validation_accuracy"].iloc[-1])
        x, y = _joined(groups[:MOST_CURVES])
        drawn += min(len(groups), MOST_CURVES)
        figure.add_trace(
            go.Scatter(
                x=x, y=y, mode="lines+markers", name=name, line={"color": colour, "width": width},
                marker={"size": 3}, hovertemplate="epoch %{x}: %{y:.2f} %<extra></extra>",
            )
        )  # fmt: skip
    figure.add_hline(y=study.config.rules.target * 100, line={"color": RED, "dash": "dash"})
    low = float(table["validation_accuracy"].quantile(0.05)) * 100
    best = float(table["validation_accuracy"].max()) * 100
    high = max(best, study.config.rules.target * 100)
    low = max(low, 97.5) if best > 99 else min(low, best - 1)  # first epochs flatten the rest
    figure.update_yaxes(range=[low, high + (high - low) * 0.05])
    rest = len(by_trial) - drawn
    more = f" The best {drawn} are drawn; {rest:,} more are in epochs.csv." if rest > 0 else ""
    says = f"Each line is one training. A design is judged by its last point alone.{more}"
    return Figure("curves", title, says, figure)


def _joined(groups: list[pd.DataFrame]) -> tuple[list[Any], list[Any]]:
    """Many curves as one line with gaps."""
    x: list[Any] = []
    y: list[Any] = []
    for group in groups:
        x += [*group["epoch"].astype(int), None]
        y += [*(group["validation_accuracy"] * 100).round(4), None]
    return x, y


def looks(study: StudyTables) -> Figure:
    """What early judging said against what the full training then gave."""
    title = "Does judging early work?"
    final = answers.full(study).set_index("trial")["validation_accuracy"].dropna()
    early = choices.early_measures(study)
    figure = plain(
        "accuracy when judged early, %", "validation accuracy after the full training, %"
    )
    told = []
    for (words, values), colour in zip(early, (BLUE, ORANGE, GREEN, VIOLET), strict=False):
        common = final.index.intersection(values.index)
        if len(common) < 3:
            continue
        rho = float(stats.spearmanr(values[common], final[common]).statistic)
        if not np.isfinite(rho):
            continue
        told.append((f"{words}: {rho:.2f} ({len(common)} designs)", len(common)))
        figure.add_trace(
            go.Scatter(
                x=values[common] * 100, y=final[common] * 100, mode="markers", name=words,
                text=[f"trial {trial}" for trial in common],
                hovertemplate="%{text}: %{x:.2f} % then %{y:.2f} %<extra></extra>",
                marker={"color": colour, "size": 7, "opacity": 0.8},
            )
        )  # fmt: skip
    if not told:
        return Figure(
            "looks", title,
            "Fewer than three designs were both judged early and trained in full: nothing to say.",
        )  # fmt: skip
    ranked = [words for words, designs in told if designs >= LEAST_RANKED]
    correlations = (
        f"Rank correlation with the end (1: the same order, 0: none): {'; '.join(ranked)}."
        if ranked
        else f"Fewer than {LEAST_RANKED} designs are too few for a rank correlation."
    )
    says = (
        f"Each dot is a design that was trained in full. {correlations} Only designs that early "
        "judging let through can be shown, which makes it look worse than it is."
    )
    return Figure("looks", title, says, figure)


def timeline(study: StudyTables) -> Figure:
    """When each worker trained what."""
    title, table = "Who worked when", study.trials
    if not {"started", "ended"} <= set(table) or table["ended"].isna().all():
        return Figure(
            "timeline", title,
            "The tables of this study do not say when its trials ran (older versions did not "
            "write it down).",
        )  # fmt: skip
    rows = table[table["started"].notna() & table["ended"].notna() & table["seconds"].notna()]
    start, end = (pd.to_datetime(rows[name], utc=True) for name in ("started", "ended"))
    begin = (start - start.min()).dt.total_seconds() / 60
    took = (end - start).dt.total_seconds() / 60
    figure = plain("minutes since the first trial began", "worker", barmode="overlay")
    colours = {
        "passed": BLUE, "missed": ORANGE, "pruned": GREY, "screened": VIOLET, "failed": RED,
    }  # fmt: skip
    for state, colour in colours.items():
        mine = rows["state"] == state
        figure.add_trace(
            go.Bar(
                x=took[mine], base=begin[mine], name=state, orientation="h",
                y=[f"worker {w}" for w in rows["worker"][mine]],
                marker={"color": colour, "line": {"width": 1, "color": "rgba(128,128,128,0.6)"}},
                text=[f"trial {t}" for t in rows["trial"][mine]], textposition="none",
                hovertemplate="%{text}: %{x:.1f} minutes<extra></extra>",
            )
        )  # fmt: skip
    figure.update_yaxes(automargin=True, title_text=None)
    return Figure(
        "timeline",
        title,
        "Each bar is a design, from its proposal to its verdict; gaps are waiting.",
        figure,
    )


def luck(study: StudyTables) -> Figure:
    """Validation accuracy of the search against the test images of the confirmation."""
    title = "How much was luck"
    rows = [
        row for row in answers.verdicts(study).values()
        if None not in (row["test_accuracy"], row["validation_accuracy"])
        and not answers.is_by_folds(row)
    ]  # fmt: skip
    if not rows:
        return Figure(
            "luck", title,
            "Nothing was confirmed on the test images: the search's best is the luckiest of many, "
            "by how much is unknown.",
        )  # fmt: skip
    rows.sort(key=lambda row: row["test_accuracy"])
    names = [f"trial {row['trial']}{' (baseline)' * bool(row['baseline'])}" for row in rows]
    figure = plain("accuracy, %", "")
    runs = study.tables.get("confirmations")
    if runs is not None:
        place = {row["trial"]: name for row, name in zip(rows, names, strict=True)}
        done = runs[runs["test_accuracy"].notna() & runs["trial"].isin(list(place))]
        done = done[done["judge"] == "test"]
        figure.add_trace(
            go.Scatter(
                x=done["test_accuracy"] * 100, y=[place[t] for t in done["trial"]], mode="markers",
                name="each seed, test images", marker={"color": GREEN, "size": 6, "opacity": 0.6},
                hovertemplate="%{y}: %{x:.2f} %<extra>one seed</extra>",
            )
        )  # fmt: skip
    for key, name, colour, symbol in (
        ("test_accuracy", "mean on the test images", GREEN, "square"),
        ("validation_accuracy", "the search said", BLUE, "circle"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[row[key] * 100 for row in rows], y=names, mode="markers", name=name,
                hovertemplate="%{y}: %{x:.3f} %<extra></extra>",
                marker={"color": colour, "symbol": symbol, "size": 11},
            )
        )  # fmt: skip
    target = study.config.rules.target
    figure.add_vline(x=target * 100, line={"color": RED, "dash": "dash"})
    figure.update_yaxes(automargin=True)
    says = (
        "Circles are what the search measured once, squares the mean of fresh seeds on other "
        f"images, small dots each seed. The dashed line is {percent(target)}."
    )
    return Figure("luck", title, says, figure)
