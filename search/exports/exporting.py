"""Exporting: choose a design, get its weights, write its folder, say what came out."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn

from mnist_arch.data import Digits, load, protocol_digits
from mnist_arch.engine import Engine, choose_engine
from mnist_arch.errors import UserError
from mnist_arch.plan import CLASSES
from mnist_arch.recipe import RECIPES
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.rules import Rules
from mnist_arch.training import Diverged, FittedEpoch
from search import weights
from search.confirmation.final import train_finally
from search.confirmation.kept import kept_runs
from search.confirmation.runs import WEIGHTS
from search.exports import folder as export_folder
from search.exports import onnx_file
from search.exports.candidates import Candidate, numbered, ranked
from search.exports.card import card, docstring
from search.exports.errors_grid import errors_grid
from search.exports.network_file import network_source
from search.exports.provenance import Provenance
from search.exports.readings import Readings, confusion_csv, judge
from search.failures import shortage_told
from search.formats import percent
from search.options import EXIT_DONE, read_design

TEST_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "NOTICE.md")


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network, on the CPU, with the seed, epochs and images it was trained with."""

    network: nn.Sequential
    seed: int
    epochs: int
    images: int
    others: tuple[float, ...] = ()


def export(options: argparse.Namespace) -> int:
    """Export a network as the command line says; returns the exit status."""
    console = Console(highlight=False)
    candidate = _candidate(options)
    target = options.to or options.study / "best"
    export_folder.require_ours(target, options.force)
    engine = choose_engine(options.engine, options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    test = load("test", options.data)
    console.print(f"Design {candidate.design.fingerprint}: {candidate.chosen}.", soft_wrap=True)
    trained = trained_network(candidate, options, engine, test, console)
    readings = judge(trained.network, test)
    provenance = Provenance(
        candidate, trained.epochs, trained.images, trained.seed, readings.accuracy, len(test),
        trained.others,
    )  # fmt: skip
    with export_folder.building(target) as folder:
        onnx = write_files(folder, trained.network, provenance, readings, test)
    _tell(console, target, provenance, readings, onnx)
    return EXIT_DONE


def _candidate(options: argparse.Namespace) -> Candidate:
    if options.study is not None:
        if options.trial is not None:
            candidate = numbered(options.study, options.trial)
        else:
            candidate = ranked(options.study, options.rank or 1)
    else:
        rules, recipe = Rules(), RECIPES[options.recipe or "default"]
        design = read_design(options.design)
        name = options.design if options.design in REFERENCE_DESIGNS else Path(options.design).name
        assert rules.epoch_limit is not None
        candidate = Candidate(design, rules, recipe, rules.epoch_limit - 1, f"given as {name}")
    candidate.rules.check(candidate.design, options.epochs or candidate.epochs)
    return candidate


def trained_network(
    candidate: Candidate,
    options: argparse.Namespace,
    engine: Engine,
    test: Digits,
    console: Console,
) -> Trained:
    """The first of the design's confirmation runs, or else a training of its own.

    First means the lowest seed index, never the best on the test images: that would be a
    selection. Raises `UserError` for damaged weights.
    """
    asked = (options.seed, options.epochs, options.train_images) != (None, None, None)
    if candidate.study is not None and not asked:
        runs = kept_runs(candidate.study / WEIGHTS, candidate.design)
        if runs:
            first, others = runs[0], tuple(run.test_accuracy for run in runs)
            network, _ = weights.read_weights(first.path, candidate.design)
            console.print(f"Weights: {first.path}, first of {len(runs)} runs.", soft_wrap=True)
            return Trained(network, first.seed, first.epochs, first.images, others)
    return _train(candidate, options, engine, test, console)


def _train(
    candidate: Candidate,
    options: argparse.Namespace,
    engine: Engine,
    test: Digits,
    console: Console,
) -> Trained:
    """Train the design once, a line an epoch."""
    fit, _ = protocol_digits("assignment", options.train_images, options.data)
    epochs, seed = options.epochs or candidate.epochs, options.seed or 0
    console.print(
        f"Training it on {len(fit):,} images, seed {seed}, to be judged once on the test images; "
        f"{engine.reason}.",
        soft_wrap=True,
    )

    def tell(epoch: FittedEpoch) -> None:
        console.print(
            f"epoch {epoch.epoch:>2}/{epochs}  train {percent(epoch.train_accuracy)}  "
            f"{epoch.train_seconds:.1f} s"
        )

    try:
        with shortage_told():
            network, _ = train_finally(
                candidate.design, candidate.rules, candidate.recipe, epochs, seed, engine,
                fit.to(engine.device), test.to(engine.device), tell,
            )  # fmt: skip
    except Diverged as error:
        raise UserError(f"the training diverged: {error}; give another --seed") from None
    return Trained(network, seed, epochs, len(fit))


def write_files(
    folder: Path, network: nn.Sequential, provenance: Provenance, readings: Readings, test: Digits
) -> str:
    """Write all files of an export into a folder; returns the sentence about its ONNX model."""
    design = provenance.candidate.design
    metadata = weights.metadata_of(
        design, provenance.seed, provenance.epochs, provenance.images, provenance.test_accuracy
    )
    (folder / "weights.safetensors").write_bytes(weights.content(network, metadata))
    onnx = _write_onnx(folder / "network.onnx", network, readings, test)
    texts = {
        "design.json": design.to_json(),
        "network.py": network_source(design, docstring(provenance)),
        "README.md": card(provenance, readings, onnx),
        "confusion.csv": confusion_csv(readings),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    title = (
        f"{len(readings.errors):,} of {len(test):,} test digits misread by design "
        f"{design.fingerprint}: truth > guess, its probability, the digit's number"
    )
    errors_grid(readings, test, title).save(folder / "errors.png", optimize=True)
    (folder / "mnist").mkdir()
    for name in TEST_FILES:
        content = (resources.files("mnist_arch") / "mnist" / name).read_bytes()
        (folder / "mnist" / name).write_bytes(content)
    return onnx


def _write_onnx(path: Path, network: nn.Sequential, readings: Readings, test: Digits) -> str:
    missing = onnx_file.missing_packages()
    if missing:
        return (
            f"There is no network.onnx, for {', '.join(missing)} was not installed; to get it: "
            "pip install -e '.[export]', then export again."
        )
    onnx_file.write_onnx(network, path)
    return f"`network.onnx`: {onnx_file.compare(path, readings.guesses, test)}."


def _tell(
    console: Console, target: Path, provenance: Provenance, readings: Readings, onnx: str
) -> None:
    """Print the confusion table and the last lines."""
    table = Table(
        title="test digits, truth in rows, guess in columns", title_justify="left",
        box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False,
    )  # fmt: skip
    for heading in ("", *map(str, range(CLASSES))):
        table.add_column(heading, justify="right", no_wrap=True)
    for truth, row in enumerate(readings.confusion.tolist()):
        cells = [f"[bold]{n}[/bold]" if i == truth else str(n or "") for i, n in enumerate(row)]
        table.add_row(f"[bold]{truth}[/bold]", *cells)
    console.print(table)
    lines = [
        f"Test:  {provenance.accuracy}; {provenance.selection}.",
        provenance.try_out and f"Note:  {provenance.try_out}",
        f"ONNX:  {onnx.replace('`', '')}",
        f"Files: {target}: " + ", ".join(sorted(path.name for path in target.iterdir())),
        f"Next:  python {target / 'network.py'}; python -m search.predict {target} IMAGE",
    ]
    console.print("\n".join(line for line in lines if line), soft_wrap=True)
