"""Settings: what a study is, fixed at its start, and the seeds that follow from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from mnist_arch.data import MD5_SUMS, SPLIT_SEED
from mnist_arch.recipe import RECIPES, Protocol, Recipe
from mnist_arch.rules import Rules
from search import space


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides what a study's trials are; a study keeps it for life.

    `epochs` is the length of a full training; `train_images` is None for all images. Without
    `pruning` every design is trained to its last epoch.
    """

    seed: int = 0
    epochs: int = 19
    protocol: Protocol = "holdout"
    train_images: int | None = None
    rules: Rules = field(default_factory=Rules)
    recipe: Recipe = RECIPES["default"]
    search_recipe: bool = False
    pruning: bool = True

    @property
    def space(self) -> space.Space:
        """The space that the study searches."""
        return space.Space(self.rules.strict, self.search_recipe)

    @property
    def selected_on_test(self) -> bool:
        """Whether the study's validation digits are the test images."""
        return self.protocol == "assignment"

    @property
    def is_trial_run(self) -> bool:
        """Whether the study trains shorter or on less than the full protocol does."""
        limit = self.rules.epoch_limit
        return self.train_images is not None or (limit is not None and self.epochs < limit - 1)

    def to_dict(self) -> dict[str, Any]:
        """The settings as flat plain JSON values, with the versions of space, split and data."""
        return {
            "seed": self.seed,
            "epochs": self.epochs,
            "protocol": self.protocol,
            "train_images": self.train_images,
            **{f"rules.{name}": value for name, value in asdict(self.rules).items()},
            "recipe": self.recipe.to_dict(),
            "search_recipe": self.search_recipe,
            "pruning": self.pruning,
            "space_version": space.VERSION,
            "split_seed": SPLIT_SEED,
            "data_md5": MD5_SUMS["train-images-idx3-ubyte"],
        }

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Settings:
        """Read what `to_dict` gave, also in a study that was started before there was pruning."""
        rules = {name: values[f"rules.{name}"] for name in asdict(Rules())}
        return Settings(
            values["seed"], values["epochs"], values["protocol"], values["train_images"],
            Rules(**rules), Recipe.from_dict(values["recipe"]), values["search_recipe"],
            values.get("pruning", True),
        )  # fmt: skip


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Sentences naming each setting that differs between two `Settings.to_dict()`."""
    names = sorted(before.keys() | now.keys())
    return [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
        for name in names
        if before.get(name) != now.get(name)
    ]
