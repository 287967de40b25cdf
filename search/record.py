"""Record: what one trial left behind, written into Optuna's trial attributes and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from mnist_arch.design import Design
from mnist_arch.epochs import EpochRecord
from mnist_arch.plan import plan
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejection
from search.looks import SMALLEST_LOSS, Judged, Look
from search.task import Result

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TO_THE_END = ("passed", "missed")
"""States of trials that trained a design to its last epoch."""

TRAINED = (*TO_THE_END, "pruned", "failed")
"""States of trials that trained a design for at least an epoch; these count for `--trials`."""

STATES = (*TRAINED, "screened", "rejected", "duplicate", "broken", "interrupted")
"""All states of a finished trial.

`screened`: only looked at for less than an epoch. `broken`: the machine failed its training each
time (killed, out of memory). `interrupted`: of a study that an earlier version of the program made,
whose interrupted trials got another number.
"""

VALUES_SO_FAR = "values_so_far"
"""User attribute of a trial in training: what Optuna would be told of it by its looks so far."""

OWN_DESIGN = "own_design"
"""User attribute of a queued trial: a design that the user gave. The trial's parameters, drawn at
random, say nothing of it."""

OFF_FRONT = "off_front"
"""User attribute of a trial whose design is not wanted on the front that the goal keeps."""

NOT_TRIED = ("rejected", "duplicate", "interrupted")
"""States of trials that say nothing of what their design is worth: another may train it."""

_OLD_STATES = {"repeat": "duplicate"}


class Attributes(Protocol):
    """Anything that takes user attributes: an Optuna trial."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Store one JSON value."""


@dataclass(frozen=True, slots=True)
class LookRecord:
    """One look at a design: its length in epochs, its seed and the epochs that it was trained."""

    length: float
    seed: int
    epochs: tuple[EpochRecord, ...]

    @property
    def look(self) -> Look:
        """What it measured."""
        return look_of(self.epochs, self.length)


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One finished trial: `state` is one of `STATES`.

    `looks` are its shorter trainings, `epochs` those of its full training, as far as it came.
    `predicted_loss` is the validation loss, in nats, that its looks predicted for the end of the
    full training. `reason` says in one line why a trial was rejected, pruned, failed or not trained
    further; `duplicate_of` is the trial that has the same design. `full_epochs` is the length of
    the full training where that was proposed, too; `proposal` has every choice that was proposed,
    by name. `from_trial` is the trial of an earlier study that this one repeats, see
    `search.warm_start`. It was under way from `started` to `ended`, in UTC; empty where that is
    not known.
    """

    number: int
    state: str
    design: Design | None
    epochs: tuple[EpochRecord, ...]
    rejections: tuple[Rejection, ...]
    reason: str
    duplicate_of: int | None
    seed: int | None
    engine: str
    device: str
    worker: str
    recipe: dict[str, Any] | None
    looks: tuple[LookRecord, ...] = ()
    predicted_loss: float | None = None
    full_epochs: int | None = None
    proposal: Mapping[str, Any] = field(default_factory=dict)
    from_trial: int | None = None
    started: str = ""
    ended: str = ""

    @property
    def last_epochs(self) -> tuple[EpochRecord, ...]:
        """The epochs of its last training, the full one or a look."""
        return self.epochs or (self.looks[-1].epochs if self.looks else ())

    @property
    def seconds(self) -> float:
        """What all its trainings took."""
        every = [*(epoch for look in self.looks for epoch in look.epochs), *self.epochs]
        return sum(epoch.seconds for epoch in every)

    def judged(self, full_epochs: int) -> Judged:
        """It as goals and schedules see it; `full_epochs` is the study's full training."""
        assert self.design is not None
        whole = self.state in TO_THE_END
        return Judged(
            plan(self.design).parameters,
            self.full_epochs or full_epochs,
            tuple(look.look for look in self.looks),
            look_of(self.epochs, float(len(self.epochs))) if whole else None,
        )


def look_of(epochs: Sequence[EpochRecord], length: float) -> Look:
    """What a complete training of that length measured, by its last epoch."""
    loss = max(epochs[-1].validation_loss, SMALLEST_LOSS)
    return Look(length, loss, epochs[-1].validation_accuracy)


def identity(design: Design, recipe: dict[str, Any] | None, epochs: int | None = None) -> str:
    """What makes two proposals the same: the fingerprint, the searched recipe, and its length."""
    length = f" {epochs} epochs" if epochs else ""
    return design.fingerprint + (json.dumps(recipe, sort_keys=True) if recipe else "") + length


def write_proposal(
    trial: Attributes, design: Design, recipe: dict[str, Any] | None, epochs: int | None = None
) -> None:
    """Note what a trial proposes; `recipe` and `epochs` only where these are searched."""
    trial.set_user_attr("design", design.to_dict())
    trial.set_user_attr("identity", identity(design, recipe, epochs))
    if recipe is not None:
        trial.set_user_attr("recipe", recipe)
    if epochs is not None:
        trial.set_user_attr("full_epochs", epochs)


def write_looks(trial: Attributes, looks: Sequence[LookRecord]) -> None:
    """Note the looks that a trial has had."""
    trial.set_user_attr("looks", [asdict(look) for look in looks])


def read_looks(attributes: Mapping[str, Any]) -> tuple[LookRecord, ...]:
    """The looks that a trial has had, finished or not."""
    return tuple(
        LookRecord(look["length"], look["seed"], tuple(EpochRecord(**e) for e in look["epochs"]))
        for look in attributes.get("looks", [])
    )


def write_values_so_far(trial: Attributes, values: Sequence[float]) -> None:
    """Note what Optuna would be told of a trial now that goes on to a longer training."""
    trial.set_user_attr(VALUES_SO_FAR, list(values))


def write_prediction(trial: Attributes, loss: float) -> None:
    """Note the validation loss that a trial's looks predict for the end of its full training."""
    trial.set_user_attr("predicted_loss", loss)


def write_off_front(trial: Attributes) -> None:
    """Note that a trial's design is not wanted on the front that the goal keeps."""
    trial.set_user_attr(OFF_FRONT, True)


def write_machine(trial: Attributes, result: Result, worker: str) -> None:
    """Note where a training was done."""
    trial.set_user_attr("engine", result.engine)
    trial.set_user_attr("device", result.device)
    trial.set_user_attr("worker", worker)


def write_result(trial: Attributes, result: Result, seed: int, worker: str) -> None:
    """Note what a full training measured, and where."""
    write_machine(trial, result, worker)
    trial.set_user_attr("seed", seed)
    trial.set_user_attr("epochs", [asdict(epoch) for epoch in result.epochs])


def write_rejections(trial: Attributes, rejections: Sequence[Rejection]) -> None:
    """Note every limit that a proposal broke."""
    trial.set_user_attr("rejections", [asdict(rejection) for rejection in rejections])
    write_state(trial, "rejected", "; ".join(str(rejection) for rejection in rejections))


def write_state(trial: Attributes, state: str, reason: str = "") -> None:
    """Note how a trial ended, and why."""
    trial.set_user_attr("reason", reason)
    trial.set_user_attr("state", state)


def state_of(trial: FrozenTrial) -> str:
    """A finished trial's state, one of `STATES`.

    Whatever Optuna knows as failed was interrupted, unless it is a duplicate: only a trial that
    Optuna was told the result of counts as trained.
    """
    state = str(trial.user_attrs.get("state", "interrupted"))
    state = _OLD_STATES.get(state, state)
    return state if trial.state.name != "FAIL" or state == "duplicate" else "interrupted"


def read(trial: FrozenTrial) -> TrialRecord:
    """Read a finished trial back from its attributes."""
    attributes = trial.user_attrs
    state = state_of(trial)
    design = attributes.get("design")
    return TrialRecord(
        number=trial.number,
        state=state,
        design=Design.from_dict(design) if design else None,
        epochs=_read_epochs(attributes),
        rejections=tuple(Rejection(**values) for values in attributes.get("rejections", [])),
        reason=attributes.get("reason", "") if state != "interrupted" else "",
        duplicate_of=attributes.get("duplicate_of", attributes.get("repeat_of")),
        seed=attributes.get("seed"),
        engine=attributes.get("engine", ""),
        device=attributes.get("device", ""),
        worker=attributes.get("worker", ""),
        recipe=attributes.get("recipe"),
        looks=read_looks(attributes),
        predicted_loss=attributes.get("predicted_loss"),
        full_epochs=attributes.get("full_epochs"),
        proposal=trial.params,
        from_trial=attributes.get("from_trial"),
        started=_utc(trial.datetime_start),
        ended=_utc(trial.datetime_complete),
    )


def _utc(moment: datetime | None) -> str:
    """A moment as Optuna keeps it, in the machine's time, as text in UTC; empty for none."""
    return "" if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")


def _read_epochs(attributes: Mapping[str, Any]) -> tuple[EpochRecord, ...]:
    """The epochs of a trial; earlier versions wrote an attribute for each, `epoch_001`."""
    values = attributes.get("epochs")
    if values is None:
        keys = [key for key in attributes if re.fullmatch(r"epoch_\d+", key)]
        values = [attributes[key] for key in sorted(keys, key=lambda key: int(key[6:]))]
    return tuple(EpochRecord(**epoch) for epoch in values)


def baseline_of(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """The first trial that trained the assignment's own design to its last epoch, if any."""
    return next((t for t in trials if t.design == BASELINE and t.state in TO_THE_END), None)
