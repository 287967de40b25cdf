"""Schedules: how much a design is trained, and who goes on. Yours: an entry in `SCHEDULES`.

A schedule says what is trained next, and is asked at the checkpoints of a training whether it
goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from search.config import StudyConfig
from search.formats import counted
from search.goals import Goal
from search.goals.goal import is_hopeless
from search.looks import LONG, Judged
from search.task import Budget


@dataclass(frozen=True, slots=True)
class Standing:
    """A design among the others of its study, when it is decided whether to train it further.

    `others` are those that were looked at before, in the order of their trials, without the
    assignment's own; `passed` are the designs that pass. `loss` is the validation loss that a full
    training of another seed is expected to have.
    """

    design: Judged
    others: Sequence[Judged]
    passed: Sequence[Judged]
    goal: Goal
    loss: Callable[[Judged], float]

    def merit(self, design: Judged) -> float:
        """What the goal thinks of a design, by its predicted loss: lower is better."""
        return self.goal.merit(design, self.loss(design))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is trained next; nothing where `reason` says why the design is not trained further.

    `off_front`: it is too far from the target for the front that the goal keeps, so its like need
    not be tried.
    """

    budget: Budget | None
    reason: str = ""
    off_front: bool = False


class Schedule(Protocol):
    """Decides what training a design gets."""

    def next_budget(self, config: StudyConfig, standing: Standing) -> Decision:
        """What to train a design for after the looks that it has had."""

    def stop_reason(
        self, epoch: int, accuracy: float, others: Sequence[Mapping[int, float]]
    ) -> str:
        """Why a training stops after a checkpoint; nothing if it goes on.

        `accuracy` is its validation accuracy after `epoch`; `others` are those of the other
        trainings of the study, by epoch.
        """


@dataclass(frozen=True, slots=True)
class Looks:
    """A design is looked at in complete trainings of growing length, each from fresh weights.

    After each look the best share of the `window` designs that were looked at last goes on to the
    next, by what the goal thinks of their predicted loss: `screened` after a look shorter than an
    epoch, `kept` after a longer one. The best so far always goes on, so that a first proposal that
    is known to be good is not lost. The window keeps the pressure up while designs get better.

    By `python -m benchmarks.search_efficiency results/table --like 1000 --epochs 300` no shares
    find better designs than others for the same epochs. Of the longer looks a third finds more good
    ones than a fourth, and a half more still; but of 50 designs a half trains 12 in full, a third
    5, and that is most of the time of a search. Of the shortest a quarter goes on, so that a search
    soon has parents.

    For a goal that keeps the front, only the `alike` of these that are nearest to a design in size
    are compared with it. There go on, too: one whose predicted loss is below all others' and, after
    a look of at least `LONG` epochs, one that none of the latest beats in loss and size.
    """

    screened: float = 1 / 4
    kept: float = 1 / 3
    window: int = 60
    alike: int = 8

    def next_budget(self, config: StudyConfig, standing: Standing) -> Decision:
        """The next look, or the full training after the last one."""
        design = standing.design
        lengths = [look for look in config.look_lengths if look < design.epochs]
        loss = standing.loss(design) if design.looks else 0.0  # before any, the best that could be
        passed = [_as_expected(other, standing.loss(other)) for other in standing.passed]
        unwanted = standing.goal.why_unwanted(design, loss, passed, config.rules.target)
        if unwanted:
            hopeless = is_hopeless(design, loss, config.rules.target)
            return Decision(None, unwanted, off_front=standing.goal.keeps_front and hopeless)
        why_not = self._why_not(standing) if design.looks else ""
        if why_not:
            return Decision(None, why_not)
        longer = [length for length in lengths if length > _length(design)]
        if not longer:
            return Decision(full_budget(config, design.epochs))
        if longer[0] < 1:
            images = config.images_of(longer[0])
            return Decision(Budget(1, images, look=longer[0]))
        return Decision(Budget(int(longer[0]), config.train_images, look=longer[0]))

    def _why_not(self, standing: Standing) -> str:
        design, length = standing.design, _length(standing.design)
        latest = (other for other in reversed(standing.others) if _has_look(other, length))
        looked, among = [cut(other, length) for other in islice(latest, self.window)], ""
        if standing.goal.keeps_front:
            rivals = [other for other in looked if standing.loss(other) <= standing.loss(design)]
            if length >= LONG:
                rivals = [other for other in rivals if other.parameters <= design.parameters]
            if not rivals:
                return ""
            looked, among = _nearest(design, looked)[: self.alike], " of its size"
        share = self.screened if length < 1 else self.kept
        merit = standing.merit(design)
        better = sum(standing.merit(other) <= merit for other in looked)
        if better < max(1, int(share * (len(looked) + 1))):
            return ""
        return f"not among the best {share:.0%}{among} after a look of {counted(length, 'epoch')}"

    def stop_reason(
        self, epoch: int, accuracy: float, others: Sequence[Mapping[int, float]]
    ) -> str:
        """No training is stopped before the end of its schedule."""
        return ""


def _nearest(design: Judged, others: Sequence[Judged]) -> list[Judged]:
    """These designs, those nearest to a design in the logarithm of their parameters first."""
    size = math.log(design.parameters)
    return sorted(others, key=lambda other: abs(math.log(other.parameters) - size))


def _as_expected(design: Judged, loss: float) -> Judged:
    """A design with the loss that another seed is expected to have: its own may have been lucky."""
    assert design.full is not None
    return replace(design, full=replace(design.full, loss=loss))


def _length(design: Judged) -> float:
    return design.looks[-1].epochs if design.looks else 0.0


def _has_look(design: Judged, length: float) -> bool:
    return any(look.epochs == length for look in design.looks)


def cut(design: Judged, length: float) -> Judged:
    """A design as it was known after its look of that length."""
    looks = tuple(look for look in design.looks if look.epochs <= length)
    return replace(design, looks=looks, full=None)


def full_budget(config: StudyConfig, epochs: int, checkpoints: tuple[int, ...] = ()) -> Budget:
    """The budget of a full training."""
    return Budget(epochs, config.train_images, checkpoints)


@dataclass(frozen=True, slots=True)
class Halving:
    """Asynchronous successive halving (Li et al., arXiv:1810.05934) on validation accuracy.

    After `first` epochs, and after each further multiple by `factor`, the best share of
    1 / `factor` goes on, the training asked about among them. A first rung of 2 would put the
    third one at 18 of 19 epochs, where stopping saves nothing. It judges in the middle of a
    schedule, which says little of its end: `python -m benchmarks.search_efficiency` can compare it
    with looks.
    """

    first: int = 3
    factor: int = 3

    def next_budget(self, config: StudyConfig, standing: Standing) -> Decision:
        """One full training, asked about at each rung."""
        epochs = standing.design.epochs
        return Decision(full_budget(config, epochs, self.rungs(epochs)))

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """The epochs of a training, before its last, after which it is asked about."""
        rungs = []
        rung = self.first
        while rung < epochs:
            rungs.append(rung)
            rung *= self.factor
        return tuple(rungs)

    def stop_reason(
        self, epoch: int, accuracy: float, others: Sequence[Mapping[int, float]]
    ) -> str:
        """Stop a training that is not among the best share of those that came so far."""
        seen = sorted([accuracy, *(curve[epoch] for curve in others if epoch in curve)])
        go_on = max(len(seen) // self.factor, 1)
        if accuracy >= seen[-go_on]:
            return ""
        return f"below the best {_ordinal(self.factor)} after {counted(epoch, 'epoch')}"


@dataclass(frozen=True, slots=True)
class Full:
    """Every design is trained to its last epoch, however poor it looks."""

    def next_budget(self, config: StudyConfig, standing: Standing) -> Decision:
        """One full training."""
        return Decision(full_budget(config, standing.design.epochs))

    def stop_reason(
        self, epoch: int, accuracy: float, others: Sequence[Mapping[int, float]]
    ) -> str:
        """Nothing is stopped."""
        return ""


def _ordinal(factor: int) -> str:
    return {2: "half", 3: "third"}.get(factor, f"1/{factor}")


SCHEDULES: dict[str, Schedule] = {"looks": Looks(), "halving": Halving(), "none": Full()}
"""Schedules by name: `--looks none` is `none`."""
