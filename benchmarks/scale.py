"""What the search itself costs a trial, however many designs a study has: trainings are simulated.

    python -m benchmarks.scale                     # at 100, 1,000 and 10,000 trained designs
    python -m benchmarks.scale --marks 100 1000    # quicker

A simulated training answers at once with a learning curve of results/curves, so that all the time
is the search's own. At each mark the next `--measured` trials are timed with each sampler. Printed
for each, in milliseconds a trial: what elapsed; the processor's time, which other work on the
machine and a slow disk change little; what of it the sampler took (its model and its look at
earlier trials); `bookkeeping`, all the rest (loop, storage, tables), and what of it the tables took
(rows appended, all tables written again on their timer). Then the processor's seconds to continue
a study of that size and to write all its tables once, and the largest memory of the process so far.
With TMPDIR in memory (TMPDIR=/dev/shm) the disk has no part in what elapsed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from benchmarks.simulated import Simulated, read_curves
from search import RunConfig, StudyConfig, search
from search.config import Machine
from search.driver import Driver
from search.executors import EXECUTORS, make_executor
from search.history import History
from search.loop import Loop, RunningTrial
from search.record import TRAINED, TrialRecord
from search.samplers import make_sampler
from search.starting import identity_of, load_study
from search.storage import opened_storage, sqlite_url
from search.tables.files import StudyFiles

NAME = "simulated"
"""Of the executor, and of the study."""

BLOCK = 100
"""Trained designs of the trials that are copied to fill a study."""


@dataclass(slots=True)
class Clock:
    """Adds up seconds by name; a name within another counts for itself alone."""

    seconds: dict[str, float] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def under(self, name: str) -> Iterator[None]:
        """Count the time of a block."""
        if self._open:  # the outermost name has it all
            yield
            return
        self._open.append(name)
        start = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start
            self._open.pop()


class TimedSampler(BaseSampler):
    """A sampler whose time is counted."""

    def __init__(self, sampler: BaseSampler, clock: Clock) -> None:
        self._sampler, self._clock = sampler, clock

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """As the sampler does."""
        with self._clock.under("sampler"):
            self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the sampler does."""
        with self._clock.under("sampler"):
            return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the sampler does."""
        with self._clock.under("sampler"):
            return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # fmt: skip
        """As the sampler does."""
        with self._clock.under("sampler"):
            return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState,
        values: Sequence[float] | None,
    ) -> None:  # fmt: skip
        """As the sampler does."""
        with self._clock.under("sampler"):
            self._sampler.after_trial(study, trial, state, values)


class TimedFiles(StudyFiles):
    """A study's files whose time is counted."""

    clock: Clock

    def add(self, record: TrialRecord) -> None:
        """As `StudyFiles` does."""
        with self.clock.under("tables"):
            super().add(record)


class Nobody:
    """Is told of the search, and says nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def finished(self, trial: TrialRecord, trained: int) -> None:
        """Nothing."""

    def update(self, running: Sequence[RunningTrial], counts: object) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What trials cost in a study of `trained` designs, in milliseconds a trial.

    `wall` is what elapsed, the others are the processor's time. `load` and `rewrite` are seconds:
    to continue the study, and to write all tables once. `memory` is in MiB.
    """

    trained: int
    sampler_name: str
    wall: float
    total: float
    sampler: float
    tables: float
    load: float
    rewrite: float
    memory: float

    @property
    def bookkeeping(self) -> float:
        """All but the sampler."""
        return self.total - self.sampler


def fill(results: Path, config: StudyConfig, trained: int) -> None:
    """Fill a study up to about so many trained designs: search for the first, copy the others.

    The first `BLOCK` are searched, by the program as it is. Optuna has no quick way to add trials,
    so the rows of that block are then copied in its database, each design as one of its own.
    """
    first = min(trained, BLOCK)
    run = RunConfig(NAME, results, first, finalists=0, executor=NAME, quiet=True)
    with contextlib.redirect_stdout(io.StringIO()):
        there = len(search(config, run).study.trials.query("epochs > 0"))
    with opened_storage(sqlite_url(run.folder)) as storage, storage.engine.begin() as connection:
        last = connection.execute(_LAST_OF_BLOCK, {"block": first}).scalar_one()
        for _ in range((trained - there) // first):
            _copy(connection, last)


_LAST_OF_BLOCK = sqlalchemy.text(
    "SELECT trial_id FROM trial_user_attributes WHERE key = 'state' AND value_json IN "
    f"({', '.join(repr(json.dumps(state)) for state in TRAINED)}) "
    "ORDER BY trial_id LIMIT 1 OFFSET :block - 1"
)


def _copy(connection: sqlalchemy.Connection, last: int) -> None:
    """Copy all trials up to this id to the end of the study."""
    shift = connection.execute(sqlalchemy.text("SELECT max(trial_id) FROM trials")).scalar_one()
    for table in sqlalchemy.inspect(connection).get_table_names():
        columns = [each["name"] for each in sqlalchemy.inspect(connection).get_columns(table)]
        if "trial_id" not in columns:
            continue
        values = {name: name for name in columns if not _is_own_key(table, name)}
        values["trial_id"] = f"trial_id + {shift}"
        if table == "trials":
            values["number"] = f"number + {shift}"
        if table == "trial_user_attributes":
            values["value_json"] = (
                f"CASE key WHEN 'identity' THEN '\"copy ' || (trial_id + {shift}) || '\"' "
                "ELSE value_json END"
            )
        connection.exec_driver_sql(
            f"INSERT INTO {table} ({', '.join(values)}) "
            f"SELECT {', '.join(values.values())} FROM {table} WHERE trial_id <= {last}"
        )


def _is_own_key(table: str, column: str) -> bool:
    return table != "trials" and column.endswith("_id") and column != "trial_id"


def measure(results: Path, config: StudyConfig, sampler_name: str, measured: int) -> Cost:
    """Time the next `measured` trained designs of a study that exists."""
    folder, clock = results / NAME, Clock()
    with opened_storage(sqlite_url(folder)) as storage:
        study, _ = load_study(storage, folder)
        study.sampler = TimedSampler(make_sampler(sampler_name, config.seed), clock)
        files = TimedFiles(folder, identity_of(study), config, lambda: _document(study))
        files.clock = clock
        executor = make_executor(NAME, Machine(), 1)
        history = History(Driver(study, storage), files)
        start = time.process_time()
        history.load()
        load = time.process_time() - start
        before = files.trained
        loop = Loop(history, config, executor, Nobody(), before + measured)
        start, wall_start = time.process_time(), time.perf_counter()
        loop.run()
        total, wall = time.process_time() - start, time.perf_counter() - wall_start
        start = time.process_time()
        files.rewrite()
        rewrite = time.process_time() - start
    a_trial = 1_000 / measured
    return Cost(
        before, sampler_name, wall * a_trial, total * a_trial, clock.seconds["sampler"] * a_trial,
        clock.seconds["tables"] * a_trial, load, rewrite,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )  # fmt: skip


def _document(study: optuna.Study) -> dict[str, Any]:
    return {"study": study.study_name, "settings": study.user_attrs["settings"]}


def make_table(costs: Sequence[Cost]) -> Table:
    """One line a mark and sampler."""
    table = Table(title="milliseconds a trial, trainings simulated")
    table.add_column("trained designs", justify="right")
    table.add_column("sampler")
    for heading in (
        "elapsed", "processor", "of it sampler", "bookkeeping", "of it tables", "continue, s",
        "write all tables, s", "memory, MiB",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for cost in costs:
        table.add_row(
            f"{cost.trained:,}", cost.sampler_name, f"{cost.wall:.1f}", f"{cost.total:.1f}",
            f"{cost.sampler:.1f}", f"{cost.bookkeeping:.1f}", f"{cost.tables:.1f}",
            f"{cost.load:.2f}", f"{cost.rewrite:.2f}", f"{cost.memory:,.0f}",
        )  # fmt: skip
    return table


def growth(costs: Sequence[Cost]) -> str:
    """How bookkeeping at the last mark compares with the first, by sampler."""
    lines = []
    for name in dict.fromkeys(cost.sampler_name for cost in costs):
        ordered = [cost for cost in costs if cost.sampler_name == name]
        first, last = ordered[0], ordered[-1]
        lines.append(
            f"{name}: bookkeeping a trial at {last.trained:,} trained designs is "
            f"{last.bookkeeping / first.bookkeeping:.2f} times that at {first.trained:,}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the costs; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--marks", type=int, nargs="+", default=[100, 1_000, 10_000], metavar="N",
        help="trained designs of the study (default 100 1000 10000)",
    )  # fmt: skip
    parser.add_argument("--measured", type=int, default=100, metavar="N", help="trials timed")
    parser.add_argument(
        "--samplers", nargs="+", default=["random", "tpe"], metavar="NAME",
        help="default random tpe",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, metavar="DIR",
        help="keep the study here, or go on with the one here (default: a temporary folder)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    curves = read_curves()
    EXECUTORS[NAME] = lambda _machine, _workers: Simulated(curves)
    config = StudyConfig(seed=1, sampler="random")
    costs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for mark in sorted(options.marks):
            fill(folder, config, mark)
            costs += [measure(folder, config, name, options.measured) for name in options.samplers]
    console = Console(highlight=False, width=120)
    console.print(make_table(costs))
    console.print(growth(costs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
