"""What the search itself costs a trial, however many designs a study has: trainings are simulated.

    python -m benchmarks.scale                     # at 100, 1,000 and 10,000 trials
    python -m benchmarks.scale --marks 100 1000    # quicker
    python -m benchmarks.scale --storages sqlite   # without a PostgreSQL server of its own

A simulated training answers at once with a learning curve of results/curves, so that all the time
is the search's own. At each mark, on each storage, the next `--measured` trials are timed: with
each number of simulated workers and the first sampler, and with the others and one worker. Printed
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
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console
from rich.table import Table

from benchmarks.filled import NAME, fill
from benchmarks.simulated import Many, read_curves
from benchmarks.timed import Clock, Nobody, TimedFiles, TimedSampler
from search import StudyConfig
from search.config import Machine
from search.executors import EXECUTORS, make_executor
from search.loop import Loop
from search.loop.history import History
from search.samplers import make_sampler
from search.storage import opened_storage, storage_url
from search.storage.driver import Driver
from search.storage.starting import identity_of, load_study


@dataclass(frozen=True, slots=True)
class Cost:
    """What trials cost in a study of so many `trials`, in milliseconds a trial.

    `wall` is what elapsed, the others are the processor's time. `load` and `rewrite` are seconds:
    to continue the study, and to write all tables once. `memory` is in MiB.
    """

    trials: int
    storage: str
    workers: int
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


@dataclass(frozen=True, slots=True)
class Opened:
    """A study that is gone on with; `load` is the processor's seconds that it took to continue."""

    history: History
    files: TimedFiles
    load: float


@contextlib.contextmanager
def opened(results: Path, config: StudyConfig, storage: str = "sqlite") -> Iterator[Opened]:
    """Open a study that exists, and read all that it has."""
    folder = results / NAME
    with opened_storage(storage_url(storage, folder)) as there:
        study, _ = load_study(there, folder)
        files = TimedFiles(folder, identity_of(study), config, lambda: _document(study))
        files.clock = Clock()
        history = History(Driver(study, there), files)
        start = time.process_time()
        history.load()
        yield Opened(history, files, time.process_time() - start)


def measure(study: Opened, sampler_name: str, measured: int, workers: int = 1) -> Cost:
    """Time the trials that it takes to train so many more designs."""
    history, files = study.history, study.files
    config, storage = files.config, history.driver.storage
    clock = files.clock = Clock()
    sampler = make_sampler(sampler_name, config.seed)
    history.driver.study.sampler = TimedSampler(sampler, clock)
    executor = make_executor(NAME, Machine(), workers)
    before = files.counts.total()
    loop = Loop(history, config, executor, Nobody(), files.trained + measured)
    start, wall_start = time.process_time(), time.perf_counter()
    loop.run()
    total, wall = time.process_time() - start, time.perf_counter() - wall_start
    a_trial = 1_000 / (files.counts.total() - before)
    start = time.process_time()
    files.rewrite()
    return Cost(
        before, storage.engine.dialect.name, workers, sampler_name, wall * a_trial,
        total * a_trial, clock.seconds["sampler"] * a_trial, clock.seconds["tables"] * a_trial,
        study.load, time.process_time() - start,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )  # fmt: skip


def _document(study: optuna.Study) -> dict[str, Any]:
    attributes = study.user_attrs
    return {
        "study": study.study_name, "token": attributes.get("token"),
        "settings": attributes["settings"],
    }  # fmt: skip


def make_table(costs: Sequence[Cost]) -> Table:
    """One line a mark and sampler."""
    table = Table(title="milliseconds a trial, trainings simulated")
    table.add_column("trials", justify="right")
    table.add_column("storage")
    table.add_column("workers", justify="right")
    table.add_column("sampler")
    for heading in (
        "elapsed", "processor", "of it sampler", "bookkeeping", "of it tables", "continue, s",
        "write all tables, s", "memory, MiB",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for cost in costs:
        table.add_row(
            f"{cost.trials:,}", cost.storage, str(cost.workers), cost.sampler_name,
            f"{cost.wall:.1f}", f"{cost.total:.1f}", f"{cost.sampler:.1f}",
            f"{cost.bookkeeping:.1f}", f"{cost.tables:.1f}",
            f"{cost.load:.2f}", f"{cost.rewrite:.2f}", f"{cost.memory:,.0f}",
        )  # fmt: skip
    return table


def growth(costs: Sequence[Cost]) -> str:
    """How bookkeeping at the last mark compares with the first, by storage, workers and sampler."""
    lines = []
    kinds: dict[tuple[str, int, str], list[Cost]] = {}
    for cost in costs:
        kinds.setdefault((cost.storage, cost.workers, cost.sampler_name), []).append(cost)
    for (storage, workers, sampler), ordered in kinds.items():
        first, last = ordered[0], ordered[-1]
        lines.append(
            f"{storage}, {workers} workers, {sampler}: bookkeeping a trial at "
            f"{last.trials:,} trials is "
            f"{last.bookkeeping / first.bookkeeping:.2f} times that at {first.trials:,}"
        )
    return "\n".join(lines)


def study_costs(
    folder: Path, config: StudyConfig, storage: str, options: argparse.Namespace
) -> Iterator[Cost]:
    """What trials cost at each mark, in a study of its own on a storage."""
    for mark in sorted(options.marks):
        fill(folder, config, mark, storage)
        first, *others = options.samplers
        with opened(folder, config, storage) as study:
            for workers in options.workers:
                yield measure(study, first, options.measured, workers)
            for sampler in others:
                yield measure(study, sampler, options.measured)


@contextlib.contextmanager
def database(kind: str) -> Iterator[str | None]:
    """A storage of that kind, as `--storage` takes it; None where there is no PostgreSQL."""
    if kind == "sqlite":
        yield kind
        return
    from benchmarks.postgres import programs, server  # which needs psycopg

    binaries = programs()
    if binaries is None:
        print("PostgreSQL is not installed: not measured")
        yield None
        return
    with server(binaries) as running:
        os.environ["SCALE_DATABASE"] = running.fresh()
        yield "env:SCALE_DATABASE"


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--marks", type=int, nargs="+", default=[100, 1_000, 10_000], metavar="N",
        help="trials of the study (default 100 1000 10000)",
    )  # fmt: skip
    parser.add_argument(
        "--measured", type=int, default=20, metavar="N",
        help="trained designs whose trials are timed; those that are not trained to the end count "
        "as well (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--samplers", nargs="+", default=["random", "tpe"], metavar="NAME",
        help="default random tpe",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 8, 64], metavar="N", help="default 1 8 64"
    )
    parser.add_argument(
        "--storages", nargs="+", choices=("sqlite", "postgresql"),
        default=["sqlite", "postgresql"], help="default both",
    )  # fmt: skip
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Print the costs; returns the exit status."""
    options = make_parser().parse_args(arguments)
    curves = read_curves()
    EXECUTORS[NAME] = lambda _machine, workers: Many(curves, workers)
    config = StudyConfig(seed=1, sampler="random")
    costs: list[Cost] = []
    for kind in options.storages:
        with tempfile.TemporaryDirectory() as name, database(kind) as storage:
            if storage is None:
                continue
            for cost in study_costs(Path(name), config, storage, options):
                costs.append(cost)
                print(cost, file=sys.stderr)  # so that an end before time leaves something
    console = Console(highlight=False, width=140)
    console.print(make_table(costs))
    console.print(growth(costs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
