"""Exporting: choose a design, get its weights, write its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from safetensors.torch import load as load_state
from safetensors.torch import save
from torch import nn

from mnist_arch.build import build
from mnist_arch.data import Digits, load
from mnist_arch.datasets import DATASETS, TRAIN_IMAGES
from mnist_arch.errors import MachineError, UserError
from mnist_arch.plan import plan
from mnist_arch.rules import Rules
from search import weights
from search.evaluate import engine_here, evaluate
from search.exporting import onnx_file
from search.exporting.candidates import Candidate, confirmed_runs, numbered, ranked
from search.exporting.folder import building, require_ours
from search.exporting.model_card import Provenance, docstring, model_card
from search.exporting.network_source import network_source
from search.exporting.predictions import Predictions, errors_picture, logits, predictions
from search.formats import percent
from search.pictures.architecture import draw
from search.run_config import ExportConfig
from search.task import Budget, Epoch, Task

TEST_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "NOTICE.md")

Tell = Callable[[str], object]
"""Is told, in sentences, how an export goes on."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network, on the CPU, with the seed, epochs and images it was trained with."""

    network: nn.Sequential
    seed: int
    epochs: int
    images: int
    others: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written to `folder`; `onnx` is the sentence about its ONNX model."""

    folder: Path
    provenance: Provenance
    predictions: Predictions
    onnx: str


def export(config: ExportConfig, tell: Tell = lambda _: None) -> Exported:
    """Write a trained network to a folder.

    Raises `UserError` for what cannot be exported, `MachineError` where memory or disk lack.
    """
    candidate = _candidate(config)
    require_ours(config.folder, config.force)
    engine_here(config.machine)
    test = load("test", config.machine.data, candidate.dataset)
    tell(f"Design {candidate.design.fingerprint}: {candidate.chosen}.")
    trained = _confirmed(candidate, config, tell) or _train(candidate, config, tell)
    found = predictions(logits(trained.network, test), test)
    provenance = Provenance(
        candidate, trained.epochs, trained.images, trained.seed, found.accuracy, len(test),
        trained.others,
    )  # fmt: skip
    with building(config.folder) as folder:
        onnx = _write_files(folder, trained.network, provenance, found, test)
    return Exported(config.folder, provenance, found, onnx)


def _candidate(config: ExportConfig) -> Candidate:
    """The design to export, which the rules allow; raises `Rejected` otherwise."""
    if config.design is not None:
        chosen = f"given as {config.name}"
        rules = Rules(target=DATASETS[config.dataset].target)
        candidate = Candidate(
            config.design, rules, config.recipe, 19, chosen, dataset=config.dataset
        )
    elif config.trial is not None:
        candidate = numbered(Path(config.study or ""), config.trial)
    else:
        candidate = ranked(Path(config.study or ""), config.rank)
    candidate.rules.check(candidate.design, config.epochs or candidate.epochs)
    return candidate


def _confirmed(candidate: Candidate, config: ExportConfig, tell: Tell) -> Trained | None:
    """The first of the design's confirmation runs, if there is one and no training is asked for.

    First means the lowest seed index, never the best on the test images: that would be a
    selection. Raises `UserError` for damaged weights.
    """
    asked = (config.seed, config.epochs, config.train_images) != (None, None, None)
    if candidate.study is None or asked:
        return None
    runs, others = confirmed_runs(candidate.study, candidate.design, candidate.epochs)
    for path in others:
        tell(f"Weights {path} are not of this study's confirmation: not taken.")
    if not runs:
        return None
    first = runs[0]
    network, _ = weights.read_weights(first.path, candidate.design)
    tell(f"Weights: {first.path}, first of {len(runs)} runs.")
    accuracies = tuple(run.test_accuracy for run in runs)
    return Trained(network, first.seed, first.epochs, first.images, accuracies)


def _train(candidate: Candidate, config: ExportConfig, tell: Tell) -> Trained:
    """Train the design once, telling each epoch."""
    epochs, seed = config.epochs or candidate.epochs, config.seed or 0
    tell(
        f"Training it on {config.train_images or TRAIN_IMAGES:,} images, seed {seed}, to be judged "
        f"once on the test images; {engine_here(config.machine).reason}."
    )

    def tell_epoch(epoch: Epoch) -> None:
        seconds = f"  {epoch.train_seconds:.1f} s" * (epoch.epoch < epochs)  # the last: of all
        tell(f"epoch {epoch.epoch:>2}/{epochs}  train {percent(epoch.train_accuracy)}{seconds}")

    task = Task(
        candidate.design, candidate.rules, candidate.recipe, Budget(epochs, config.train_images),
        seed, protocol="assignment", judged="last epoch", keep_weights=True,
        dataset=candidate.dataset,
    )  # fmt: skip
    result = evaluate(task, config.machine, tell_epoch)
    if result.outcome == "diverged":
        raise UserError(f"the training {result.reason}; give another --seed")
    if result.weights is None:
        raise MachineError(f"the training ended: {result.reason}; free some memory and try again")
    network = build(candidate.design, candidate.rules)
    network.load_state_dict(load_state(result.weights))
    return Trained(network.eval(), seed, epochs, result.train_images)


def _write_files(
    folder: Path, network: nn.Sequential, provenance: Provenance, found: Predictions, test: Digits
) -> str:
    """Write all files of an export into a folder; returns the sentence about its ONNX model."""
    design, data = provenance.candidate.design, provenance.data
    metadata = weights.metadata_of(
        design, provenance.seed, provenance.epochs, provenance.images, provenance.test_accuracy,
        provenance.candidate.dataset,
    )  # fmt: skip
    (folder / "weights.safetensors").write_bytes(save(network.state_dict(), metadata))
    onnx = _write_onnx(folder / "network.onnx", network, found, test)
    texts = {
        "design.json": design.to_json(),
        "architecture.svg": draw(plan(design)).svg(),
        "network.py": network_source(design, docstring(provenance), data),
        "README.md": model_card(provenance, found, onnx),
        "confusion.csv": found.confusion_csv(),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    title = (
        f"Design {design.fingerprint}, {found.counted(data.noun)}: truth > prediction, its "
        f"probability, the {data.noun}'s number"
    )
    errors_picture(found, test, title).save(folder / "errors.png", optimize=True)
    if not data.is_shipped:
        return onnx
    (folder / "mnist").mkdir()
    for name in TEST_FILES:
        content = (resources.files("mnist_arch") / "mnist" / name).read_bytes()
        (folder / "mnist" / name).write_bytes(content)
    return onnx


def _write_onnx(path: Path, network: nn.Sequential, found: Predictions, test: Digits) -> str:
    missing = onnx_file.missing_packages()
    if missing:
        return (
            f"There is no network.onnx, for {', '.join(missing)} was not installed; to get it: "
            "pip install -e '.[export]', then export again."
        )
    onnx_file.write_onnx(network, path)
    return f"`network.onnx`: {onnx_file.agreement(path, found.predicted, test)}."
