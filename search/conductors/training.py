"""Training: one design, one seed, a line and a row an epoch."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch
from rich.console import Console

from mnist_arch.build import build
from mnist_arch.data import protocol_digits
from mnist_arch.design import Design
from mnist_arch.engine import choose_engine, engine_of, gather_for, prepare
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.training import Diverged, EpochRecord, seed_everything, train
from search import files, tables
from search.conductors import summary
from search.failures import shortage_told
from search.formats import STANDARD_ERROR, duration, percent
from search.options import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NO
from search.settings import Settings


def train_single(options: argparse.Namespace, settings: Settings, design: Design) -> int:
    """Train a design as the command line says; returns the exit status.

    Raises `Rejected` if the design breaks the rules, before anything is written.
    """
    console = Console(highlight=False)
    walked = settings.rules.check(design, settings.epochs)
    engine = choose_engine(options.engine, options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    seed_everything(settings.seed)
    network = prepare(build(design, settings.rules), engine, torch.get_num_threads())
    fit, validation = protocol_digits(settings.protocol, settings.train_images, options.data)
    folder = _new_folder(options)
    which = "test images" if settings.selected_on_test else "validation images"
    console.print(
        f"{options.design}: {walked.parameters:,} parameters, {walked.macs:,} MACs; fits on "
        f"{len(fit):,} images, validates on {len(validation):,} {which}; {engine.reason}.",
        soft_wrap=True,
    )
    document = {
        "design": design.to_dict(),
        "settings": settings.to_dict(),
        "selected_on_test": settings.selected_on_test,
        "threads": torch.get_num_threads(),
        "finished": False,
        **summary.run_facts(options, engine, "train"),
        "engine": engine_of(network),
    }
    files.write_json(folder / "training.json", document)
    records: list[EpochRecord] = []
    epochs = train(
        network, settings.recipe, settings.epochs, fit.to(engine.device),
        validation.to(engine.device), settings.seed, gather_for(engine),
    )  # fmt: skip
    status = _follow(epochs, records, settings, folder, console)
    if status == EXIT_DONE:
        files.write_json(folder / "training.json", {**document, "finished": True})
        console.print(_closing(records, settings, folder), soft_wrap=True)
    return status


def _follow(
    epochs: Iterator[EpochRecord],
    records: list[EpochRecord],
    settings: Settings,
    folder: Path,
    console: Console,
) -> int:
    """Keep and show each epoch as it ends; returns the exit status."""
    try:
        with shortage_told():
            for epoch in epochs:
                records.append(epoch)
                files.write_text(folder / "epochs.csv", tables.to_csv(tables.log_frame(records)))
                console.print(_line(epoch, settings.epochs), soft_wrap=True)
    except KeyboardInterrupt:
        console.print(f"Interrupted; the epochs so far are in {folder / 'epochs.csv'}")
        return EXIT_INTERRUPTED
    except Diverged as error:
        console.print(f"The training diverged: {error}. The epochs before are in {folder}.")
        return EXIT_NO
    return EXIT_DONE


def _new_folder(options: argparse.Namespace) -> Path:
    """Make the folder for the log; one that holds a training already is never touched."""
    wanted = options.study or f"train-{_short_name(options.design)}"
    for number in count(1):
        folder = options.results / (wanted if number == 1 else f"{wanted}-{number}")
        if not (folder / "training.json").exists() and not (folder / "study.db").exists():
            break
    files.make_folder(folder)
    return Path(folder)


def _short_name(design: str) -> str:
    return design if design in REFERENCE_DESIGNS else Path(design).stem


def _line(epoch: EpochRecord, epochs: int) -> str:
    return (
        f"epoch {epoch.epoch:>2}/{epochs}  validation {percent(epoch.validation_accuracy)}  "
        f"train {percent(epoch.train_accuracy)}  loss {epoch.validation_loss:.4f}  "
        f"{epoch.images_per_second:>9,.0f} images/s  {duration(epoch.seconds)}"
    )


def _closing(records: list[EpochRecord], settings: Settings, folder: Path) -> str:
    last = records[-1]
    passed = last.validation_accuracy >= settings.rules.target
    lines = [
        f"{percent(last.validation_accuracy)} after the last epoch: "
        f"{'passes' if passed else 'misses'} {percent(settings.rules.target)} "
        f"(one seed; {STANDARD_ERROR}).",
    ]
    if settings.selected_on_test:
        lines.append("Validated on the test images, as the class does: no unseen data judged this.")
    if settings.is_trial_run:
        lines.append("Shortened by --epochs or --train-images: a try-out, not a result.")
    lines.append(f"Files: {folder}: epochs.csv, training.json")
    return "\n".join(lines)
