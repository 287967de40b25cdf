"""Config: every choice of a study, and of the machine. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from mnist_arch.datasets import DATASETS, HOLDOUT_TRAIN_IMAGES, TRAIN_IMAGES, DataSet
from mnist_arch.errors import UserError
from mnist_arch.recipe import RECIPES, Protocol, Recipe
from mnist_arch.rules import Rules
from search.formats import counted

VERSION = 3
"""Of the JSON of a `StudyConfig`. Version 1 had `pruning` where there is `schedule` now; before
version 3 there were no looks, one goal and one default sampler."""

LOOKS = (0.25, 1.0, 3.0)
"""Lengths of the looks, in epochs, where none are given: those shorter than the full training.

A further look of 8, whose better half went on, cost 8 + 19 / 2 epochs a design, nearly as much as
training each in full, and told little more: over the 74 full trainings with all four looks in
`results/goal-*`, `seed-*` and `class-accuracy` of that day, what a `search.looks.Predictor` that
has seen nothing expects differs from the logarithm of the final loss by 0.14 (standard deviation)
after 1 epoch, 0.10 after 3, 0.09 after 8.
"""

LEAST_IMAGES = 10
"""Fewest images that a training fits: one of each class."""


@dataclass(frozen=True, slots=True)
class StudyConfig:
    """Everything that decides what a study's trials are; a study keeps it for life.

    `epochs` is the length of a full training (None: the epoch limit less one), `train_images` a
    stratified subset to fit (None: all of the protocol's). `search_recipe` also searches the
    learning rate, the weight decay and the augmentation. `goal`, `sampler` and `schedule` are
    names in `search.goals`, `search.samplers` and `search.schedules`. `looks` are the lengths, in
    epochs, of the shorter complete trainings of the schedule `looks` (None: `LOOKS`, as far as
    they are shorter than a full training). `warm_start` is the name and the identity of the earlier
    study that this one learns from, see `search.warm_start`. `designs` are the fingerprints of the
    caller's own designs, which are tried first. `dataset` is a name in `mnist_arch.datasets`;
    `rules` are the caller's, their target too. Raises `UserError` where the choices clash.
    """

    seed: int = 0
    epochs: int | None = None
    protocol: Protocol = "holdout"
    train_images: int | None = None
    rules: Rules = field(default_factory=Rules)
    recipe: Recipe = RECIPES["default"]
    search_recipe: bool = False
    goal: str = "pareto"
    sampler: str = "mutation"
    schedule: str = "looks"
    looks: tuple[float, ...] | None = None
    warm_start: str | None = None
    designs: tuple[str, ...] = ()
    dataset: str = "mnist"

    def __post_init__(self) -> None:
        require_dataset(self.dataset)
        limit = self.rules.epoch_limit
        if self.epochs is None:
            object.__setattr__(self, "epochs", 19 if limit is None else limit - 1)
        require_range("--seed", self.seed, 0, 2**32 - 1)
        require_range("--epochs", self.full_epochs, 1, 10_000)
        if limit is not None and self.full_epochs >= limit:
            raise UserError(
                f"--epochs {self.epochs}: must be fewer than the epoch limit {limit}; "
                "give fewer, or a higher --epoch-limit"
            )
        if self.train_images is not None:
            require_range("--train-images", self.train_images, LEAST_IMAGES, TRAIN_IMAGES)
            if self.protocol == "holdout" and self.train_images > HOLDOUT_TRAIN_IMAGES:
                raise UserError(
                    f"--train-images {self.train_images:,}: --protocol holdout has "
                    f"{HOLDOUT_TRAIN_IMAGES:,} images to fit; give at most that many"
                )
        self._settle_looks()

    def _settle_looks(self) -> None:
        """Fill in the looks where none are given; raises `UserError` for those that cannot be."""
        if self.schedule != "looks":
            object.__setattr__(self, "looks", ())
        elif self.looks is None:
            looks = tuple(look for look in LOOKS if self._fault(look) is None)
            object.__setattr__(self, "looks", looks)
        else:
            object.__setattr__(self, "looks", tuple(map(float, self.looks)))
        given = ",".join(f"{look:g}" for look in self.look_lengths)
        for before, look in pairwise((0.0, *self.look_lengths)):
            fault = self._fault(look)
            if look <= before:
                fault = "each must be longer than the one before it"
            if fault is not None:
                raise UserError(
                    f"--looks {given}: {fault}; give increasing lengths such as 0.25,1,3, or none"
                )

    def _fault(self, look: float) -> str | None:
        """What is wrong with a look of that length, if anything."""
        if not 0 < look < self.full_epochs:
            return (
                f"{look:g} epochs given, must be above 0 and shorter than a full training "
                f"({self.full_epochs} epochs)"
            )
        if look > 1 and look != int(look):
            return f"{look:g} epochs given, must be a whole number above 1"
        if look < 1 and self.images_of(look) < LEAST_IMAGES:
            return f"{look:g} of an epoch is fewer than {LEAST_IMAGES} images"
        return None

    def images_of(self, look: float) -> int:
        """How many images a look shorter than an epoch fits."""
        whole = HOLDOUT_TRAIN_IMAGES if self.protocol == "holdout" else TRAIN_IMAGES
        return round(look * (self.train_images or whole))

    @property
    def look_lengths(self) -> tuple[float, ...]:
        """Lengths of the looks in epochs, shortest first; none where there are no looks."""
        return self.looks or ()

    @property
    def full_epochs(self) -> int:
        """Epochs of a full training, from 1."""
        assert self.epochs is not None
        return self.epochs

    @property
    def data(self) -> DataSet:
        """What its images are of."""
        return DATASETS[self.dataset]

    @property
    def about_data(self) -> list[str]:
        """A sentence that says so where its images are not MNIST's."""
        if self.dataset == "mnist":
            return []
        return [f"Trained and judged on {self.data.title}, not on MNIST."]

    @property
    def selected_on_test(self) -> bool:
        """Whether the study's validation digits are the test images."""
        return self.protocol == "assignment"

    @property
    def is_shortened(self) -> bool:
        """Whether the study trains shorter, or on less, than the full protocol does: a try-out."""
        limit = self.rules.epoch_limit
        return self.train_images is not None or (limit is not None and self.full_epochs < limit - 1)

    @property
    def origin(self) -> str:
        """Sentences for every page and screen that say what a study began with, if anything."""
        sentences = []
        if self.warm_start is not None:
            sentences.append(
                "Warm-started, not a search from scratch: the best designs of study "
                f"{self.warm_start} were proposed first and trained anew."
            )
        if self.designs:
            sentences.append(
                f"{counted(len(self.designs), 'design')} given by hand, tried first: "
                f"{', '.join(self.designs)}."
            )
        return " ".join(sentences)

    def identity(self, study: str) -> str:
        """What tells this study's files from another's: 12 hexadecimal digits.

        The start of the SHA-256 of the study's name and its choices; equal studies, which give
        equal trials, have equal ones.
        """
        values = StudyConfig.from_dict(self.to_dict()).to_dict()  # 10 and 10.0 are one
        values["version"] = 2  # identities are older than the versions that followed
        if not values["looks"]:
            del values["looks"]
        if values["warm_start"] is None:
            del values["warm_start"]
        text = json.dumps([study, values], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """The choices as plain JSON values; the rules' names start with `rules.`.

        `dataset` and `designs`, which studies did not always have, are left out where they are
        MNIST and none, so that what was written of an old study, and its identity, stay what is
        written of it.
        """
        values: dict[str, Any] = msgspec.to_builtins(self) | {"recipe": self.recipe.to_dict()}
        if self.dataset == "mnist":
            del values["dataset"]
        values["designs"] = list(self.designs)
        if not self.designs:
            del values["designs"]
        values["looks"] = list(self.look_lengths)
        rules = {f"rules.{name}": value for name, value in values.pop("rules").items()}
        return {"version": VERSION, **values, **rules}

    @staticmethod
    def from_dict(document: dict[str, Any]) -> StudyConfig:
        """Read what `to_dict` gave, in this version of the program or an earlier one.

        A choice that an earlier version did not have takes its default. Raises `UserError` for
        one that this version does not know, and for values of another type or out of range.
        """
        values = {name: value for name, value in document.items() if name not in _NOT_CHOICES}
        if "pruning" in values:
            values["schedule"] = "halving" if values.pop("pruning") else "none"
        if document.get("version", 1) < 3:
            values = {"goal": "accuracy", "sampler": "tpe", "schedule": "halving", **values}
        values["rules"] = {
            name.removeprefix("rules."): values.pop(name)
            for name in list(values)
            if name.startswith("rules.")
        }
        unknown = sorted(values.keys() - StudyConfig.__dataclass_fields__.keys())
        if unknown:
            raise UserError(
                f"the study's settings have {unknown[0]!r}, which this version of the program "
                "does not know: it was started by a newer one; update, then try again"
            )
        try:
            return msgspec.convert(values, StudyConfig)
        except (msgspec.ValidationError, ValueError) as error:
            raise UserError(f"the study's settings cannot be read: {error}") from None

    def differences(self, other: StudyConfig) -> list[str]:
        """Sentences that name each choice in which `other` differs."""
        always = {"dataset": "mnist", "designs": []}
        before, now = (always | each.to_dict() for each in (self, other))
        return [
            f"{name} was {before[name]!r}, now {now[name]!r}"
            for name in sorted(before)
            if before[name] != now[name]
        ]


def require_range(option: str, value: int, least: int, most: int) -> None:
    """Raise `UserError` unless an option's value is in its range."""
    if not least <= value <= most:
        raise UserError(f"{option} {value:,}: must be from {least:,} to {most:,}")


def require_dataset(name: str) -> None:
    """Raise `UserError` unless this is the name of a data set."""
    if name not in DATASETS:
        raise UserError(f"--dataset {name}: must be one of {', '.join(DATASETS)}")


_NOT_CHOICES = frozenset({"version", "space_version", "split_seed", "data_md5"})
"""What stands beside the choices in a study's settings: versions of program, space and data."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where trainings run: names for `choose_engine`, the data's folder, threads of one training.

    `threads` None leaves their number to torch. A training in another process that says nothing
    for `hang_seconds` is ended there and tried again; None: never. On a Ray cluster, at
    `ray_address`, each training has `gpus` of a GPU.
    """

    engine: str = "auto"
    device: str = "auto"
    data: Path | None = None
    threads: int | None = None
    hang_seconds: int | None = 1_800
    ray_address: str = "auto"
    gpus: float = 0.0
