"""Searching: one run of a search, from opening the study to the last block on the screen."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from rich.console import Console

from mnist_arch.data import load
from mnist_arch.engine import Engine, choose_engine
from search import facts, files, record, study
from search.conductors import confirming, summary
from search.conductors.progress import Progress
from search.conductors.trouble import raise_told, require_survivors, storage_trouble_told
from search.options import EXIT_DONE, EXIT_INTERRUPTED
from search.settings import Settings
from search.views import write_views
from search.workers import PROPOSALS_IN_A_ROW, Assignment, Event, Workers

POLL_SECONDS = 1.0


def conduct(options: argparse.Namespace, settings: Settings) -> int:
    """Run a search as its command line says; returns the exit status."""
    console = Console(highlight=False)
    engine = choose_engine(options.engine, options.device)
    load("train", options.data)  # a damaged file is told before anything is written
    if settings.selected_on_test or options.finalists:
        load("test", options.data)  # to be sure of it; a search looks at none of it
    folder = options.results / options.study
    files.make_folder(folder)
    with files.only_one(folder), storage_trouble_told(folder):
        opened = study.start_study(
            study.open_storage(study.sqlite_url(folder)), options.study, settings
        )
        study.clear_interrupted(opened)
        before = study.count_trained(opened)
        if before >= options.trials:
            write_views(opened, settings, folder)
            console.print(_nothing_to_do(options, before), soft_wrap=True)
            return confirming.last_stage(options, settings, engine, opened)
        run = _prepare_run(options, settings, engine, opened, console, before)
        run.progress.note(summary.opening(options, settings, engine, before))
        status = _train(run, _assignments(options, settings, engine, before))
        if run.stop_reason:
            console.print(run.stop_reason, soft_wrap=True)
        skip = "the time is up" if run.time_is_up else ""
        follows = status == EXIT_DONE and not confirming.why_not(options, settings, opened, skip)
        closing = summary.closing(study.records(opened), folder, settings, follows)
        console.print(closing, soft_wrap=True)
        return status or confirming.last_stage(options, settings, engine, opened, skip)


def _nothing_to_do(options: argparse.Namespace, before: int) -> str:
    return (
        f"study {options.study!r} already has {before} trained designs and --trials is "
        f"{options.trials}: nothing to search.\nTo go on, give a larger --trials; to start afresh, "
        f"another --study NAME.\nTo see it: python -m search.show {options.results / options.study}"
    )


def _assignments(
    options: argparse.Namespace, settings: Settings, engine: Engine, before: int
) -> list[Assignment]:
    """One assignment a worker: by default one a core on a CPU, with one thread each."""
    cores = facts.usable_cores()
    wanted = options.workers or (cores if engine.device == "cpu" else 1)
    count = min(wanted, options.trials - before)
    folder = options.results / options.study
    return [
        Assignment(
            storage_url=study.sqlite_url(folder), study_name=options.study, settings=settings,
            engine=options.engine, device=engine.device, data_folder=options.data,
            threads=max(1, cores // wanted), worker=str(number),
        )
        for number in range(count)
    ]  # fmt: skip


@dataclass(slots=True)
class Run:
    """One run of a study on this machine; `goal` counts the study's trained designs."""

    study: optuna.Study
    settings: Settings
    folder: Path
    goal: int
    timeout_seconds: int | None
    progress: Progress
    facts: dict[str, object]
    key: str
    shown: set[int]
    deaths: int = 0
    stop_reason: str = ""
    start: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since this run began."""
        return time.monotonic() - self.start

    @property
    def time_is_up(self) -> bool:
        """Whether this run has taken longer than it may."""
        return self.timeout_seconds is not None and self.seconds > self.timeout_seconds

    def write_views(self) -> None:
        """Write the views of the study, after noting how long this run has taken."""
        self.study.set_user_attr(self.key, {**self.facts, "seconds": round(self.seconds, 1)})
        write_views(self.study, self.settings, self.folder)

    def train(self, assignments: list[Assignment]) -> None:
        """Train designs until the goal, the time limit or the end of the space is reached."""
        with self.progress, Workers(assignments) as workers:
            while True:
                if self.time_is_up:
                    self.stop_reason = f"Stopped by --timeout {self.timeout_seconds}."
                if not self.stop_reason:
                    trained = study.count_trained(self.study)
                    workers.order(self.goal - trained - workers.busy)
                if not workers.busy:
                    return
                for event in workers.events(POLL_SECONDS):
                    self._handle(event)
                self._show()

    def _handle(self, event: Event) -> None:
        """Act on what a worker said; raises what cannot be mended here."""
        match event.kind:
            case "trained":
                self.deaths = 0
                self.write_views()
            case "exhausted":
                self.stop_reason = (
                    f"Stopped: {PROPOSALS_IN_A_ROW:,} proposals in a row were rejected or repeats; "
                    "the space holds nothing more under these rules."
                )
            case "died":
                self._handle_death(event)
            case _:
                raise_told(event, self.folder)

    def _handle_death(self, event: Event) -> None:
        study.clear_interrupted(self.study, event.worker)
        self.deaths += 1
        require_survivors(self.deaths, event)
        self.progress.note(f"worker {event.worker} died ({event.text}); its design is tried again")

    def _show(self) -> None:
        """Show trials that have been trained since the last call, and the running ones."""
        finished = study.finished_trials(self.study)
        trained = [t for t in finished if record.state_of(t) in record.TRAINED]
        fresh = [trial for trial in trained if trial.number not in self.shown]
        for count, trial in enumerate(fresh, len(trained) - len(fresh) + 1):
            self.progress.finished(record.read(trial), count)
            self.shown.add(trial.number)
        running = [record.read(trial) for trial in study.running_trials(self.study)]
        self.progress.update(running, study.count_states(self.study), summary.best_so_far(trained))


def _prepare_run(
    options: argparse.Namespace,
    settings: Settings,
    engine: Engine,
    opened: optuna.Study,
    console: Console,
    before: int,
) -> Run:
    """What this run is, told to the user and to be noted in the study."""
    progress = Progress(console, options.trials, before, settings.epochs, options.quiet)
    number = sum(key.startswith("run_") for key in opened.user_attrs)
    return Run(
        study=opened,
        settings=settings,
        folder=options.results / options.study,
        goal=options.trials,
        timeout_seconds=options.timeout,
        progress=progress,
        facts=summary.run_facts(options, engine, "run") | {"trained_before": before},
        key=f"run_{number:03d}",
        shown={trial.number for trial in study.finished_trials(opened)},
    )


def _train(run: Run, assignments: list[Assignment]) -> int:
    """Train; Ctrl-C ends the workers and keeps every finished trial. Returns the exit status."""
    run.facts["workers"] = len(assignments)
    try:
        run.train(assignments)
    except KeyboardInterrupt:
        run.stop_reason = "Interrupted; finished trials are kept. Continue with the same command."
        return EXIT_INTERRUPTED
    finally:
        study.clear_interrupted(run.study)
        run.write_views()
    return EXIT_DONE
