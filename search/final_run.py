"""Final run: a design trained once on a fresh seed and judged once on the test images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mnist_arch.design import Design
from mnist_arch.recipe import Recipe
from search.record import TO_THE_END, Attributes

TEST_IMAGES = 10_000

CONFIRMABLE = (*TO_THE_END, "pruned")
"""States of trials whose design can be confirmed."""

_KEY = re.compile(r"confirmation_([0-9a-f]{12})_\d+")


@dataclass(frozen=True, slots=True)
class Finalist:
    """A design to confirm, the trial that found it and the recipe that it is trained with.

    `identity` is the trial's, as in `record.identity`.
    """

    trial: int
    design: Design
    recipe: Recipe
    identity: str

    @property
    def key(self) -> str:
        """What makes two finalists the same: 12 hexadecimal digits."""
        return hashlib.sha256(self.identity.encode()).hexdigest()[:12]

    def attribute(self, index: int) -> str:
        """The study attribute that holds the run with this seed index, counted from 0."""
        return f"confirmation_{self.key}_{index:03d}"

    def weights(self, index: int) -> str:
        """The file name of a run's weights; a searched recipe is in it, too."""
        searched = self.identity != self.design.fingerprint
        recipe = f"-r{self.key}" if searched else ""
        return f"{self.design.fingerprint}{recipe}-{index}.safetensors"


@dataclass(frozen=True, slots=True)
class Order:
    """One final run to do: a finalist and the index of its seed, counted from 0."""

    finalist: Finalist
    index: int


@dataclass(frozen=True, slots=True)
class FinalRun:
    """What one final run came to.

    `state` is `done`, or `failed` for the `reason` given; a failed run has no figures. Losses
    are in nats, accuracies shares in [0, 1]; training figures are the last epoch's. `seconds` is
    the training alone; `weights` the file in the study's folder `weights`. `finalist` is the
    finalist's key: runs of one design belong together, whichever trials found it.
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
    finalist: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether it need not be done again: it is done, or would diverge again."""
        return self.state == "done" or self.reason.startswith("diverged")


def store(study: Attributes, order: Order, run: FinalRun) -> None:
    """Keep a run in its study."""
    study.set_user_attr(order.finalist.attribute(order.index), asdict(run))


def read_runs(attributes: Mapping[str, Any]) -> list[FinalRun]:
    """All final runs in a study's user attributes, in order of trials and seed indices."""
    matches = [match for match in map(_KEY.fullmatch, attributes) if match]
    found = [FinalRun(**{**attributes[m.string], "finalist": m[1]}) for m in matches]
    return sorted(found, key=lambda run: (run.trial, run.index))


def missing(
    finalists: Sequence[Finalist], attributes: Mapping[str, Any], seeds: int
) -> list[Order]:
    """The final runs that a study lacks, seed by seed over the finalists.

    So an interruption leaves runs of all finalists under the same seeds. A run that failed for
    another reason than divergence (memory) is done again, with the same seed.
    """
    orders = [Order(finalist, index) for index in range(seeds) for finalist in finalists]
    return [order for order in orders if not _is_settled(order, attributes)]


def _is_settled(order: Order, attributes: Mapping[str, Any]) -> bool:
    run = attributes.get(order.finalist.attribute(order.index))
    return run is not None and FinalRun(**run).is_settled
