"""The assignment's limits as data, and what it means to break one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_arch.design import AveragePool, Design, Dropout, Linear, Sum
from mnist_arch.errors import UserError
from mnist_arch.plan import (
    CLASSES,
    BatchNorm,
    Convolution,
    Node,
    Plan,
    PlanError,
    Shape,
    plan,
)


@dataclass(frozen=True, slots=True)
class Rejection:
    """One broken limit: what it bounds, the value counted, the largest value allowed.

    `message` says so in a sentence that names the layer where there is one.
    """

    limit: str
    counted: int
    allowed: int
    message: str

    def __str__(self) -> str:
        return self.message


class Rejected(UserError):
    """A design that the rules refuse; `rejections` names every broken limit."""

    def __init__(self, rejections: tuple[Rejection, ...]) -> None:
        super().__init__("; ".join(str(rejection) for rejection in rejections))
        self.rejections = rejections


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits a design has to keep; `None` means no limit.

    `parameter_limit` and `epoch_limit` are exclusive: a design needs fewer. `target` is the
    share of validation digits, in [0, 1], that a trained design must read to pass. `strict`
    also refuses convolutions that compute what a fully connected layer computes.
    """

    parameter_limit: int | None = 20_000
    epoch_limit: int | None = 20
    target: float = 0.994
    strict: bool = False

    def __post_init__(self) -> None:
        for name, limit, least in (
            ("parameter limit", self.parameter_limit, 1),
            ("epoch limit", self.epoch_limit, 2),
        ):
            if limit is not None and limit < least:
                raise ValueError(f"{name} must be at least {least}, got {limit}")
        if not 0 < self.target <= 1:
            raise ValueError(f"target must be above 0 and at most 1, got {self.target}")

    def check(self, design: Design, epochs: int | None = None) -> Plan:
        """Return the design's plan, or raise `Rejected` with every limit that it breaks.

        `epochs`, where given, is how long the design is to be trained.
        """
        rejections = self._epoch_rejections(epochs)
        try:
            walked = plan(design)
        except PlanError as error:
            rejections += self._plan_rejections(Plan(design, error.nodes))
            rejections.append(Rejection(error.limit, error.counted, error.allowed, str(error)))
            raise Rejected(tuple(rejections)) from None
        rejections += self._plan_rejections(walked) + logit_rejections(walked.output_shape)
        if rejections:
            raise Rejected(tuple(rejections))
        return walked

    def _epoch_rejections(self, epochs: int | None) -> list[Rejection]:
        if epochs is None or self.epoch_limit is None or epochs < self.epoch_limit:
            return []
        message = f"epochs: {epochs:,}, must be fewer than {self.epoch_limit:,}"
        return [Rejection("epochs", epochs, self.epoch_limit - 1, message)]

    def _plan_rejections(self, walked: Plan) -> list[Rejection]:
        labels = {node.position: node.label for node in walked.nodes}
        linear = [
            labels.get(position, f"layer {position} (linear)")
            for position, spec in enumerate(walked.design.layers, 1)
            if isinstance(spec, Linear)
        ]
        parameters = self.parameter_rejections(walked.parameters)
        return parameters + self.layer_rejections(linear, notes(walked))

    def parameter_rejections(self, counted: int) -> list[Rejection]:
        """What the rules say of so many parameters, trainable or not."""
        limit = self.parameter_limit
        if limit is None or counted < limit:
            return []
        message = f"parameters: {counted:,}, must be fewer than {limit:,}"
        return [Rejection("parameters", counted, limit - 1, message)]

    def layer_rejections(self, linear: Sequence[str], notes: Sequence[str]) -> list[Rejection]:
        """What the rules say of fully connected layers, by label, and of their disguises."""
        limit, allowed = "fully connected layers", "fully connected layers are not allowed"
        found = [Rejection(limit, 1, 0, f"{label}: {allowed}") for label in linear]
        if self.strict:
            limit = "fully connected layers in disguise"
            found += [Rejection(limit, 1, 0, f"{note} (--strict)") for note in notes]
        return found


def logit_rejections(shape: Sequence[int]) -> list[Rejection]:
    """What the rules say of an output of `shape` for each image: channels, rows, columns."""
    if tuple(shape) == (CLASSES, 1, 1):
        return []
    told = "x".join(f"{size:,}" for size in shape)
    message = f"output: {told} for each image, must be {CLASSES} logits ({CLASSES}x1x1)"
    return [Rejection("logits", math.prod(shape), CLASSES, message)]


def notes(walked: Plan) -> list[str]:
    """Sentences about convolutions that equal a fully connected layer, which is allowed."""
    found: list[str] = []
    for number, node in enumerate(walked.nodes):
        shape = _averaged_shape(walked, number)
        if node.covers_its_map:
            found.append(_disguise(node))
        elif shape is not None:
            found.append(average_disguise(node.label, shape[1:]))
    return found


def _averaged_shape(walked: Plan, number: int) -> Shape | None:
    """The map of which a 1x1 convolution's outputs are averaged, with nothing but linear between.

    W mean(x) = mean(W x): such a convolution computes what it would compute on the average.
    """
    if not isinstance(walked.nodes[number].operation, Convolution):
        return None
    for node in walked.nodes[number:]:
        if isinstance(node.operation, AveragePool):
            return node.input_shape if node.input_shape[1] > 1 else None
        if not _is_linear_in_place(node):
            return None
    return None


def _is_linear_in_place(node: Node) -> bool:
    """Whether each output is linear in the values at its own place, and at no other."""
    if node.activation != "none":
        return False
    match node.operation:
        case Convolution(kernel=1, stride=1) | BatchNorm() | Dropout() | Sum():
            return True
    return False


def _disguise(node: Node) -> str:
    return disguise(node.label, node.input_shape[1:])


def average_disguise(label: str, map_shape: Sequence[int]) -> str:
    """The sentence about a 1x1 convolution, by label, that is averaged over a whole map."""
    sides = "x".join(f"{side}" for side in map_shape)
    return (
        f"{label}: averaged over its {sides} map it computes what a fully connected layer computes"
    )


def disguise_of_one(label: str, map_shape: Sequence[int]) -> str:
    """The sentence about a convolution, by label, of which too little is read."""
    sides = "x".join(f"{side}" for side in map_shape)
    return (
        f"{label}: as its output is read, on its {sides} map it computes what a fully connected "
        "layer computes"
    )


def disguise(label: str, map_shape: Sequence[int]) -> str:
    """The sentence about a convolution, by label, that sees the whole map at once."""
    sides = "x".join(f"{side}" for side in map_shape)
    return f"{label}: on its {sides} map it computes what a fully connected layer computes"
