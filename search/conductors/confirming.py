"""Confirming: one confirmation of a study, from its finalists to the last block on the screen."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import optuna
from rich.console import Console

from mnist_arch.data import load
from mnist_arch.engine import Engine, choose_engine
from mnist_arch.errors import UserError
from search import facts, files, study
from search.conductors import summary
from search.conductors.progress import RunProgress
from search.conductors.trouble import raise_told, require_survivors, storage_trouble_told
from search.confirmation import finalists, runs
from search.confirmation.runs import WEIGHTS, FinalRun, Order
from search.confirmation.screens import print_end, print_opening
from search.confirmation.words import run_line
from search.confirmation.worker import final_trainer
from search.options import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NO
from search.settings import Settings
from search.views import frames_of, write_views
from search.workers import Assignment, Event, Workers

POLL_SECONDS = 1.0


def confirm(options: argparse.Namespace) -> int:
    """Confirm as `search.confirm`'s command line says; returns the exit status."""
    engine = choose_engine(options.engine, options.device)
    for part in ("train", "test"):
        load(part, options.data)  # a damaged file is told before anything is trained
    folder = options.study
    with opened_study(folder) as opened:
        settings = _settings_of(opened)
        records = study.records(opened)
        why = finalists.obstacle(records, settings, folder)
        if why and (options.trial is None or settings.selected_on_test):
            raise UserError(f"the study in {folder} has nothing to confirm: {why}")
        if options.trial is not None:
            chosen = finalists.of_trials(records, settings, options.trial)
        else:
            chosen = finalists.best(records, settings, options.rank_by, options.top)
        return _confirm(options, folder, opened, settings, engine, chosen)


def why_not(
    options: argparse.Namespace, settings: Settings, opened: optuna.Study, skip: str = ""
) -> str:
    """Why a search does not end with a confirmation, `skip` if given; nothing if it does."""
    if options.finalists == 0:
        return "--finalists 0"
    folder = options.results / options.study
    return skip or finalists.obstacle(study.records(opened), settings, folder)


def last_stage(
    options: argparse.Namespace,
    settings: Settings,
    engine: Engine,
    opened: optuna.Study,
    skip: str = "",
) -> int:
    """Confirm as the last stage of a search; returns the search's exit status.

    Says in one line why it is skipped, if it is.
    """
    why = why_not(options, settings, opened, skip)
    if why:
        if options.finalists:
            Console(highlight=False).print(f"No confirmation: {why}.", soft_wrap=True)
        return EXIT_DONE
    records = study.records(opened)
    chosen = finalists.best(records, settings, options.rank_by, options.finalists)
    folder = options.results / options.study
    status = _confirm(options, folder, opened, settings, engine, chosen)
    return EXIT_DONE if status == EXIT_NO else status


@contextmanager
def opened_study(folder: Path) -> Iterator[optuna.Study]:
    """Hold and open the study in a folder; raises `UserError` where there is none."""
    if not (folder / "study.db").is_file():
        raise UserError(
            f"{folder} holds no study to confirm: study.db is missing; give the folder of a study "
            "that was searched here (results/mnist), or make one: python -m search.run --trials 50"
        )
    with files.only_one(folder), storage_trouble_told(folder):
        storage = study.open_storage(study.sqlite_url(folder))
        names = optuna.get_all_study_names(storage)
        if len(names) != 1:
            raise UserError(
                f"{folder / 'study.db'} must hold one study, it holds {len(names)}; search in a "
                "folder of its own: python -m search.run --study NAME"
            )
        yield optuna.load_study(study_name=names[0], storage=storage)


def _settings_of(opened: optuna.Study) -> Settings:
    values = opened.user_attrs.get("settings")
    if values is None:
        raise UserError(
            f"study {opened.study_name!r} was not started by python -m search.run: it has no "
            "settings to train finalists with"
        )
    return Settings.from_dict(values)


def _confirm(
    options: argparse.Namespace,
    folder: Path,
    opened: optuna.Study,
    settings: Settings,
    engine: Engine,
    chosen: list[runs.Finalist],
) -> int:
    """Do the runs that are missing, show what all came to; returns the exit status."""
    console = Console(highlight=False)
    everyone, about_baseline = finalists.with_baseline(chosen, study.records(opened), settings)
    orders = runs.missing(everyone, opened.user_attrs, options.seeds)
    print_opening(console, opened.study_name, settings, chosen, options.seeds, len(orders))
    console.print(f"{about_baseline} {engine.reason.capitalize()}.", soft_wrap=True)
    run = Confirmation(
        opened, settings, folder, orders, RunProgress(console, len(orders), options.quiet),
        summary.run_facts(options, engine, "confirm"),
    )  # fmt: skip
    interrupted = run.train(_assignments(options, folder, opened, settings, engine, len(orders)))
    frames = frames_of(opened, settings)
    confirmed = print_end(console, frames, folder, settings, {each.trial for each in chosen})
    if interrupted:
        console.print("Interrupted; finished runs are kept. Continue with the same command.")
        return EXIT_INTERRUPTED
    return EXIT_DONE if confirmed else EXIT_NO


def _assignments(
    options: argparse.Namespace,
    folder: Path,
    opened: optuna.Study,
    settings: Settings,
    engine: Engine,
    orders: int,
) -> list[Assignment]:
    """One assignment a worker, with one thread each, so that their number changes no result."""
    wanted = options.workers or (facts.usable_cores() if engine.device == "cpu" else 1)
    return [
        Assignment(
            storage_url=study.sqlite_url(folder), study_name=opened.study_name, settings=settings,
            engine=options.engine, device=engine.device, data_folder=options.data, threads=1,
            worker=str(number), job=partial(final_trainer, folder=folder / WEIGHTS),
        )
        for number in range(min(wanted, orders))
    ]  # fmt: skip


@dataclass(slots=True)
class Confirmation:
    """The final runs of one command; `orders` are those still to do."""

    study: optuna.Study
    settings: Settings
    folder: Path
    orders: list[Order]
    progress: RunProgress
    facts: dict[str, object]
    deaths: int = 0
    start: float = field(default_factory=time.monotonic)

    def train(self, assignments: list[Assignment]) -> bool:
        """Do all orders; Ctrl-C ends the workers and keeps every finished run.

        Returns whether it was interrupted.
        """
        key = f"confirm_{sum(k.startswith('confirm_') for k in self.study.user_attrs):03d}"
        try:
            if self.orders:
                files.make_folder(self.folder / WEIGHTS)
                self._train(assignments)
        except KeyboardInterrupt:
            return True
        finally:
            if assignments:
                seconds = round(time.monotonic() - self.start, 1)
                noted = {**self.facts, "workers": len(assignments), "seconds": seconds}
                self.study.set_user_attr(key, noted)
            write_views(self.study, self.settings, self.folder)
        return False

    def _train(self, assignments: list[Assignment]) -> None:
        with self.progress, Workers(assignments) as workers:
            while self.orders or workers.busy:
                del self.orders[: workers.hand_out(self.orders)]
                for event in workers.events(POLL_SECONDS):
                    self._handle(event)

    def _handle(self, event: Event) -> None:
        """Act on what a worker said; raises what cannot be mended here."""
        raise_told(event, self.folder)
        if event.kind == "died":
            self._handle_death(event)
            return
        self.deaths = 0
        run = FinalRun(**self.study.user_attrs[event.order.finalist.key(event.order.index)])
        self.progress.finished(run_line(run, event.order.finalist.design))
        write_views(self.study, self.settings, self.folder)

    def _handle_death(self, event: Event) -> None:
        """Order a dead worker's run again, unless it was kept just before."""
        self.deaths += 1
        require_survivors(self.deaths, event)
        if event.order is None or runs.is_settled(event.order, self.study.user_attrs):
            return
        self.orders.insert(0, event.order)
        self.progress.note(f"worker {event.worker} died ({event.text}); its run is done again")
