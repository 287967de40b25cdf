"""Words of a confirmation: its table on the screen, how much was luck, a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from search.confirmation.statistics import Comparison
from search.describe import describe_widths
from search.formats import duration, percent, points

if TYPE_CHECKING:
    from mnist_arch.design import Design
    from search.confirmation.runs import FinalRun
    from search.confirmation.tables import Luck

LUCK_SOURCE = "optimizer's curse, Smith and Winkler 2006"


def finalists_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line a design with final runs, the baseline marked, for a terminal of 80 columns."""
    table = Table(
        title="confirmation: fresh seeds, judged once on the 10,000 test images",
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
    """A leaderboard's cell: mean test accuracy, seeds and verdict; empty without final runs."""
    if row["seeds"] is None:
        return ""
    return f"{_hundredths(row['test_accuracy'], 2)} ({row['seeds']})\n{verdict_of(row)}"


def explanation(target: float) -> str:
    """What the table's words mean."""
    return (
        f"passed: seeds at {percent(target)} or more. confirmed: the mean reaches it. proven: its "
        "one-sided 95 % lower bound does, which counts the luck of the seeds and of the test "
        "images. failed: runs without an accuracy; they leave a design unconfirmed. * "
        "Pareto-optimal among the designs that pass: validation accuracy, parameters, MACs.\n"
        "Test images were used for nothing else: no design, epoch or seed was chosen by them."
    )


def luck_lines(luck: Luck) -> list[str]:
    """How much of the best validation accuracy was luck: expected, and measured where it was."""
    if luck.optimism is None:
        return []
    lines = [
        f"Luck: the best of {luck.designs} designs trained to their last epoch is expected to "
        f"flatter by about {points(luck.optimism)} points ({LUCK_SOURCE})."
    ]
    drops = []
    if luck.best_drop is not None:
        drops.append(f"the best one by {points(luck.best_drop)} points")
    if luck.mean_drop is not None and (luck.finalists > 1 or luck.best_drop is None):
        drops.append(f"{_designs(luck.finalists)} by {points(luck.mean_drop)} points on average")
    if drops:
        lines.append(
            f"Measured drop from validation to confirmation: {', '.join(drops)} (less than zero "
            "is a gain: final runs fit on the validation images, too, and are judged on others)."
        )
    return lines


def _designs(count: int) -> str:
    return "the one design of the search" if count == 1 else f"the {count} designs of the search"


def run_line(run: FinalRun, design: Design) -> str:
    """How one final run ended."""
    head = f"trial {run.trial:<4} seed {run.index:<3}"
    if run.test_accuracy is None or run.seconds is None:
        return f"{head} failed: {run.reason}; it counts as not passed"
    return (
        f"{head} test {percent(run.test_accuracy):>8}  {duration(run.seconds):>7}  "
        f"{describe_widths(design)}"
    )


def comparison_text(first: int, second: int, found: Comparison) -> str:
    """What a paired comparison of two trials says."""
    if found.difference is None:
        return (
            f"Trials {first} and {second} have no seed in common: nothing to compare. Confirm both "
            "with the same --seeds."
        )
    text = (
        f"Trial {first} less trial {second}, over {found.seeds} common seeds: "
        f"{found.difference * 100:+.3f} points of test accuracy"
    )
    if found.low is None or found.high is None or found.p_value is None:
        why = (
            "one seed has no spread to judge by"
            if found.seeds == 1
            else "the differences are all equal, which leaves no spread to judge by"
        )
        return f"{text}; {why}: no interval."
    apart = "tell them apart" if found.p_value < 0.05 else "cannot tell them apart"
    return (
        f"{text}, 95 % interval {found.low * 100:+.3f} to {found.high * 100:+.3f}, p = "
        f"{found.p_value:.2g} (paired t test): these seeds {apart}, on these test images."
    )
