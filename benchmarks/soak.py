"""Soak: kill a search at random instants, again and again, and hold what is left against the rules.

    python -m benchmarks.soak                            # 100 kills over searches of 40 trials
    python -m benchmarks.soak --kills 4 --trials 6       # in a few minutes

Searches with looks and confirmation run as a user starts them. At instants drawn from `--seed` a
worker, the process that workers are forked from, the command itself or its whole process group gets
SIGKILL; the same command then goes on, until the search is done, and the next search begins. After
each kill: no trial, and no final run, that was finished before is missing or another than it was;
every CSV file parses and holds nothing that the database does not. At each search's end: exactly as
many trained designs as asked for, none twice, no trial running, every final run there once, every
table as the database says. Proposals that wait in the queue when the study is full are counted:
what was under way at a kill may be one.
Exit status 1 if any of it fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from mnist_arch.errors import UserError
from search import record
from search.final_run import read_runs
from search.record import TRAINED
from search.storage import FINISHED, UNFINISHED, opened_storage, sqlite_url
from search.storage.starting import load_study
from search.tables.files import TABLES, read_table
from search.tables.trials import epoch_rows

KINDS = {
    "worker": "a worker",
    "server": "what workers are forked from",
    "parent": "the command",
    "group": "the group",
}
"""What is killed, and its name on screen."""

SETTINGS = ("--epochs", "2", "--train-images", "500", "--target", "0.01", "--finalists", "2")
SEEDS = 2
PHASES = ("starting", "searching", "confirming")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a study's database holds: finished trials by number, final runs, unfinished trials.

    Of the unfinished ones `running` are said to be in training; the others wait in the queue, as a
    proposal does that was under way at a kill when the study has its trained designs.
    """

    trials: Mapping[int, record.TrialRecord]
    runs: Mapping[tuple[str, int], Any]
    unfinished: int
    running: int = 0

    @property
    def trained(self) -> list[record.TrialRecord]:
        """The trials that trained a design."""
        return [trial for trial in self.trials.values() if trial.state in TRAINED]


def look(folder: Path) -> Kept:
    """What the database in a study's folder holds; nothing where there is none yet."""
    if not (folder / "study.db").exists():
        return Kept({}, {}, 0)
    with opened_storage(sqlite_url(folder)) as storage:
        try:
            study, _ = load_study(storage, folder)
        except UserError:  # it was killed before it wrote its settings
            return Kept({}, {}, 0)
        finished = study.get_trials(deepcopy=False, states=FINISHED)
        unfinished = study.get_trials(deepcopy=False, states=UNFINISHED)
        return Kept(
            {trial.number: record.read(trial) for trial in finished},
            {(run.finalist, run.index): run for run in read_runs(study.user_attrs)},
            len(unfinished),
            sum(trial.state == TrialState.RUNNING for trial in unfinished),
        )


@dataclass(slots=True)
class Soak:
    """Searches, killed; `faults` says what was not as it should be."""

    results: Path
    trials: int
    random: random.Random
    seconds: float = 60.0
    kills: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def run(self, kills: int) -> None:
        """Search until so many kills were made, and the last search is done."""
        number = 0
        while self.kills.total() < kills:
            self.search(f"soak-{number:02d}", number, kills)
            number += 1

    def search(self, name: str, seed: int, kills: int) -> None:
        """One search, killed and gone on with until it is done."""
        folder, before = self.results / name, Kept({}, {}, 0)
        while True:
            process, started = self.start(name, seed), time.time()
            while self.kills.total() < kills and self.survives(process):
                if self.kill(process, self.phase(folder, started)) != "worker":
                    break
            else:
                process.wait()
            if process.returncode is None:
                process.wait()
            self.end_group(process)
            before = self.check(folder, before)
            if process.returncode >= 0:
                self.check_end(folder, before, process.returncode)
                return

    def start(self, name: str, seed: int) -> subprocess.Popen[bytes]:
        """Start the command, in a process group of its own."""
        command = [
            sys.executable, "-m", "search.run", "--results", str(self.results), "--study", name,
            "--trials", str(self.trials), "--seeds", str(SEEDS), "--seed", str(seed),
            "--workers", "2", "--quiet", *SETTINGS,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        with (self.results / f"{name}.txt").open("ab") as output:
            return subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, start_new_session=True
            )

    def survives(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for a random instant; False if the search has ended before it."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.random.uniform(0.0, self.seconds))
        return process.returncode is None

    def phase(self, folder: Path, started: float) -> str:
        """What a search is at, as its tables tell it."""
        table = folder / "trials.csv"
        if not table.exists() or table.stat().st_mtime < started:
            return "starting"
        trained = read_table(table)["state"].isin(TRAINED).sum()
        return "confirming" if trained >= self.trials else "searching"

    def kill(self, process: subprocess.Popen[bytes], phase: str) -> str:
        """Kill something; returns what."""
        kind = self.random.choice(list(KINDS))
        victims = {
            "worker": workers_of(process.pid), "server": fork_servers_of(process.pid),
        }.get(kind, [process.pid])  # fmt: skip
        if not victims:
            kind, victims = "parent", [process.pid]
        with suppress(ProcessLookupError):
            if kind == "group":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                os.kill(self.random.choice(victims), signal.SIGKILL)
        self.kills[kind] += 1
        self.counts[phase] += 1
        print(f"{self.kills.total():4d}  {kind:<7} while {phase}", flush=True)
        return kind

    def end_group(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until no process of the command is left; one that stays is a fault."""
        for _ in range(300):
            if not group_of(process.pid):
                return
            time.sleep(0.1)
        self.faults.append(f"processes outlived their command: {group_of(process.pid)}")
        os.killpg(process.pid, signal.SIGKILL)

    def check(self, folder: Path, before: Kept) -> Kept:
        """Hold the database against what it held before, and the tables against the database."""
        self.counts["checks"] += 1
        now = look(folder)
        changed = [each for each, trial in before.trials.items() if trial != now.trials.get(each)]
        changed_runs = [each for each, run in before.runs.items() if run != now.runs.get(each)]
        self.note(bool(changed), f"{folder}: trials lost or changed: {changed}")
        self.note(bool(changed_runs), f"{folder}: final runs lost or changed: {changed_runs}")
        for name in TABLES:
            path = folder / f"{name}.csv"
            if path.exists():
                self.counts["tables"] += 1
                self.check_table(path, name, now)
        return now

    def check_table(self, path: Path, name: str, now: Kept) -> None:
        """A table parses, and what it holds the database holds, too."""
        try:
            table = read_table(path)
        except (ValueError, OSError) as error:
            self.faults.append(f"{path} does not parse: {error}")
            return
        unknown = set(table["trial"].tolist()) - now.trials.keys()
        self.note(bool(unknown), f"{path} holds trials that the database does not: {unknown}")
        if name == "trials":
            self.note(bool(table["trial"].duplicated().any()), f"{path} holds a trial twice")
            told = dict(zip(table["trial"].tolist(), table["state"], strict=True))
            wrong = [n for n in told.keys() - unknown if now.trials[n].state != told[n]]
            self.note(bool(wrong), f"{path}: other states than the database's: {wrong}")

    def check_end(self, folder: Path, now: Kept, status: int) -> None:
        """A search that is done is whole."""
        trained = now.trained
        designs = Counter(record.identity(t.design, t.recipe) for t in trained if t.design)
        self.counts["searches"] += 1
        self.counts["trained"] += len(trained)
        self.counts["trials"] += len(now.trials)
        self.counts["final runs"] += len(now.runs)
        self.counts["waiting"] += now.unfinished - now.running
        self.note(status != 0, f"{folder}: exit status {status}")
        self.note(len(trained) != self.trials, f"{folder}: {len(trained)} trained designs")
        self.note(max(designs.values()) > 1, f"{folder}: a design was trained twice")
        self.note(now.running > 0, f"{folder}: {now.running} trials still run")
        finalists = Counter(key for key, _ in now.runs)
        self.note(set(finalists.values()) != {SEEDS}, f"{folder}: final runs {finalists}")
        self.note(any(run.state != "done" for run in now.runs.values()), f"{folder}: a run failed")
        self.check_final_tables(folder, now)

    def check_final_tables(self, folder: Path, now: Kept) -> None:
        """The tables of a search that is done say what its database says."""
        tables = {name: read_table(folder / f"{name}.csv") for name in TABLES}
        trials = [trial for trial in now.trials.values() if trial.state in TRAINED]
        agree = {
            "trials": sorted(tables["trials"]["trial"]) == sorted(now.trials),
            "epochs": len(tables["epochs"]) == sum(len(epoch_rows(t)) for t in now.trials.values()),
            "leaderboard": set(tables["leaderboard"]["trial"])
            == {t.number for t in trials if t.state == "passed"},
            "confirmations": len(tables["confirmations"]) == len(now.runs),
            "study.json": json.loads((folder / "study.json").read_text())["trained"] == len(trials),
        }
        for name, same in agree.items():
            self.note(not same, f"{folder}: {name} does not agree with the database")

    def note(self, is_fault: bool, text: str) -> None:
        """Note a fault, if it is one."""
        if is_fault:
            self.faults.append(text)
            print(f"FAULT {text}", flush=True)


def group_of(leader: int) -> dict[int, str]:
    """Processes of a process group that are alive, with their command lines."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = stat.read_text().rpartition(")")[2].split()
            if int(words[2]) == leader and words[0] != "Z":
                line = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(stat.parent.name)] = line.decode(errors="replace")
    return found


def workers_of(leader: int) -> list[int]:
    """A command's worker processes: forked from its fork server, whose command line they have."""
    forked = _forked(leader)
    return [number for number, parent in forked.items() if parent != leader]


def fork_servers_of(leader: int) -> list[int]:
    """The process that a command's workers are forked from, if it runs."""
    return [number for number, parent in _forked(leader).items() if parent == leader]


def _forked(leader: int) -> dict[int, int]:
    """A command's fork server and what was forked from it, with the parent of each."""
    found = {}
    for number, line in group_of(leader).items():
        if "multiprocessing.forkserver" in line:
            with suppress(OSError):
                stat = Path(f"/proc/{number}/stat").read_text()
                found[number] = int(stat.rpartition(")")[2].split()[1])
    return found


def summary(soak: Soak, minutes: float) -> str:
    """What came of it, in a few lines."""
    kinds = ", ".join(f"{soak.kills[kind]} of {name}" for kind, name in KINDS.items())
    phases = ", ".join(f"{soak.counts[name]} while {name}" for name in PHASES)
    lines = [
        f"{soak.kills.total()} kills ({kinds}; {phases}) over "
        f"{soak.counts['searches']} searches of "
        f"{soak.trials} trained designs, in {minutes:.0f} minutes.",
        f"{soak.counts['trials']} trials, {soak.counts['trained']} of them trained, and "
        f"{soak.counts['final runs']} final runs stood at the end; {soak.counts['tables']:,} "
        f"tables were read in {soak.counts['checks']} checks. {soak.counts['waiting']} proposals "
        "wait for a larger study.",
        f"Faults: {len(soak.faults)}.",
    ]
    return "\n".join([*lines, *soak.faults])


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill and check; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="default 100")
    parser.add_argument("--trials", type=int, default=40, metavar="N", help="default 40")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument(
        "--within", type=float, default=60.0, metavar="SECONDS",
        help="each kill comes within so many seconds of the start, or of the last killed worker; "
        "more on a slow or busy machine, so that searches come to their confirmation (default "
        "%(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as results:
        soak = Soak(Path(results), options.trials, random.Random(options.seed), options.within)
        soak.run(options.kills)
    print(summary(soak, (time.monotonic() - start) / 60))
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
