from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from mnist_arch.epochs import EpochRecord
from mnist_arch.recipe import RECIPES
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rejected, Rules
from search import record
from search.task import Result
from tests.search.studies import ask, small, trial

EPOCH = EpochRecord(1, 0.1, 0.5, 0.9, 0.4, 0.93, 10.0, 12.0, 5000.0)


def test_what_is_written_is_read_back(opened: optuna.Study) -> None:
    asked = ask(opened)
    recipe = RECIPES["default"].to_dict()
    second = replace(EPOCH, epoch=2)
    record.write_proposal(asked, BASELINE, recipe)
    result = Result("diverged", (EPOCH, second), "diverged", "lanes", "cpu")
    record.write_result(asked, result, 77, "3")
    record.write_state(asked, "failed", "diverged")
    opened.tell(asked, state=TrialState.PRUNED)
    read = record.read(opened.trials[0])
    began, ended = (datetime.fromisoformat(text) for text in (read.started, read.ended))
    assert timedelta(0) <= ended - began < timedelta(minutes=10)
    assert abs(datetime.now(UTC) - ended) < timedelta(minutes=10)
    assert replace(read, started="", ended="") == record.TrialRecord(
        number=0, state="failed", design=BASELINE, epochs=(EPOCH, second), rejections=(),
        reason="diverged", duplicate_of=None, seed=77, engine="lanes", device="cpu", worker="3",
        recipe=recipe,
    )  # fmt: skip


def test_rejections_are_read_back(opened: optuna.Study) -> None:
    with pytest.raises(Rejected) as rejected:
        Rules(parameter_limit=100, strict=True).check(BASELINE)
    asked = ask(opened)
    record.write_rejections(asked, rejected.value.rejections)
    opened.tell(asked, state=TrialState.PRUNED)
    read = record.read(opened.trials[0])
    assert (read.state, read.rejections) == ("rejected", rejected.value.rejections)
    assert read.reason == str(rejected.value)


def frozen(ended: TrialState, **attributes: object) -> FrozenTrial:
    """A finished trial with these attributes."""
    value = 0.9 if ended == TrialState.COMPLETE else None
    return optuna.trial.create_trial(state=ended, value=value, user_attrs=dict(attributes))


def test_epochs_of_an_earlier_version_are_read_in_order_beyond_the_999th() -> None:
    numbers = (1000, 11, 2, 999, 1, 10)
    attributes = {f"epoch_{number:03d}": asdict(replace(EPOCH, epoch=number)) for number in numbers}
    read = record.read(frozen(TrialState.COMPLETE, state="missed", **attributes))
    assert [epoch.epoch for epoch in read.epochs] == [1, 2, 10, 11, 999, 1000]


def test_a_repeat_of_an_earlier_version_is_a_duplicate() -> None:
    read = record.read(frozen(TrialState.COMPLETE, state="repeat", repeat_of=3))
    assert (read.state, read.duplicate_of) == ("duplicate", 3)


@pytest.mark.parametrize(
    ("optunas", "written", "state"),
    [
        (TrialState.COMPLETE, "passed", "passed"),
        (TrialState.PRUNED, "broken", "broken"),
        (TrialState.FAIL, "passed", "interrupted"),  # written, and killed before it was told
        (TrialState.FAIL, "duplicate", "duplicate"),
    ],
)
def test_only_what_optuna_was_told_counts(optunas: TrialState, written: str, state: str) -> None:
    assert record.state_of(frozen(optunas, state=written)) == state


def test_a_failed_trial_without_a_state_was_interrupted() -> None:
    read = record.read(frozen(TrialState.FAIL, reason="of what was not told"))
    assert (read.state, read.reason, read.design) == ("interrupted", "", None)


def test_every_state_that_trained_is_a_state() -> None:
    assert set(record.TO_THE_END) < set(record.TRAINED) < set(record.STATES)


def test_the_same_design_under_another_recipe_is_another_proposal() -> None:
    recipe = RECIPES["default"].to_dict()
    assert record.identity(BASELINE, None) == BASELINE.fingerprint
    assert record.identity(BASELINE, recipe) == record.identity(BASELINE, dict(recipe))
    assert record.identity(BASELINE, recipe) != record.identity(
        BASELINE, recipe | {"learning_rate": 0.2}
    )


def test_the_baseline_is_the_first_that_was_trained_to_its_end() -> None:
    pruned = trial(0, BASELINE, 0.5, "pruned")
    assert record.baseline_of([pruned, trial(1, small(4), 0.9)]) is None
    found = record.baseline_of([pruned, trial(2, BASELINE, 0.5), trial(3, BASELINE, 0.6)])
    assert found is not None
    assert found.number == 2
