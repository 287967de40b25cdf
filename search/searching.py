"""Searching: a whole search, and a whole confirmation, from opening the study to the last line."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from rich.console import Console

from mnist_arch.errors import UserError
from mnist_arch.rules import Rejected
from search import facts, files, record
from search.config import Machine, StudyConfig
from search.confirmation import finalists
from search.confirmation.confirming import Confirmation
from search.dashboard import dashboard, require_dashboard
from search.executors import get_ready, make_executor
from search.files import DATABASE, nearest_study
from search.final_run import read_runs
from search.goals import GOALS
from search.loop import Loop
from search.loop.history import History
from search.loop.proposals import space_of
from search.pages.after import report_after
from search.run_config import ConfirmConfig, RunConfig
from search.samplers import make_sampler
from search.schedules import SCHEDULES
from search.storage import FINISHED, is_on_server, is_there, opened_storage, place_of, storage_url
from search.storage.driver import Driver
from search.storage.starting import EARLIER, identity_of, load_study, start_study
from search.tables.files import (
    StudyFiles,
    StudyTables,
    require_no_orphans,
    require_own,
)
from search.terminal import confirmation as confirmation_words
from search.terminal import search as search_words
from search.terminal.console import plain_console
from search.terminal.progress import RunsProgress, SearchProgress
from search.warm_start import learn, pairs_of

if TYPE_CHECKING:
    from mnist_arch.data import Part
    from mnist_arch.engine import Engine

IsWriter = Callable[[], bool]
"""Says whether this run writes the study's files, see `files.held`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search or a confirmation came to.

    `confirmed` says whether one of the chosen finalists is confirmed; None where none was to be.
    """

    study: StudyTables
    interrupted: bool = False
    confirmed: bool | None = None

    @property
    def is_yes(self) -> bool:
        """Whether there is what was asked for: a design that passes, confirmed if it was to be."""
        if self.confirmed is None:
            return not self.study.leaderboard.empty
        return self.confirmed


def search_study(config: StudyConfig, run: RunConfig) -> Outcome:
    """Search, then confirm the finalists; see `search.search`."""
    _require_known("--goal", config.goal, GOALS)
    _require_known("--schedule", config.schedule, SCHEDULES)
    if run.dashboard:
        require_dashboard()
    sampler = make_sampler(config.sampler, config.seed)
    config, earlier = _with_earlier(_with_designs(config, run), run)
    engine = _engine_for(run.machine, run.executor)
    require_data("train", run.machine, config)
    if config.selected_on_test or run.finalists:
        require_data("test", run.machine, config)  # to be sure of it; a search looks at none of it
    url = storage_url(run.storage, run.folder)
    shared = is_on_server(url)
    files.make_folder(run.folder)
    with files.held(run.folder, shared) as is_writer:
        if not is_there(url, run.study):
            require_own(run.folder, None) if shared else require_no_orphans(run.folder)
            if config.warm_start is not None and earlier is None:
                raise UserError(
                    f"--warm-start: study {run.study!r} is to learn from {config.warm_start}; give "
                    "that study's folder"
                )
            if config.designs and not run.designs:
                raise UserError(
                    f"--design: study {run.study!r} is to begin with designs given by hand "
                    f"({', '.join(config.designs)}); give them"
                )
        with opened_storage(url) as storage:
            study = start_study(
                storage, run.study, config, GOALS[config.goal].directions, sampler,
                space_of(config).starts(), earlier, list(run.designs.values()),
            )  # fmt: skip
            driver = Driver(study, storage)
            if shared:
                require_own(run.folder, study.user_attrs.get("token"))
                driver.take_back_stale()
            else:
                driver.take_back_all()
            outcome = _search(driver, config, run, engine, is_writer)
    if run.report:
        report_after(run.folder, plain_console().print)
    return outcome


def _with_designs(config: StudyConfig, run: RunConfig) -> StudyConfig:
    """A study's choices, the user's own designs among them, all of which the rules must allow."""
    if not run.designs:
        return config
    for name, design in run.designs.items():
        try:
            config.rules.check(design, config.full_epochs)
        except Rejected as rejected:
            raise UserError(f"--design {name}: {rejected}") from None
    return replace(config, designs=tuple(each.fingerprint for each in run.designs.values()))


def _with_earlier(config: StudyConfig, run: RunConfig) -> tuple[StudyConfig, dict[str, Any] | None]:
    """A study's choices and what it takes from an earlier one, where it is to learn from one."""
    if run.warm_start is None:
        return config, None
    earlier = learn(run.warm_start, config, run.folder)
    return replace(config, warm_start=earlier.name), earlier.to_dict()


def _engine_for(machine: Machine, executor: str) -> Engine:
    """What trains here. Its libraries are loaded now, by the workers' side at the same time."""
    get_ready(executor)
    from mnist_arch.engine import choose_engine

    return choose_engine(machine.engine, machine.device)


def require_data(part: Part, machine: Machine, config: StudyConfig) -> None:
    """Read a part of the data, so that a damaged file is told before anything is written."""
    from mnist_arch.data import load

    load(part, machine.data, config.dataset)


def _require_known(option: str, name: str, known: dict[str, Any]) -> None:
    if name not in known:
        raise UserError(f"{option} {name}: must be one of {', '.join(known)}")


def _search(
    driver: Driver, config: StudyConfig, run: RunConfig, engine: Engine, is_writer: IsWriter
) -> Outcome:
    console = plain_console()
    note = _RunNote(driver.study, "run", run.to_dict(), engine)
    written = _files(driver.study, config, run.folder, is_writer)
    threads, workers = _shares(run.workers, engine, run.trials)
    executor = make_executor(run.executor, replace(run.machine, threads=threads), workers)
    progress = SearchProgress(console, run.trials, run.quiet, config.rules.target)
    history = History(driver, written, pairs_of(driver.study))
    history.load()
    loop = Loop(history, config, executor, progress, run.trials, run.timeout_seconds)
    before = written.trained
    if before >= run.trials:
        console.print(search_words.nothing_to_do(run, before))
        return _last_stage(driver, written, config, run, engine, console, "")
    progress.start_with(before)
    progress.note(search_words.opening(config, run, engine, before))
    note.add(workers=workers, trained_before=before)
    driver.storage.say = progress.note
    with _dashboard(run, progress):
        interrupted = _interrupted_run(loop, progress, note)
    study = written.read()
    if loop.stop_reason:
        console.print(loop.stop_reason)
    skip = "the time is up" if loop.time_is_up else ""
    why = "interrupted" if interrupted else _why_not(study, run, skip)
    console.print(search_words.closing(study, not why))
    if interrupted:
        console.print("Interrupted; finished trials are kept. Continue with the same command.")
        return Outcome(study, interrupted=True)
    return _last_stage(driver, written, config, run, engine, console, skip)


@contextmanager
def _dashboard(run: RunConfig, progress: SearchProgress) -> Iterator[None]:
    """Serve the study's dashboard while the block runs, where that is asked for."""
    if not run.dashboard:
        yield
        return
    with dashboard(storage_url(run.storage, run.folder), progress.note):
        yield


def _interrupted_run(loop: Loop, progress: SearchProgress, note: _RunNote) -> bool:
    """Run a loop; Ctrl-C ends it and keeps every finished trial. Returns whether it did."""
    try:
        with progress:
            loop.run()
    except KeyboardInterrupt:
        return True
    finally:
        note.write()
        loop.files.rewrite()
    return False


def _files(
    study: optuna.Study, config: StudyConfig, folder: Path, is_writer: IsWriter
) -> StudyFiles:
    """What writes a study's tables, with the final runs that it has."""
    return StudyFiles(
        folder, identity_of(study), config, lambda: _document(study), read_runs(study.user_attrs),
        is_writer,
    )  # fmt: skip


def _document(study: optuna.Study) -> dict[str, Any]:
    """What `study.json` says beside the counts: settings, and every run of the study."""
    attributes = study.user_attrs
    runs, confirmations = (
        [attributes[key] for key in sorted(attributes) if key.startswith(prefix)]
        for prefix in ("run_", "confirm_")
    )
    earlier = attributes.get(EARLIER)
    taken = {} if earlier is None else {
        "from_trials": [each["trial"] for each in earlier["proposals"]],
        "from_pairs": len(earlier["pairs"]),
    }  # fmt: skip
    return {
        "study": study.study_name,
        "token": attributes.get("token"),
        "settings": attributes["settings"],
        **taken,
        "seconds": round(sum(run["seconds"] for run in runs), 1),
        "runs": runs,
        "confirmations": confirmations,
    }


class _RunNote:
    """What is written down of one run of a command: command, machine, versions, commit."""

    def __init__(
        self, study: optuna.Study, kind: str, arguments: dict[str, Any], engine: Engine
    ) -> None:
        number = sum(key.startswith(f"{kind}_") for key in study.user_attrs)
        self._study, self._key = study, f"{kind}_{number:03d}_{uuid.uuid4().hex[:8]}"
        self._start = time.monotonic()
        self._facts = facts.run_facts(kind, arguments, engine.name, engine.device)

    def add(self, **more: object) -> None:
        """Add facts, and write them all."""
        self._facts |= more
        self.write()

    def write(self) -> None:
        """Write the facts into the study, with the seconds so far."""
        seconds = round(time.monotonic() - self._start, 1)
        self._study.set_user_attr(self._key, {**self._facts, "seconds": seconds})


def _shares(workers: int | None, engine: Engine, most: int) -> tuple[int, int]:
    """Threads of a worker, and how many workers: one a core on a CPU, one on a GPU."""
    cores = facts.usable_cores()
    wanted = workers or (cores if engine.device == "cpu" else 1)
    return max(1, cores // wanted), min(wanted, most)


def _why_not(study: StudyTables, run: RunConfig, skip: str) -> str:
    """Why a search does not end with a confirmation; nothing if it does."""
    if run.finalists == 0:
        return "--finalists 0"
    return skip or finalists.obstacle(study.tables, study.config, study.folder)


def _last_stage(
    driver: Driver,
    written: StudyFiles,
    config: StudyConfig,
    run: RunConfig,
    engine: Engine,
    console: Console,
    skip: str,
) -> Outcome:
    """Confirm as the last stage of a search, or say in one line why not."""
    tables = written.read()
    why = _why_not(tables, run, skip)
    if why:
        if run.finalists:
            console.print(f"No confirmation: {why}.")
        return Outcome(tables)
    choices = ConfirmConfig(
        run.folder, run.finalists, None, run.rank_by, run.seeds, run.workers, run.executor,
        run.machine, run.quiet, run.storage,
    )  # fmt: skip
    return _confirm(driver, written, config, choices, tables, engine, console)


def _records(study: optuna.Study) -> finalists.Records:
    finished = study.get_trials(deepcopy=False, states=FINISHED)
    return {trial.number: record.read(trial) for trial in finished}


def confirm_study(choices: ConfirmConfig) -> Outcome:
    """Confirm finalists of a study; see `search.confirm`."""
    folder = choices.folder
    with _study_here(folder, choices.storage) as (driver, config, is_writer):
        engine = _engine_for(choices.machine, choices.executor)
        require_data("train", choices.machine, config)
        require_data("test", choices.machine, config)
        written = _files(driver.study, config, folder, is_writer)
        records = _records(driver.study)
        written.load(list(records.values()))
        why = finalists.obstacle(written.rewrite(), config, folder)
        if why and (choices.trials is None or config.selected_on_test):
            raise UserError(f"the study in {folder} has nothing to confirm: {why}")
        tables = written.read()
        outcome = _confirm(driver, written, config, choices, tables, engine, plain_console())
    if choices.report:
        report_after(folder, plain_console().print)
    return outcome


@contextmanager
def _study_here(folder: Path, storage_name: str) -> Iterator[tuple[Driver, StudyConfig, IsWriter]]:
    """Hold and open the study of a folder; raises `UserError` where there is none."""
    url = storage_url(storage_name, folder)
    shared = is_on_server(url)
    if not is_there(url, folder.name):
        missing = f"the server has no study {folder.name!r}" if shared else f"{DATABASE} is missing"
        raise UserError(
            f"{folder} holds no study to confirm: {missing}; give the folder of a "
            "study that was searched here (results/mnist), or make one: "
            "python -m search.run --trials 50. A study on a server needs its --storage"
            f"{nearest_study(folder)}"
        )
    if shared:
        files.make_folder(folder)
    with files.held(folder, shared) as is_writer, opened_storage(url) as storage:
        place = place_of(url) if shared else folder / DATABASE
        study, config = load_study(storage, place, folder.name if shared else None)
        if shared:
            require_own(folder, study.user_attrs.get("token"))
        yield Driver(study, storage), config, is_writer


def _confirm(
    driver: Driver,
    written: StudyFiles,
    config: StudyConfig,
    choices: ConfirmConfig,
    tables: StudyTables,
    engine: Engine,
    console: Console,
) -> Outcome:
    """Do the runs that are missing and show what all came to; `tables` say who may be confirmed."""
    study, folder = driver.study, choices.folder
    race, about_baseline = finalists.race(tables.tables, _records(study), config, choices)
    machine = replace(choices.machine, threads=1)  # so that the workers' number changes no result
    missing = len(race.wanted(run for run in written.runs if run.is_settled))
    _, workers = _shares(choices.workers, engine, missing or 1)
    executor = make_executor(choices.executor, machine, workers)
    progress = RunsProgress(console, missing, choices.quiet)
    notes = [about_baseline, f"{engine.reason.capitalize()}."]
    console.print(confirmation_words.opening(written.read(), race, missing, notes))
    interrupted = False
    if missing:
        note = _RunNote(study, "confirm", choices.to_dict(), engine)
        note.add(workers=workers)
        try:
            with progress, driver.shared_work() as work:
                Confirmation(study, config, folder, written, executor, progress, work).train(race)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            note.write()
            written.rewrite()
    tables = written.read()
    chosen = race.tried(written.runs)
    first = confirmation_words.confirmed_first(tables, chosen, written.runs, choices.judge)
    if "finalists" in tables.tables:
        confirmation_words.print_end(console, tables, first, choices.judge)
    if interrupted:
        console.print("Interrupted; finished runs are kept. Continue with the same command.")
    return Outcome(tables, interrupted, first is not None)
