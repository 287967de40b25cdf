"""Verdicts: the table of a confirmation, what its words mean, the three answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

from mnist_arch.datasets import TRAIN_IMAGES
from mnist_arch.recipe import Judge
from search.formats import percent
from search.tables import trials
from search.tables.answers import confirmed_answers

_TITLES = {
    "test": "confirmation: fresh seeds, each judged once on the 10,000 test images",
    "folds": "confirmation by folds: six runs, each judged once on 10,000 unseen images",
}


def finalists_table(rows: Sequence[Mapping[str, Any]], judge: str = "test") -> Table:
    """One line a design with final runs, the baseline marked, for a terminal of 80 columns."""
    table = Table(
        title=_TITLES[judge],
        title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip
    for heading in ("trial", "parameters", "mean ± sd, %", "least", "passed", "bound"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    spread = "" if row["test_deviation"] is None else f" ± {row['test_deviation'] * 100:.3f}"
    star = "*" if row["pareto"] else ""
    passed = round(row["pass_share"] * row["seeds"])
    bounds = (row["lower_bound"], row["lower_bound_seeds"])
    return [
        f"{row['trial']}{' (baseline)' if row['baseline'] else ''}",
        f"{row['parameters']:,}{star}",
        _hundredths(row["test_accuracy"], 3) + spread,
        _hundredths(row["test_minimum"], 2),
        f"{passed}/{row['seeds']}",
        _hundredths(min(bounds) if None not in bounds else None, 3),
        verdict_of(row),
    ]


def _hundredths(share: float | None, digits: int) -> str:
    return "-" if share is None else f"{share * 100:.{digits}f}"


def verdict_of(row: Mapping[str, Any]) -> str:
    """A design's verdict in a word or two."""
    if row["failed_seeds"]:
        return f"{row['failed_seeds']} failed"
    if row["proven"]:
        return "proven"
    return "confirmed" if row["confirmed"] else "not confirmed"


def confirmed_cell(row: Mapping[str, Any]) -> str:
    """A leaderboard's cell: mean accuracy, seeds and verdict; empty without final runs."""
    if row["seeds"] is None:
        return ""
    runs = "folds" if row.get("judge") == "folds" else row["seeds"]
    return f"{_hundredths(row['test_accuracy'], 2)} ({runs})\n{verdict_of(row)}"


def explanation(
    target: float, rows: Sequence[Mapping[str, Any]], judge: Judge = "test", data: str = "MNIST"
) -> str:
    """What the table's words mean; `rows` are those of the table, `data` what was read."""
    text = (
        f"passed: runs at {percent(target)} or more. confirmed: the mean reaches it. bound: one-"
        "sided 95 % lower bound of the mean, for the luck of seeds and of images. "
    )
    if judge == "folds":
        text += (
            f"proven: trainings on {TRAIN_IMAGES:,} images like {data}'s reach {percent(target)} "
            "on average on further such images, with 95 % confidence; the bound allows for the "
            "images that the six trainings share. "
        )
        if data == "MNIST":
            text += "Writers may stand on both sides here. "
    else:
        text += (
            f"proven: this design reaches {percent(target)} on average over seeds on images like "
            "the test images, with 95 % confidence. "
        )
    if len(rows) > 1 and "p_holm" in rows[0]:  # earlier versions did not correct
        text += f"That is corrected for the {len(rows)} designs in the table (Holm). "
    text += (
        "failed: runs without an accuracy; they leave a design unconfirmed. * Pareto-optimal among "
        "the designs that pass: validation accuracy, parameters, MACs."
    )
    if judge == "test":
        text += (
            "\nTest images were used for nothing else: no design, epoch or seed was chosen by them."
        )
    return text


def doubt_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the doubt about each mean comes from; nothing where there is one run of each."""
    parts = []
    for row in rows:
        if row.get("seeds_error") is not None and row.get("images_error") is not None:
            shared = row.get("shared_errors")
            same = "" if shared is None else f" ({shared * 100:.0f} % of its errors shared)"
            parts.append(
                f"trial {row['trial']}: seeds {row['seeds_error'] * 100:.3f}, images "
                f"{row['images_error'] * 100:.3f}{same}"
            )
    if not parts:
        return []
    end = " Shared: of images that every seed finds hard." if "shared" in "".join(parts) else ""
    return [f"Standard error of the mean in points, by cause: {'; '.join(parts)}.{end}"]


def answer_lines(finalists: pd.DataFrame, judge: Judge = "test") -> list[str]:
    """The three answers among the confirmed designs, and the baseline beside them."""
    found = confirmed_answers(finalists, judge)
    mine = finalists[finalists["judge"] == judge]
    rows = {row["trial"]: row for row in trials.rows_of(mine)}
    lines = [f"  {name:<14} {_answer(rows[number])}" for name, number in found.items()]
    lines += [f"  {'baseline':<14} {_answer(row)}" for row in rows.values() if row["baseline"]]
    head = "Confirmed, beside the baseline:" if found else "None is confirmed."
    return [head, *lines] if lines else []


def _answer(row: Mapping[str, Any]) -> str:
    parts = [
        f"trial {row['trial']:<4}", f"{_hundredths(row['test_accuracy'], 3)} %",
        f"{row['parameters']:>6,} parameters", f"{row['epochs']:>2} epochs", verdict_of(row),
    ]  # fmt: skip
    return "  ".join(parts)
