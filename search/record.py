"""Record: what one trial left behind, written into Optuna's trial attributes and read back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mnist_arch.design import Design
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejection
from mnist_arch.training import EpochRecord

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TO_THE_END = ("passed", "missed")
"""States of trials that trained a design to its last epoch."""

TRAINED = (*TO_THE_END, "pruned", "failed")
"""States of trials that trained a design; these count towards `--trials`."""

STATES = (*TRAINED, "rejected", "repeat", "interrupted")
"""All states of a finished trial."""


class Attributes(Protocol):
    """Anything that takes user attributes: an Optuna trial."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Store one JSON value."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One finished or running trial.

    `state` is one of `STATES`, or `running`. `epochs` are the finished epochs. `reason` says in
    one line why a trial was rejected, pruned, failed or not trained again. `repeat_of` is the
    number of the trial that trained the same design before.
    """

    number: int
    state: str
    design: Design | None
    epochs: tuple[EpochRecord, ...]
    rejections: tuple[Rejection, ...]
    reason: str
    repeat_of: int | None
    seed: int | None
    engine: str
    device: str
    worker: str
    recipe: dict[str, Any] | None


def write_proposal(trial: Attributes, design: Design, recipe: dict[str, Any] | None) -> None:
    """Note what a trial proposes; `recipe` only where recipes are searched."""
    trial.set_user_attr("design", design.to_dict())
    trial.set_user_attr("identity", identity(design, recipe))
    if recipe is not None:
        trial.set_user_attr("recipe", recipe)


def identity(design: Design, recipe: dict[str, Any] | None) -> str:
    """What makes two proposals the same: the design's fingerprint and the searched recipe."""
    return design.fingerprint + (json.dumps(recipe, sort_keys=True) if recipe else "")


def write_epoch(trial: Attributes, record: EpochRecord) -> None:
    """Note what one epoch measured."""
    trial.set_user_attr(f"epoch_{record.epoch:03d}", asdict(record))


def write_rejections(trial: Attributes, rejections: tuple[Rejection, ...]) -> None:
    """Note every limit that a proposal broke."""
    trial.set_user_attr("rejections", [asdict(rejection) for rejection in rejections])
    write_state(trial, "rejected", "; ".join(str(rejection) for rejection in rejections))


def write_state(trial: Attributes, state: str, reason: str = "") -> None:
    """Note how a trial ended, and why."""
    trial.set_user_attr("reason", reason)
    trial.set_user_attr("state", state)


def state_of(trial: FrozenTrial) -> str:
    """A trial's state, one of `STATES` or `running`, without reading all of the trial.

    Whatever Optuna knows as failed was interrupted, unless it is a repeat: only a trial that
    Optuna was told the result of counts as trained.
    """
    if not trial.state.is_finished():
        return "running"
    state = str(trial.user_attrs.get("state", "interrupted"))
    return state if trial.state.name != "FAIL" or state == "repeat" else "interrupted"


def read(trial: FrozenTrial) -> TrialRecord:
    """Read a trial back from its attributes."""
    attributes = trial.user_attrs
    state = state_of(trial)
    design = attributes.get("design")
    epochs = sorted(key for key in attributes if key.startswith("epoch_"))
    return TrialRecord(
        number=trial.number,
        state=state,
        design=Design.from_dict(design) if design else None,
        epochs=tuple(EpochRecord(**attributes[key]) for key in epochs),
        rejections=tuple(Rejection(**values) for values in attributes.get("rejections", [])),
        reason=attributes.get("reason", "") if state not in ("running", "interrupted") else "",
        repeat_of=attributes.get("repeat_of"),
        seed=attributes.get("seed"),
        engine=attributes.get("engine", ""),
        device=attributes.get("device", ""),
        worker=attributes.get("worker", ""),
        recipe=attributes.get("recipe"),
    )


def baseline_of(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """The first trial that trained the assignment's own design to its last epoch, if any."""
    return next((t for t in trials if t.design == BASELINE and t.state in TO_THE_END), None)
