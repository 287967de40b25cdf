"""Runs: finalists, their final runs on fresh seeds, and how a study keeps these."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mnist_arch.design import Design
from mnist_arch.recipe import Recipe
from search import record
from search.failures import DIVERGED
from search.record import TO_THE_END, Attributes, TrialRecord
from search.settings import Settings

TEST_IMAGES = 10_000

CONFIRMABLE = (*TO_THE_END, "pruned")
"""States of trials whose design can be confirmed."""

WEIGHTS = "weights"
"""Folder in a study's folder, of the weights that final runs left."""

_PREFIX = "confirmation_"


@dataclass(frozen=True, slots=True)
class Finalist:
    """A design to confirm, the trial that found it and the recipe that it is trained with.

    `identity` is the trial's, as in `record.identity`.
    """

    trial: int
    design: Design
    recipe: Recipe
    identity: str

    def key(self, index: int) -> str:
        """The study attribute that holds the run with this seed index, counted from 0."""
        return f"{_PREFIX}{self._hash}_{index:03d}"

    def weights(self, index: int) -> str:
        """The file name of a run's weights; a searched recipe is in it, too."""
        searched = self.identity != self.design.fingerprint
        recipe = f"-r{self._hash}" if searched else ""
        return f"{self.design.fingerprint}{recipe}-{index}.safetensors"

    @property
    def _hash(self) -> str:
        return hashlib.sha256(self.identity.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Order:
    """One final run to do: a finalist and the index of its seed, counted from 0."""

    finalist: Finalist
    index: int


@dataclass(frozen=True, slots=True)
class FinalRun:
    """One final run: a design trained with one fresh seed, judged once on the test images.

    `state` is `done`, or `failed` for the `reason` given; a failed run has no figures. Losses
    are in nats, accuracies shares in [0, 1]; training figures are the last epoch's. `seconds` is
    the training alone; `weights` the file in the study's folder `weights`.
    """

    trial: int
    fingerprint: str
    index: int
    seed: int
    state: Literal["done", "failed"]
    reason: str
    epochs: int
    train_images: int
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float | None
    engine: str
    device: str
    worker: str
    commit: str
    weights: str


def store(study: Attributes, order: Order, run: FinalRun) -> None:
    """Keep a run in its study."""
    study.set_user_attr(order.finalist.key(order.index), asdict(run))


def read_runs(attributes: Mapping[str, Any]) -> list[FinalRun]:
    """All final runs in a study's user attributes, in order of trials and seed indices."""
    found = [FinalRun(**attributes[key]) for key in attributes if key.startswith(_PREFIX)]
    return sorted(found, key=lambda run: (run.trial, run.index))


def finalist_of(trial: TrialRecord, settings: Settings) -> Finalist:
    """The finalist that a trial found: with the study's recipe, or its own where searched."""
    assert trial.design is not None
    recipe = Recipe.from_dict(trial.recipe) if trial.recipe else settings.recipe
    identity = record.identity(trial.design, trial.recipe)
    return Finalist(trial.number, trial.design, recipe, identity)


def missing(
    finalists: Sequence[Finalist], attributes: Mapping[str, Any], seeds: int
) -> list[Order]:
    """The final runs that a study lacks, seed by seed over the finalists.

    So an interruption leaves runs of all finalists under the same seeds. A run that failed for
    another reason than divergence (memory) is done again, with the same seed.
    """
    orders = [Order(finalist, index) for index in range(seeds) for finalist in finalists]
    return [order for order in orders if not is_settled(order, attributes)]


def is_settled(order: Order, attributes: Mapping[str, Any]) -> bool:
    """Whether a study holds a run that need not be done again."""
    run = attributes.get(order.finalist.key(order.index))
    return run is not None and (run["state"] == "done" or run["reason"].startswith(DIVERGED))
