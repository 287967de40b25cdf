"""Progress: what a running search or confirmation shows, live on a terminal, else in lines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as EtaColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mnist_arch.epochs import EpochRecord
from search.final_run import Finalist, FinalRun
from search.formats import duration, percent
from search.loop.running import RunningTrial
from search.record import TO_THE_END, TRAINED, TrialRecord
from search.tables.describe import describe_widths, design_cells
from search.terminal.confirmation import run_line
from search.terminal.spark import spark

STATE_STYLES = {"passed": "green", "missed": "yellow", "pruned": "dim", "failed": "red"}


class SearchProgress:
    """Shows a search; use it as a context manager.

    `goal` is the number of designs to train, `target` the accuracy (a share) of a pass.
    """

    def __init__(self, console: Console, goal: int, quiet: bool, target: float) -> None:
        self._console, self._target = console, target
        self._goal, self._before, self._quiet = goal, 0, quiet
        self._start = time.monotonic()
        self._best: tuple[float, int] | None = None
        live = console.is_terminal and not quiet
        self._live = Live(console=console, refresh_per_second=1, transient=True) if live else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def start_with(self, before: int) -> None:
        """Note how many designs the study had when this run began."""
        self._before = before

    def note(self, text: str) -> None:
        """Say something on a line of its own."""
        if not self._quiet:
            self._console.print(Text(text), soft_wrap=True)

    def finished(self, trial: TrialRecord, trained: int) -> None:
        """Say how one trained trial ended; `trained` counts it."""
        if trial.state in TO_THE_END:
            value = (trial.epochs[-1].validation_accuracy, -trial.number)
            self._best = max(self._best or value, value)
        if not self._quiet:
            self._console.print(self._line(trial, trained), highlight=False, soft_wrap=True)

    def _line(self, trial: TrialRecord, trained: int) -> Text:
        assert trial.design is not None
        cells = design_cells(trial.design)
        epochs = trial.last_epochs
        accuracy = percent(epochs[-1].validation_accuracy) if epochs else "-"
        text = (
            f"[{trained:>{len(str(self._goal))}}/{self._goal}] trial {trial.number:<4} "
            f"{trial.state:<7} {accuracy:>8}  {cells['parameters']:>7,} parameters  "
            f"{len(epochs):>2} epochs  {duration(trial.seconds):>7}  {cells['widths']}"
        )
        reason = f"  ({trial.reason})" if trial.state == "failed" else ""
        return Text(text + reason, style=STATE_STYLES[trial.state])

    def update(self, running: Sequence[RunningTrial], counts: Mapping[str, int]) -> None:
        """Show the running trials and the study's counts."""
        if self._live:
            self._live.update(Group(self._summary(counts), self._running(running)))

    def _summary(self, counts: Mapping[str, int]) -> Table:
        trained = sum(counts.get(state, 0) for state in TRAINED)
        grid = Table.grid(padding=(0, 2))
        best = self._best_words()
        grid.add_row(
            ProgressBar(total=self._goal, completed=trained, width=30),
            f"{trained}/{self._goal} trained",
            f"{counts.get('passed', 0)} passed, {counts.get('screened', 0):,} screened",
            best,
            self._time_left(trained),
        )
        return grid

    def _best_words(self) -> str:
        """The best accuracy of a full training so far, against the target."""
        if self._best is None:
            return f"target {percent(self._target)}"
        accuracy, trial = self._best[0], -self._best[1]
        gap = f"{(accuracy - self._target) * 100:+.2f}"
        return f"best {percent(accuracy)} (trial {trial}), {gap} to the target"

    def _time_left(self, trained: int) -> str:
        """ETA, as if the remaining designs took as long as this run's on average."""
        done = trained - self._before
        elapsed = time.monotonic() - self._start
        if done < 1:
            return f"{duration(elapsed)} so far"
        left = elapsed / done * (self._goal - trained)
        return f"{duration(elapsed)} so far, about {duration(left)} left"

    def _running(self, running: Sequence[RunningTrial]) -> Table:
        table = Table(box=None, padding=(0, 2), pad_edge=False)
        for heading in ("trial", "epoch", "validation"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column(f"curve to {percent(self._target)}", no_wrap=True)
        for heading in ("images/s", "left at most"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("design")
        for trial in running:
            table.add_row(*_running_cells(trial, self._target))
        return table


CURVE_FROM = 0.03
"""How far below the target, a share, the curves of running trials begin."""


def _running_cells(running: RunningTrial, target: float) -> list[str]:
    goal = running.budget.epochs if running.budget else 0
    widths = describe_widths(running.design)
    epochs = [epoch for epoch in running.epochs if isinstance(epoch, EpochRecord)]
    if not epochs:
        return [str(running.trial.number), f"0/{goal}", "", "", "", "", widths]
    mean = sum(epoch.seconds for epoch in epochs) / len(epochs)
    return [
        str(running.trial.number),
        f"{len(epochs)}/{goal}",
        percent(epochs[-1].validation_accuracy),
        spark([epoch.validation_accuracy for epoch in epochs], target - CURVE_FROM, target),
        f"{epochs[-1].images_per_second:,.0f}",
        duration(mean * (goal - len(epochs))),
        widths,
    ]


class RunsProgress:
    """Shows the final runs of a confirmation: a line for each that ended, on a terminal a bar too.

    Use it as a context manager.
    """

    def __init__(self, console: Console, goal: int, quiet: bool) -> None:
        self._goal, self._quiet, self._done = goal, quiet, 0
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), EtaColumn())
        silent = quiet or not console.is_terminal
        self._bar = Progress(*columns, console=console, transient=True, disable=silent)
        self._task = self._bar.add_task("", total=goal)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """Say something on a line of its own."""
        if not self._quiet:
            self._bar.console.print(Text(text), soft_wrap=True)

    def expected(self, total: int) -> None:
        """Note how many final runs there are to be in all."""
        self._goal = total
        self._bar.update(self._task, total=total)

    def finished(self, run: FinalRun, finalist: Finalist) -> None:
        """Say how one final run ended."""
        self._done += 1
        self._bar.advance(self._task)
        count = f"[{self._done:>{len(str(self._goal))}}/{self._goal}]"
        self.note(f"{count} {run_line(run, finalist.design)}")
