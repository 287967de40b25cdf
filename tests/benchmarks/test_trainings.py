from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import recipes, trainings
from benchmarks.curves import designs, designs_frame
from benchmarks.curves import trainings as trainings_of
from benchmarks.trainings import Training, train_all
from mnist_arch.plan import plan
from mnist_arch.recipe import RECIPES
from mnist_arch.references import BASELINE
from search.config import LOOKS
from search.task import Task
from tests.search.instant import Instant


class Interrupted(Instant):
    """An executor whose second training is interrupted."""

    def submit(self, key: int, task: Task) -> None:
        if self.tasks:
            raise KeyboardInterrupt
        super().submit(key, task)


def use(executor: Instant, monkeypatch: pytest.MonkeyPatch) -> Instant:
    monkeypatch.setattr(trainings, "make_executor", lambda *_: executor)
    return executor


def training(epochs: float, seed: int = 1) -> Training:
    return Training("a", BASELINE, "default", RECIPES["default"], epochs, seed)


def test_a_length_below_1_is_an_epoch_over_that_share_of_the_images() -> None:
    assert training(0.25).task.budget.train_images == 12_500
    assert training(0.25).task.budget.epochs == 1
    assert (training(3).task.budget.epochs, training(3).task.budget.train_images) == (3, None)


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [training(0.25), training(3), training(3, seed=2)]
    use(Interrupted(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train_all(orders, tmp_path, 1)
    executor = use(Instant(), monkeypatch)
    assert train_all(orders, tmp_path, 1) == 0
    assert [task.budget.epochs for task in executor.tasks] == [3, 3]
    table = pd.read_csv(tmp_path / "trainings.csv")
    assert table[["budget_epochs", "seed"]].to_numpy().tolist() == [[0.25, 1], [3, 1], [3, 2]]
    assert len(pd.read_csv(tmp_path / "epochs.csv")) == 7


def test_nothing_is_started_when_the_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = use(Instant(), monkeypatch)
    assert train_all([training(3)], tmp_path, 1, seconds=-1) == 1
    assert executor.tasks == []


def test_what_the_test_images_judge_has_their_columns_and_no_row_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = use(Instant(), monkeypatch)
    order = replace(training(3), protocol="assignment")
    assert train_all([order], tmp_path, 1) == 0
    assert [(task.protocol, task.judged) for task in executor.tasks] == [
        ("assignment", "last epoch")
    ]
    table = pd.read_csv(tmp_path / "trainings.csv")
    assert table[["test_accuracy", "test_loss"]].to_numpy().tolist() == [[0.3, 0.4]]
    assert not (tmp_path / "epochs.csv").exists()
    assert train_all([order], tmp_path, 1) == 0
    assert len(executor.tasks) == 1


def test_the_designs_of_the_table_are_the_same_however_many_are_asked_for() -> None:
    first, more = designs(6), designs(12)
    assert more[:6] == first
    assert len({design.fingerprint for design in more}) == 12
    frame = designs_frame(more)
    assert frame["parameters"].tolist() == [plan(design).parameters for design in more]
    lengths = [order.budget_epochs for order in trainings_of(first)]
    assert lengths == [*LOOKS, 19, 19] * 6


def rows(recipe: str, *accuracies: float) -> list[dict[str, Any]]:
    return [
        {"design": "d", "recipe": recipe, "budget_epochs": 3, "seed": seed, "outcome": "finished",
         "validation_loss": 1 - accuracy, "validation_accuracy": accuracy}
        for seed, accuracy in enumerate(accuracies)
    ]  # fmt: skip


def test_recipes_are_compared_seed_by_seed() -> None:
    """By hand: differences 0.2 and 0.4, mean 0.3, standard error 0.1."""
    found = recipes.compare(pd.DataFrame(rows("default", 0.1, 0.5) + rows("other", 0.3, 0.9)))
    other = found.set_index("recipe").loc["other"]
    assert other["accuracy_difference"] == pytest.approx(0.3)
    assert other["accuracy_error"] == pytest.approx(0.1)
    assert other["loss_difference"] == pytest.approx(-0.3)
    assert other["seeds"] == 2


def test_a_recipe_of_one_seed_is_shown_without_an_error() -> None:
    found = recipes.compare(pd.DataFrame(rows("default", 0.5, 0.7) + rows("other", 0.6)))
    table = recipes.as_table(found)
    accuracies = dict(zip(table.columns[2].cells, table.columns[-1].cells, strict=True))
    assert accuracies == {"default": "+0.000 ± 0.000", "other": "+10.000"}


def test_every_recipe_is_compared_at_every_length_and_size() -> None:
    orders = recipes.trainings([19, 3], 2, ["assignment"], list(recipes.VARIANTS))
    assert len(orders) == 2 * 2 * len(recipes.VARIANTS)
    assert [order.budget_epochs for order in orders] == sorted(o.budget_epochs for o in orders)
    assert len({order.key for order in orders}) == len(orders)
