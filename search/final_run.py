"""Final run: a design trained once on a fresh seed and judged once on images it never saw."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mnist_arch.datasets import TEST_IMAGES
from mnist_arch.design import Design
from mnist_arch.recipe import Judge, Recipe
from search.record import TO_THE_END, Attributes
from search.task import Misread

CONFIRMABLE = (*TO_THE_END, "pruned")
"""States of trials whose design can be confirmed."""

_KEY = re.compile(r"confirmation_([0-9a-f]{12})_(?:fold_)?\d+")


@dataclass(frozen=True, slots=True)
class Finalist:
    """A design to confirm, the trial that found it and the recipe that it is trained with.

    `identity` is the trial's, as in `record.identity`; `epochs` the length of its training, which
    may be another than the study's `usual_epochs`.
    """

    trial: int
    design: Design
    recipe: Recipe
    identity: str
    epochs: int
    usual_epochs: int

    @property
    def key(self) -> str:
        """What makes two finalists the same: 12 hexadecimal digits."""
        own_length = "" if self.epochs == self.usual_epochs else f" {self.epochs} epochs"
        return hashlib.sha256((self.identity + own_length).encode()).hexdigest()[:12]

    def attribute(self, index: int, judge: Judge = "test") -> str:
        """The study attribute that holds the run with this seed index, counted from 0."""
        return f"confirmation_{self.key}_" + (
            f"fold_{index}" if judge == "folds" else f"{index:03d}"
        )

    def weights(self, index: int) -> str:
        """The file name of a run's weights; a searched recipe, or a length of its own, is in it."""
        own = "" if self.epochs == self.usual_epochs else f"-e{self.epochs}"
        if self.identity != self.design.fingerprint:
            own = f"-r{self.key}"
        return f"{self.design.fingerprint}{own}-{index}.safetensors"


@dataclass(frozen=True, slots=True)
class Order:
    """One final run to do: a finalist, the index of its seed, counted from 0, and what judges.

    Under `folds` the index is also that of the part that is judged.
    """

    finalist: Finalist
    index: int
    judge: Judge = "test"

    @property
    def attribute(self) -> str:
        """The study attribute that holds the run."""
        return self.finalist.attribute(self.index, self.judge)


@dataclass(frozen=True, slots=True)
class FinalRun:
    """What one final run came to.

    `state` is `done`, or `failed` for the `reason` given; a failed run has no figures. Losses
    are in nats, accuracies shares in [0, 1]; training figures are the last epoch's. `seconds` is
    the training alone; `weights` the file in the study's folder `weights`. `finalist` is the
    finalist's key: runs of one design belong together, whichever trials found it. What is called
    `test` is the `judged_images` images that `judge` says. `misread` are those answered wrongly,
    all others were answered rightly; None in runs of earlier versions, which kept no answers.
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
    judge: Judge = "test"
    judged_images: int = TEST_IMAGES
    misread: tuple[Misread, ...] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it need not be done again: it is done, or would diverge again."""
        return self.state == "done" or self.reason.startswith("diverged")


def store(study: Attributes, order: Order, run: FinalRun) -> None:
    """Keep a run in its study."""
    study.set_user_attr(order.attribute, asdict(run))


def read_runs(attributes: Mapping[str, Any]) -> list[FinalRun]:
    """All final runs in a study's user attributes, in order of trials, judges and seed indices."""
    matches = [match for match in map(_KEY.fullmatch, attributes) if match]
    found = [_read({**attributes[m.string], "finalist": m[1]}) for m in matches]
    return sorted(found, key=lambda run: (run.trial, run.judge != "test", run.index))


def _read(values: Mapping[str, Any]) -> FinalRun:
    misread = values.get("misread")
    kept = None if misread is None else tuple((n, truth, answer) for n, truth, answer in misread)
    return FinalRun(**{**values, "misread": kept})
