"""Recipe: how a network is trained, as data. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Protocol = Literal["holdout", "assignment"]
"""Which digits are fitted and which judge: see `mnist_arch.data.protocol_digits`."""

Judge = Literal["test", "folds"]
"""What judges a design in the end.

The test images, the same for every seed; or parts of all images, each by its own training that
never saw it (`mnist_arch.folds`).
"""


@dataclass(frozen=True, slots=True)
class Affine:
    """Ranges of the random affine map of an image; zero everywhere means none.

    `degrees` of rotation either way, `shift` as a share of the image's side either way along
    each axis, `scale` as a share either way of 1.
    """

    degrees: float = 0.0
    shift: float = 0.0
    scale: float = 0.0

    def __post_init__(self) -> None:
        for name, value, limit in (
            ("degrees", self.degrees, 180), ("shift", self.shift, 1), ("scale", self.scale, 0.9),
        ):  # fmt: skip
            if not 0 <= value <= limit:
                raise ValueError(f"augmentation {name} must be from 0 to {limit}, got {value}")

    @property
    def is_identity(self) -> bool:
        """Whether images pass unchanged."""
        return not (self.degrees or self.shift or self.scale)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained.

    SGD with momentum over batches of `batch_size` images. `learning_rate` is the peak of the
    one-cycle schedule (Smith and Topin, arXiv:1708.07120; warm-up over `warm_up`, a share of
    all steps, then cosine decay), or the rate itself when the schedule is constant.
    `label_smoothing` is the share of a label that goes to all classes alike (Szegedy et al.,
    arXiv:1512.00567; torch's `cross_entropy` has it so). `averaging` is the decay of an
    exponential moving average of the weights, which is then what is evaluated and kept (see
    `mnist_arch.averaging`); 0 means none.
    """

    name: str = "default"
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    warm_up: float = 0.3
    augmentation: Affine = field(default_factory=lambda: Affine(10, 0.1, 0.1))
    label_smoothing: float = 0.0
    averaging: float = 0.0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("batch size", self.batch_size, 2, 60_000),
            ("learning rate", self.learning_rate, 0, math.inf),
            ("momentum", self.momentum, 0, 1),
            ("weight decay", self.weight_decay, 0, math.inf),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be from {low} to {high}, got {value}")
        if not 0 < self.warm_up < 1:
            raise ValueError(f"warm-up must be a share between 0 and 1, got {self.warm_up}")
        for name, value in (
            ("label smoothing", self.label_smoothing), ("averaging", self.averaging),
        ):  # fmt: skip
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON values.

        A field that recipes did not always have is left out where it has its default, so that
        what was written of an old recipe stays what is written of it.
        """
        values = asdict(self)
        return {name: value for name, value in values.items() if value or name not in _LATER}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Recipe:
        """Read what `to_dict` gave."""
        return Recipe(**{**values, "augmentation": Affine(**values["augmentation"])})

    def with_augmentation_strength(self, strength: float) -> Recipe:
        """The same recipe with its augmentation ranges multiplied by `strength`."""
        ranges = {name: value * strength for name, value in asdict(self.augmentation).items()}
        return replace(self, augmentation=Affine(**ranges))


_LATER = frozenset({"label_smoothing", "averaging"})
"""Fields that recipes got later, all with the default 0."""


RECIPES: dict[str, Recipe] = {
    "default": Recipe(),
    "assignment": Recipe(
        name="assignment", learning_rate=0.01, nesterov=False, weight_decay=0.0,
        schedule="constant", augmentation=Affine(),
    ),
}  # fmt: skip
"""Named recipes: ours, and the one of the assignment's published answer."""
