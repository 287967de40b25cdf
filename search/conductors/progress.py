"""Progress: what a running search shows, live on a terminal and a line a trial elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.describe import describe_widths, design_cells
from search.formats import duration, percent
from search.record import TRAINED, TrialRecord

STATE_STYLES = {"passed": "green", "missed": "yellow", "pruned": "dim", "failed": "red"}


class Progress:
    """Shows a search: `update` with the running trials, `finished` with each trained one.

    Use it as a context manager. `goal` is the number of designs to train, `before` how many the
    study had when this run began.
    """

    def __init__(self, console: Console, goal: int, before: int, epochs: int, quiet: bool) -> None:
        self._console = console
        self._goal, self._before, self._epochs, self._quiet = goal, before, epochs, quiet
        self._start = time.monotonic()
        live = console.is_terminal and not quiet
        self._live = Live(console=console, refresh_per_second=4, transient=True) if live else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def note(self, text: str) -> None:
        """Say something on a line of its own."""
        if not self._quiet:
            self._console.print(text, highlight=False, soft_wrap=True)

    def finished(self, record: TrialRecord, trained: int) -> None:
        """Say how one trained trial ended; `trained` counts it."""
        if not self._quiet:
            self._console.print(self._line(record, trained), highlight=False, soft_wrap=True)

    def _line(self, record: TrialRecord, trained: int) -> Text:
        assert record.design is not None
        cells = design_cells(record.design)
        accuracy = percent(record.epochs[-1].validation_accuracy) if record.epochs else "-"
        seconds = sum(epoch.seconds for epoch in record.epochs)
        text = (
            f"[{trained:>{len(str(self._goal))}}/{self._goal}] trial {record.number:<4} "
            f"{record.state:<7} {accuracy:>8}  {cells['parameters']:>7,} parameters  "
            f"{len(record.epochs):>2} epochs  {duration(seconds):>7}  {cells['widths']}"
        )
        reason = f"  ({record.reason})" if record.state == "failed" else ""
        return Text(text + reason, style=STATE_STYLES[record.state])

    def update(self, running: Sequence[TrialRecord], counts: dict[str, int], best: str) -> None:
        """Show the running trials and the study's counts."""
        if self._live:
            self._live.update(Group(self._summary(counts, best), self._running(running)))

    def _summary(self, counts: dict[str, int], best: str) -> Table:
        trained = sum(counts[state] for state in TRAINED)
        grid = Table.grid(padding=(0, 2))
        grid.add_row(
            ProgressBar(total=self._goal, completed=trained, width=30),
            f"{trained}/{self._goal} trained",
            f"{counts['passed']} passed, {counts['rejected']} proposals rejected",
            best,
            self._time_left(trained),
        )
        return grid

    def _time_left(self, trained: int) -> str:
        """Time to the end, as if the remaining designs took as long as this run's on average."""
        done = trained - self._before
        elapsed = time.monotonic() - self._start
        if done < 1:
            return f"{duration(elapsed)} so far"
        left = elapsed / done * (self._goal - trained)
        return f"{duration(elapsed)} so far, about {duration(left)} left"

    def _running(self, running: Sequence[TrialRecord]) -> Table:
        table = Table(box=None, padding=(0, 2), pad_edge=False)
        for heading in ("trial", "epoch", "validation", "images/s", "left at most"):
            table.add_column(heading, justify="right")
        table.add_column("design")
        for record in running:
            table.add_row(*self._running_cells(record))
        return table

    def _running_cells(self, record: TrialRecord) -> list[str]:
        widths = describe_widths(record.design) if record.design else "choosing a design"
        epochs = record.epochs
        if not epochs:
            return [str(record.number), f"0/{self._epochs}", "", "", "", widths]
        mean = sum(epoch.seconds for epoch in epochs) / len(epochs)
        return [
            str(record.number),
            f"{len(epochs)}/{self._epochs}",
            percent(epochs[-1].validation_accuracy),
            f"{epochs[-1].images_per_second:,.0f}",
            duration(mean * (self._epochs - len(epochs))),
            widths,
        ]


class RunProgress:
    """Shows a number of trainings: a line for each that ended, on a terminal also a bar.

    Use it as a context manager.
    """

    def __init__(self, console: Console, goal: int, quiet: bool) -> None:
        self._goal, self._quiet, self._done = goal, quiet, 0
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Bar(
            *columns, console=console, transient=True, disable=quiet or not console.is_terminal
        )
        self._console = self._bar.console
        self._task = self._bar.add_task("", total=goal)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """Say something on a line of its own."""
        if not self._quiet:
            self._console.print(text, highlight=False, soft_wrap=True)

    def finished(self, text: str) -> None:
        """Say how one training ended."""
        self._done += 1
        self._bar.advance(self._task)
        self.note(f"\\[{self._done:>{len(str(self._goal))}}/{self._goal}] {text}")
