"""Studies made of simulated tables, for tests of pages: no training, any number of trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mnist_arch.design import AveragePool, Conv, Design, Dropout, MaxPool
from mnist_arch.epochs import EpochRecord
from mnist_arch.plan import plan
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejection, Rules
from search import StudyConfig
from search.final_run import FinalRun
from search.record import TrialRecord
from search.tables.files import StudyFiles, StudyTables, read_study
from tests.search.studies import final_run

CONFIG = StudyConfig(seed=3)
LOGITS = Conv(10, 1, 0, batch_norm=False, relu=False)


def some_design(random: np.random.Generator) -> Design:
    """A design of few layers, dropout here and there."""
    layers: list[Any] = []
    for number in range(int(random.integers(3, 6))):
        layers.append(Conv(int(random.integers(4, 25)), padding=int(random.integers(0, 2))))
        if random.random() < 0.5:
            layers.append(Dropout(round(float(random.uniform(0.01, 0.2)), 2)))
        if number in (1, 3):
            layers.append(MaxPool())
    return Design((*layers, AveragePool(), LOGITS))


def curve(random: np.random.Generator, epochs: int, end: float) -> tuple[EpochRecord, ...]:
    """Epochs that end at an accuracy, a whole number of 10,000 images."""
    gaps = (0.04 * np.exp(-np.arange(epochs) / 4) + random.normal(0, 3e-4, epochs)).clip(0)
    values = np.round(end - gaps + gaps[-1], 4).clip(0, 1)
    return tuple(
        EpochRecord(n + 1, 0.1, 0.05, 0.98, 0.03, float(value), 2.0, 2.2, 20_000.0)
        for n, value in enumerate(values)
    )


def a_trial(number: int, random: np.random.Generator, state: str) -> TrialRecord:
    """A trial in a state, the baseline as number 0."""
    design = BASELINE if number == 0 else some_design(random)
    size = plan(design).parameters
    rejections: tuple[Rejection, ...] = ()
    epochs: tuple[EpochRecord, ...] = ()
    if state == "rejected":
        rejections = (Rejection("parameters", 20_000 + size, 19_999, "parameters: too many"),)
    elif state != "duplicate":
        length = 19 if state in ("passed", "missed") else 3
        end = {"passed": 0.9945, "missed": 0.9925, "pruned": 0.985}[state]
        epochs = curve(random, length, end + float(random.uniform(-4e-4, 4e-4)))
    return TrialRecord(
        number=number, state=state, design=design, epochs=epochs, rejections=rejections, reason="",
        duplicate_of=None, seed=number, engine="lanes", device="cpu", worker=str(number % 2),
        recipe=None,
    )  # fmt: skip


def states(count: int) -> list[str]:
    """How trials end: some of each."""
    cycle = ("passed", "pruned", "missed", "rejected", "pruned", "missed", "passed", "duplicate")
    return [cycle[number % len(cycle)] for number in range(count)]


def records(ends: list[str], seed: int = 0) -> list[TrialRecord]:
    """One trial for each state."""
    random = np.random.default_rng(seed)
    return [a_trial(number, random, state) for number, state in enumerate(ends)]


def a_study(
    folder: Path, ends: list[str], config: StudyConfig = CONFIG, name: str = "made",
    confirmed: tuple[int, ...] = (), seconds: float = 60.0,
) -> StudyTables:  # fmt: skip
    """A study in a folder whose trials end so; those `confirmed` have three final runs each."""
    folder.mkdir(parents=True, exist_ok=True)
    trials = records(ends)
    runs: list[FinalRun] = []
    for number in confirmed:
        design = trials[number].design
        assert design is not None
        runs += [
            final_run(number, index, accuracy, design=design)
            for index, accuracy in enumerate((0.9949, 0.9953, 0.9951))
        ]
    document = {"study": name, "settings": config.to_dict(), "seconds": seconds, "runs": []}
    written = StudyFiles(folder, config.identity(name), config, lambda: dict(document), runs)
    written.load(trials)
    written.rewrite()
    return read_study(folder)


def under(limit: int) -> StudyConfig:
    """A study under another limit of parameters."""
    return StudyConfig(seed=3, rules=Rules(parameter_limit=limit))
