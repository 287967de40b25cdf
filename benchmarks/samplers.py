"""Race the samplers: which of them finds the best small designs with the same number of trainings.

    python -m benchmarks.samplers results/samplers          # the races, for about an hour
    python -m benchmarks.samplers results/samplers --show   # what they came to

A race is a whole study of one sampler and one seed: `--trials` designs of fewer than `--parameters`
parameters, each trained once for a quarter of an epoch, told by its validation loss. All samplers
have the same seeds and the same first proposals. As what is best after so short a training may only
be a quick starter, the best design of each race is then trained for 3 epochs over all the images.

`trials.csv` has a row for each trained design, `trainings.csv` one for each best design; the same
command goes on where it was stopped. CMA-ES is no entry: most choices of the space are categories,
which it would draw at random.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.trainings import Training, train_all
from mnist_arch.datasets import HOLDOUT_TRAIN_IMAGES
from mnist_arch.design import Design
from mnist_arch.errors import UserError
from mnist_arch.recipe import RECIPES
from mnist_arch.rules import Rules
from search import Machine, RunConfig, StudyConfig, facts, files, search
from search.record import TO_THE_END
from search.samplers import SAMPLERS

RANDOM = "random"
"""The sampler that the others are compared with."""

SHARE = 0.25
"""Of the images that a race trains on, in its single epoch."""

FINAL_EPOCHS, FINAL_SEED = 3, 1
COLUMNS = ("sampler", "seed", "trial", "parameters", "validation_loss", "design", "commit")


@dataclass(frozen=True, slots=True)
class Race:
    """One study: `trials` designs below `parameters` parameters."""

    sampler: str
    seed: int
    trials: int
    parameters: int

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.sampler}-{self.seed}"

    @property
    def config(self) -> StudyConfig:
        """The study's choices."""
        return StudyConfig(
            seed=self.seed, epochs=1, train_images=round(SHARE * HOLDOUT_TRAIN_IMAGES),
            rules=Rules(parameter_limit=self.parameters), goal="accuracy", sampler=self.sampler,
            schedule="none",
        )  # fmt: skip

    def run(self, folder: Path) -> pd.DataFrame:
        """Search, or go on with it; returns the trained designs in the order of their trials."""
        choices = RunConfig(
            study=self.name, results=folder, trials=self.trials, workers=1, finalists=0,
            executor="here", machine=Machine(threads=1), quiet=True, report=False,
        )  # fmt: skip
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            trials = search(self.config, choices).study.trials
        done = trials[trials["state"].isin(TO_THE_END)].sort_values("trial")
        columns = ["trial", "parameters", "validation_loss", "design"]
        return done[columns].assign(sampler=self.sampler, seed=self.seed, commit=facts.commit())


def run_races(races: Sequence[Race], folder: Path, workers: int) -> None:
    """Do the races that the folder lacks; the study of one that has ended is deleted."""
    path = folder / "trials.csv"
    before = races_in(path)
    left = [race for race in races if (race.sampler, race.seed) not in before]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        running = {pool.submit(race.run, folder / "races"): race for race in left}
        for number, future in enumerate(as_completed(running), 1):
            race, done = running[future], future.result()
            text = done[list(COLUMNS)].to_csv(index=False, header=not path.exists())
            files.append_text(path, text)
            shutil.rmtree(folder / "races" / race.name)
            best = done["validation_loss"].min()
            print(f"[{number}/{len(left)}] {race.name}: best loss {best:.4f}", flush=True)


def races_in(path: Path) -> set[tuple[str, int]]:
    """Sampler and seed of the races that have ended."""
    if not path.exists():
        return set()
    frame = pd.read_csv(path)
    return set(zip(frame["sampler"].tolist(), frame["seed"].tolist(), strict=True))


def train_best(folder: Path, workers: int) -> None:
    """Train the best design of each race for longer, where that is not done."""
    trials = pd.read_csv(folder / "trials.csv")
    rows = trials.loc[trials.groupby(["sampler", "seed"])["validation_loss"].idxmin()]
    trainings = [
        Training(
            f"{sampler}-{seed}", Design.from_json(design), "default", RECIPES["default"],
            FINAL_EPOCHS, FINAL_SEED,
        )
        for sampler, seed, design in zip(rows["sampler"], rows["seed"], rows["design"], strict=True)
    ]  # fmt: skip
    train_all(trainings, folder, workers)


def summary(trials: pd.DataFrame, trainings: pd.DataFrame) -> pd.DataFrame:
    """Each sampler's mean best loss, over its races, at a third, two thirds and all of the trials.

    `trials` and `trainings` are the tables of a folder. `final` is the mean loss of the best
    designs after 3 epochs, `difference` that of `final` from random's over the same seeds, with
    the limits `low` and `high` of its 95 % interval (Student's t over the seeds).
    """
    ranked = trials.sort_values(["sampler", "seed", "trial"])
    groups = ranked.groupby(["sampler", "seed"])
    ranked = ranked.assign(
        best=groups["validation_loss"].cummin(), met=groups.cumcount() + 1,
    )  # fmt: skip
    most = int(ranked["met"].max())
    marks = [round(most * part / 3) for part in (1, 2, 3)]
    finals = trainings.assign(
        sampler=trainings["design"].str.rpartition("-")[0],
        seed=trainings["design"].str.rpartition("-")[2].astype(int),
    ).pivot_table(index="seed", columns="sampler", values="validation_loss")
    rows = []
    for sampler, own in ranked.groupby("sampler"):
        row: dict[str, object] = {"sampler": sampler, "races": own["seed"].nunique()}
        for mark in marks:
            row[f"after {mark}"] = own[own["met"] == mark]["best"].mean()
        row["final"] = finals[sampler].mean()
        others = finals[RANDOM] if RANDOM in finals else pd.Series(dtype=float)
        difference = (finals[sampler] - others).dropna()
        if sampler != RANDOM and len(difference) > 1:
            low, high = stats.ttest_1samp(difference, 0).confidence_interval()
            row |= {"difference": difference.mean(), "low": low, "high": high}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("final", ignore_index=True)


def show(folder: Path, console: Console) -> None:
    """Print the summary of a folder's tables."""
    frame = summary(
        pd.read_csv(folder / "trials.csv"),
        pd.read_csv(folder / "trainings.csv", dtype={"design": str}),
    )
    table = Table(title="validation loss of the best design of a race, mean over the races")
    for name in frame.columns:
        table.add_column(name, justify="left" if name == "sampler" else "right")
    for _, row in frame.iterrows():
        cells = ["-" if pd.isna(v) else f"{v:.4f}" if isinstance(v, float) else str(v) for v in row]
        table.add_row(*cells)
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Race what is missing and print what all came to; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.samplers", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("folder", type=Path, help="where the tables are")
    parser.add_argument("--samplers", nargs="+", choices=list(SAMPLERS), default=list(SAMPLERS))
    parser.add_argument("--seeds", type=int, default=8, help="races of each (default 8)")
    parser.add_argument("--trials", type=int, default=60, help="of each race (default 60)")
    parser.add_argument("--parameters", type=int, default=5_000, help="the limit (default 5000)")
    parser.add_argument("--workers", type=int, default=facts.usable_cores())
    parser.add_argument("--show", action="store_true", help="only print what is there")
    options = parser.parse_args(arguments)
    try:
        if options.show and not (options.folder / "trainings.csv").exists():
            raise UserError(f"{options.folder} holds no finished races; leave --show out")
        if not options.show:
            files.make_folder(options.folder)
            with files.held(options.folder):
                races = [
                    Race(sampler, seed, options.trials, options.parameters)
                    for seed in range(options.seeds)
                    for sampler in options.samplers
                ]
                run_races(races, options.folder, options.workers)
                train_best(options.folder, options.workers)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(options.folder, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
