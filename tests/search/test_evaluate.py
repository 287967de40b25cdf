from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load

from mnist_arch.augment import gather
from mnist_arch.build import build
from mnist_arch.data import holdout, protocol_digits
from mnist_arch.data import load as load_digits
from mnist_arch.design import AveragePool, Conv, Design
from mnist_arch.epochs import EpochRecord, FittedEpoch
from mnist_arch.folds import fold_digits
from mnist_arch.recipe import RECIPES
from mnist_arch.rules import Rejected, Rules
from mnist_arch.training import evaluate as judge
from mnist_arch.training import seed_everything, train
from search import evaluate as module
from search.config import Machine
from search.evaluate import evaluate, evaluating
from search.task import Budget, Task

MACHINE = Machine(engine="torch", device="cpu", threads=1)
HEAD = Conv(10, 1, 0, batch_norm=False, relu=False)
DESIGN = Design((Conv(2, padding=0), AveragePool(), HEAD))
TASK = Task(DESIGN, Rules(), RECIPES["default"], Budget(2, 100), seed=3)


def test_it_is_a_training_by_the_protocol() -> None:
    result = evaluate(TASK, MACHINE)
    fit, validation = protocol_digits("holdout", 100)
    seed_everything(3)
    network = build(DESIGN).to(memory_format=torch.channels_last)
    expected = list(train(network, TASK.recipe, 2, fit, validation, 3))
    assert [e.validation_loss for e in result.epochs] == [e.validation_loss for e in expected]
    assert (result.outcome, result.engine, result.device) == ("finished", "torch", "cpu")
    assert result.train_images == 100
    assert result.weights is None


def test_equal_tasks_give_equal_results_and_another_seed_another() -> None:
    losses = [
        evaluate(replace(TASK, seed=seed), MACHINE).epochs[-1].validation_loss for seed in (3, 3, 4)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_judged_once_it_meets_the_digits_after_the_last_epoch_only() -> None:
    task = replace(TASK, protocol="assignment", judged="last epoch", keep_weights=True)
    seen: list[Any] = []
    result = evaluate(task, MACHINE, seen.append)
    assert [type(epoch) for epoch in seen] == [FittedEpoch, EpochRecord]
    assert len(result.epochs) == 1
    assert result.weights is not None
    network = build(DESIGN)
    network.load_state_dict(load(result.weights))
    loss, accuracy = judge(network, load_digits("test"))
    assert result.epochs[0].validation_loss == pytest.approx(loss, rel=1e-5)
    assert result.epochs[0].validation_accuracy == accuracy
    test = load_digits("test")
    assert result.judged_images == 10_000
    with torch.no_grad():
        answers = network.eval()(gather(test.images, torch.arange(10_000), None)).argmax(1)
    wrong = (answers != test.labels).nonzero().flatten().tolist()
    expected = [(60_000 + i, int(test.labels[i]), int(answers[i])) for i in wrong]
    assert list(result.misread) == expected


def test_a_fold_is_judged_on_its_own_images_by_their_numbers() -> None:
    task = replace(TASK, protocol="assignment", judged="last epoch", keep_weights=True, fold=2)
    result = evaluate(task, MACHINE)
    _, judged, numbers = fold_digits(2, 100)
    assert result.weights is not None
    network = build(DESIGN)
    network.load_state_dict(load(result.weights))
    assert result.epochs[0].validation_accuracy == judge(network, judged)[1]
    labels = dict(zip(numbers.tolist(), judged.labels.tolist(), strict=True))
    assert 0 < len(result.misread) == 10_000 - round(judge(network, judged)[1] * 10_000)
    assert all(labels[number] == truth != answer for number, truth, answer in result.misread)


def test_a_training_that_is_judged_each_epoch_keeps_no_answers() -> None:
    result = evaluate(TASK, MACHINE)
    assert (result.judged_images, result.misread) == (0, ())


def test_the_weights_are_plain_and_those_of_the_network() -> None:
    result = evaluate(replace(TASK, keep_weights=True), MACHINE)
    assert result.weights is not None
    state = load(result.weights)
    assert state.keys() == build(DESIGN).state_dict().keys()
    assert all(tensor.is_contiguous() for tensor in state.values())


def test_it_stops_for_the_reason_that_it_is_sent() -> None:
    steps = evaluating(replace(TASK, budget=Budget(9, 100)), MACHINE)
    assert next(steps).epoch == 1
    with pytest.raises(StopIteration) as end:
        steps.send("poor")
    assert (end.value.value.outcome, end.value.value.reason) == ("stopped", "poor")
    assert len(end.value.value.epochs) == 1


def test_a_design_that_breaks_the_rules_is_refused_before_anything() -> None:
    with pytest.raises(Rejected, match="must be fewer than 20"):
        evaluate(replace(TASK, rules=Rules(parameter_limit=20)), MACHINE)
    with pytest.raises(Rejected, match="epochs: 20, must be fewer than 20"):
        evaluate(replace(TASK, budget=Budget(20)), MACHINE)


def test_a_diverged_training_is_an_outcome() -> None:
    recipe = replace(TASK.recipe, learning_rate=1e30)
    result = evaluate(replace(TASK, recipe=recipe), MACHINE)
    assert (result.outcome, result.epochs) == ("diverged", ())
    assert result.reason == "diverged: validation loss became nan in epoch 1"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory: host memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 byte\nmore"),
            "out of memory: DefaultCPUAllocator: can't allocate memory: 1 byte",
        ),
    ],
)
def test_a_lack_of_memory_is_an_outcome(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    monkeypatch.setattr(module, "train", Mock(side_effect=error))
    result = evaluate(TASK, MACHINE)
    assert (result.outcome, result.reason) == ("out of memory", reason)


def test_our_own_bugs_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "train", Mock(side_effect=RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        evaluate(TASK, MACHINE)


def test_a_search_never_opens_the_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(part: str, *_: object) -> Any:
        assert part == "train"
        return load_digits("train")

    monkeypatch.setattr("mnist_arch.data.load", opened)
    module.digits_here.cache_clear()
    evaluate(TASK, MACHINE)
    module.digits_here.cache_clear()
    assert len(holdout(load_digits("train"))[1]) == 10_000
