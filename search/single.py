"""Single: one design, one training, its log: what `search.train` does."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch

from mnist_arch.design import Design
from mnist_arch.engine import Engine
from mnist_arch.epochs import EpochRecord
from mnist_arch.errors import MachineError, UserError
from mnist_arch.plan import Plan
from search import facts, files
from search.config import Machine, StudyConfig
from search.evaluate import digits_here, engine_here, evaluate
from search.files import DATABASE, RESULTS
from search.formats import duration, percent, standard_error
from search.tables.csv_text import to_csv
from search.tables.trials import log_frame
from search.task import Budget, Epoch, Result, Task
from search.terminal.console import plain_console


@dataclass(frozen=True, slots=True)
class Single:
    """One training to do; `study` names its folder in `results`, None chooses a new one."""

    design: Design
    name: str
    config: StudyConfig
    machine: Machine
    results: Path = RESULTS
    study: str | None = None


def train_single(single: Single) -> Result | None:
    """Train a design, keeping and showing each epoch; None if it was interrupted.

    Raises `Rejected` if the design breaks the rules, before anything is written, and
    `MachineError` where there is no memory for it.
    """
    config, console = single.config, plain_console()
    walked = config.rules.check(single.design, config.full_epochs)
    engine = engine_here(single.machine)
    folder = _new_folder(single)
    console.print(_opening(single, walked, engine))
    document = _document(single, engine)
    files.write_json(folder / "training.json", document)
    records: list[EpochRecord] = []

    def keep(epoch: Epoch) -> None:
        assert isinstance(epoch, EpochRecord)
        records.append(epoch)
        files.write_text(folder / "epochs.csv", to_csv(log_frame(records)))
        console.print(_line(epoch, config.full_epochs))

    task = Task(
        single.design, config.rules, config.recipe,
        Budget(config.full_epochs, config.train_images), config.seed, config.protocol,
        dataset=config.dataset,
    )  # fmt: skip
    try:
        result = evaluate(task, single.machine, keep)
    except KeyboardInterrupt:
        console.print(f"Interrupted; the epochs so far are in {folder / 'epochs.csv'}")
        return None
    if result.outcome == "out of memory":
        raise MachineError(f"{result.reason}; use --device cpu or a smaller design")
    if result.outcome == "diverged":
        console.print(f"The training {result.reason}. The epochs before are in {folder}.")
        return result
    files.write_json(
        folder / "training.json", {**document, "engine": result.engine, "finished": True}
    )
    console.print(_closing(records, config, folder))
    return result


def _opening(single: Single, walked: Plan, engine: Engine) -> str:
    config = single.config
    fit, digits = digits_here(
        config.protocol, config.train_images, single.machine, engine.device, config.dataset
    )
    which = "test images" if config.selected_on_test else "validation images"
    line = (
        f"{single.name}: {walked.parameters:,} parameters, {walked.macs:,} MACs; fits on "
        f"{len(fit):,} images, validates on {len(digits):,} {which}; {engine.reason}."
    )
    return "\n".join([line, *config.about_data])


def _document(single: Single, engine: Engine) -> dict[str, Any]:
    return {
        "design": single.design.to_dict(),
        "settings": single.config.to_dict(),
        "selected_on_test": single.config.selected_on_test,
        "threads": torch.get_num_threads(),
        "finished": False,
        **facts.run_facts("train", {}, engine.name, engine.device),
    }


def _new_folder(single: Single) -> Path:
    """Make the folder for the log; one that holds results of any kind is never touched.

    Raises `UserError` where a name was asked for that is taken.
    """
    if single.study is not None:
        folder = single.results / single.study
        taken = _results_in(folder)
        if taken:
            raise UserError(
                f"{folder} holds results already ({taken[0]}): they are never written over; give "
                "another --study NAME"
            )
    else:
        wanted = f"train-{single.name}"
        names = (wanted if number == 1 else f"{wanted}-{number}" for number in count(1))
        folder = next(f for f in (single.results / name for name in names) if not _results_in(f))
    files.make_folder(folder)
    return folder


def _results_in(folder: Path) -> list[str]:
    names = ("training.json", "study.json", DATABASE, "trials.csv", "epochs.csv")
    return [name for name in names if (folder / name).exists()]


def _line(epoch: EpochRecord, epochs: int) -> str:
    return (
        f"epoch {epoch.epoch:>2}/{epochs}  validation {percent(epoch.validation_accuracy)}  "
        f"train {percent(epoch.train_accuracy)}  loss {epoch.validation_loss:.4f}  "
        f"{epoch.images_per_second:>9,.0f} images/s  {duration(epoch.seconds)}"
    )


def _closing(records: list[EpochRecord], config: StudyConfig, folder: Path) -> str:
    last = records[-1]
    passed = last.validation_accuracy >= config.rules.target
    lines = [
        f"{percent(last.validation_accuracy)} after the last epoch: "
        f"{'passes' if passed else 'misses'} {percent(config.rules.target)} "
        f"(one seed; {standard_error(config.rules.target)}).",
    ]
    if config.selected_on_test:
        lines.append("Validated on the test images, as the class does: no unseen data judged this.")
    if config.is_shortened:
        lines.append("Shortened by --epochs or --train-images: a try-out, not a result.")
    lines.append(f"Files: {folder}: epochs.csv, training.json")
    return "\n".join(lines)
