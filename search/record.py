"""Record: what one trial left behind, written into Optuna's trial attributes and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from mnist_arch.design import Design
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejection
from mnist_arch.training import EpochRecord
from search.evaluate import Result

TO_THE_END = ("passed", "missed")
"""States of trials that trained a design to its last epoch."""

TRAINED = (*TO_THE_END, "pruned", "failed")
"""States of trials that trained a design; these count towards `--trials`."""

STATES = (*TRAINED, "rejected", "duplicate", "broken", "interrupted")
"""All states of a finished trial.

`broken`: the machine failed its training each time (killed, out of memory). `interrupted`: of a
study that an earlier version of the program made, whose interrupted trials got another number.
"""

NOT_TRIED = ("rejected", "duplicate", "interrupted")
"""States of trials that say nothing of what their design is worth: another may train it."""

_OLD_STATES = {"repeat": "duplicate"}


class Attributes(Protocol):
    """Anything that takes user attributes: an Optuna trial."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Store one JSON value."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One finished trial: `state` is one of `STATES`.

    `epochs` are those of its last training. `reason` says in one line why a trial was rejected,
    pruned, failed or not trained; `duplicate_of` is the trial that has the same design.
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


def identity(design: Design, recipe: dict[str, Any] | None) -> str:
    """What makes two proposals the same: the design's fingerprint and the searched recipe."""
    return design.fingerprint + (json.dumps(recipe, sort_keys=True) if recipe else "")


def write_proposal(trial: Attributes, design: Design, recipe: dict[str, Any] | None) -> None:
    """Note what a trial proposes; `recipe` only where recipes are searched."""
    trial.set_user_attr("design", design.to_dict())
    trial.set_user_attr("identity", identity(design, recipe))
    if recipe is not None:
        trial.set_user_attr("recipe", recipe)


def write_result(trial: Attributes, result: Result, seed: int, worker: str) -> None:
    """Note what a training measured, and where."""
    trial.set_user_attr("seed", seed)
    trial.set_user_attr("engine", result.engine)
    trial.set_user_attr("device", result.device)
    trial.set_user_attr("worker", worker)
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
    )


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
