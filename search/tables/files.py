"""Files: a study's tables as CSV files and `study.json`: written as trials end, and read back.

The files are views of the study's database. A finished trial is appended at once; what depends on
all trials is written again on a timer and at the end, so that a trial costs the same however many
there are. Every file carries the study's identity.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mnist_arch.errors import UserError
from search import files
from search.config import StudyConfig
from search.files import DATABASE, nearest_study
from search.final_run import FinalRun
from search.goals import GOALS
from search.record import TRAINED, TrialRecord
from search.tables import confirmations, trials
from search.tables.csv_text import lines, read_csv, to_csv
from search.tables.trials import Row

REWRITE_SECONDS, REWRITE_SHARE = 2.0, 0.003
"""Tables of all trials are written at most so often, and for at most this share of the time."""

CATCH_UP_SECONDS = 20.0
"""How long to wait for the driver that writes the tables."""

TABLES = (
    "trials", "epochs", "rejections", "leaderboard", "finalists", "confirmations", "errors",
)  # fmt: skip
WEIGHTS = "weights"
"""Folder in a study's folder, of the weights that final runs left."""

_TEXT_COLUMNS = (
    "state", "fingerprint", "widths", "dropout", "head", "device", "engine", "worker", "reason",
    "design", "proposal", "study", "limit", "message", "commit", "weights", "judge", "part",
    "answers", "started", "ended", "warm_start",
)  # fmt: skip
"""Never read as numbers: a fingerprint may look like 59e12."""

_JUDGED = frozenset({"seed_index", "seeds"})
"""Columns of tables that say what judged."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file back as it was written."""
    frame = read_csv(path, _TEXT_COLUMNS)
    if "state" in frame:
        frame["state"] = frame["state"].replace("repeat", "duplicate")  # of earlier versions
    for column in _JUDGED.intersection(frame.columns):
        if "judge" not in frame:  # earlier versions had but one
            judged = frame[column].notna().map({True: "test", False: None})
            frame.insert(list(frame.columns).index(column), "judge", judged)
    return trials.whole_numbers(frame)


@dataclass(slots=True)
class StudyFiles:
    """Writes the files of one study; `document` gives what `study.json` says beside the counts."""

    folder: Path
    identity: str
    config: StudyConfig
    document: Callable[[], dict[str, Any]]
    runs: list[FinalRun] = field(default_factory=list)
    is_writer: Callable[[], bool] = lambda: True
    counts: Counter[str] = field(default_factory=Counter)
    _trials: list[Row] = field(default_factory=list)
    _epochs: list[Row] = field(default_factory=list)
    _rejections: list[Row] = field(default_factory=list)
    _next_rewrite: float = 0.0
    _is_behind: bool = False

    @property
    def trained(self) -> int:
        """How many trials trained a design."""
        return sum(self.counts[state] for state in TRAINED)

    def load(self, records: Sequence[TrialRecord]) -> None:
        """Take over the trials that are finished already; the next `rewrite` writes them."""
        for record in records:
            self._take(record)

    def add(self, record: TrialRecord) -> None:
        """Append a finished trial to the tables; write the rest again if it is time."""
        row, epochs, rejections = self._take(record)
        if self._is_behind or not self.is_writer():
            self.rewrite()
            return
        config = self.config
        columns = trials.trial_columns(config.look_lengths, config.warm_start is not None)
        self._append("trials", [row], columns)
        self._append("epochs", epochs, trials.EPOCH_COLUMNS)
        self._append("rejections", rejections, trials.REJECTION_COLUMNS)
        if time.monotonic() >= self._next_rewrite:
            self.rewrite()

    def _take(self, record: TrialRecord) -> tuple[Row, list[Row], list[Row]]:
        row = trials.trial_row(record, self.config.rules.target)
        epochs, rejections = trials.epoch_rows(record), trials.rejection_rows(record)
        self._trials.append(row)
        self._epochs += epochs
        self._rejections += rejections
        self.counts[record.state] += 1
        return row, epochs, rejections

    def _trials_frame(self, rows: list[Row]) -> pd.DataFrame:
        config = self.config
        return trials.trials_frame(
            rows, self.identity, config.selected_on_test, config.look_lengths,
            config.warm_start is not None,
        )  # fmt: skip

    def _with_origin(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A table that says in each row from which earlier study its study learnt, if from any."""
        if self.config.warm_start is not None:
            frame.insert(len(frame.columns) - 1, "warm_start", self.config.warm_start)
        return frame

    def _append(self, name: str, rows: Sequence[Row], columns: Sequence[str]) -> None:
        """Append rows to a table as `frames` will tell them."""
        config = self.config
        same = {"study": self.identity, "selected_on_test": config.selected_on_test}
        if config.warm_start is not None:
            columns = [*columns[:-1], "warm_start", columns[-1]]
            same["warm_start"] = config.warm_start
        if rows:
            text = lines([row | same for row in rows], columns)
            files.append_text(self.folder / f"{name}.csv", text)

    def frames(self) -> dict[str, pd.DataFrame]:
        """All tables of the study by name."""
        frame = self._trials_frame(self._trials)
        found = {
            "trials": frame,
            "epochs": trials.epochs_frame(self._epochs, self.identity),
            "rejections": trials.rejections_frame(self._rejections, self.identity),
            "leaderboard": trials.leaderboard(frame, GOALS[self.config.goal]),
        }
        frames = confirmations.with_confirmation(
            found, self.runs, self.config.rules.target, self.identity
        )
        return {name: self._with_origin(table) for name, table in frames.items()}

    def rewrite(self) -> dict[str, pd.DataFrame]:
        """Write every table, and `study.json`, as a whole; returns the tables.

        While another driver of the study writes them nothing is written.
        """
        start = time.monotonic()
        frames = self.frames()
        self._is_behind = not self.is_writer()
        if self._is_behind:
            return frames
        # first, for it says whose the others are
        files.write_json(self.folder / "study.json", self._study_json())
        for name, frame in frames.items():
            files.write_text(self.folder / f"{name}.csv", to_csv(frame))
        took = time.monotonic() - start
        self._next_rewrite = time.monotonic() + max(REWRITE_SECONDS, took / REWRITE_SHARE)
        return frames

    def read(self) -> StudyTables:
        """The study as its files tell it, once another driver that writes them has caught up."""
        give_up = time.monotonic() + CATCH_UP_SECONDS
        while True:
            if self._is_behind:
                self.rewrite()
            study = read_study(self.folder)
            runs = len(study.tables.get("confirmations", ()))
            is_whole = len(study.trials) >= self.counts.total() and runs >= len(self.runs)
            if is_whole or time.monotonic() > give_up:
                return study
            time.sleep(0.2)

    def _study_json(self) -> dict[str, Any]:
        states = {state: self.counts[state] for state in sorted(self.counts)}
        return {"id": self.identity, **self.document(), "trained": self.trained, "states": states}


@dataclass(frozen=True, slots=True)
class StudyTables:
    """A study as its files tell it: the one way to look at a study, with or without its database.

    `tables` are its CSV files by name; `finalists` and `confirmations` only where there are any.
    """

    folder: Path
    name: str
    identity: str
    config: StudyConfig
    document: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]

    @property
    def trials(self) -> pd.DataFrame:
        """Every finished trial."""
        return self.tables["trials"]

    @property
    def leaderboard(self) -> pd.DataFrame:
        """The designs that pass, best first."""
        return self.tables["leaderboard"]


def read_study(folder: Path) -> StudyTables:
    """Read a study's files; raises `UserError` where one is missing, bad or another study's."""
    try:
        document = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        if not isinstance(document, dict) or not {"study", "settings", "states"} <= document.keys():
            raise ValueError("study.json is not a study's")
        config = StudyConfig.from_dict(document["settings"])
        name = str(document["study"])
        identity = document.get("id") or config.identity(name)
        tables = {
            table: _read_own(folder / f"{table}.csv", identity)
            for table in TABLES
            if table not in _OPTIONAL or (folder / f"{table}.csv").is_file()
        }
        return StudyTables(folder, name, identity, config, document, tables)
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no study: {Path(error.filename).name} is missing; give the folder of "
            "a study (results/mnist), or make one: python -m search.run --trials 50"
            f"{nearest_study(folder)}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the study in {folder} cannot be read ({error}); running the study again makes its "
            f"files anew from {DATABASE}"
        ) from None


_OPTIONAL = ("finalists", "confirmations", "errors")


def _read_own(path: Path, identity: str) -> pd.DataFrame:
    """Read a table; raises `ValueError` if it is another study's."""
    frame = read_table(path)
    owners = set(frame["study"].dropna()) if "study" in frame else set()
    if owners - {identity}:
        raise ValueError(f"{path.name} is of another study: {', '.join(sorted(owners))}")
    return frame


def require_no_orphans(folder: Path) -> None:
    """Raise `UserError` if a folder holds a study's results without its database.

    A new study would write over them.
    """
    found = _results_in(folder)
    if found and not (folder / DATABASE).exists():
        raise UserError(
            f"{folder} holds results ({', '.join(found)}) without their database {DATABASE}: a "
            "new study would write over them. Give another --study NAME (or another --results "
            f"DIR), put {DATABASE} back, or move the folder away"
        )


def require_own(folder: Path, token: str | None) -> None:
    """Raise `UserError` if a folder holds results of another study than the server's with `token`.

    None: the server has no such study yet.
    """
    found = _results_in(folder)
    try:
        document = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        theirs = document.get("token") if isinstance(document, dict) else None
    except (OSError, ValueError):
        theirs = None
    if found and (token is None or theirs != token or (folder / DATABASE).exists()):
        raise UserError(
            f"{folder} holds results ({', '.join(found)}) of another study than the server's: they "
            "would be written over. Give another --study NAME (or another --results DIR), or move "
            "the folder away"
        )


def _results_in(folder: Path) -> list[str]:
    names = [f"{name}.csv" for name in TABLES] + ["study.json", "training.json", WEIGHTS]
    return [name for name in names if (folder / name).exists()]
