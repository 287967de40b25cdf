"""One entry from outside adds a goal, a sampler, a schedule, an executor or a storage."""

# ruff: noqa: ARG001, ARG002 - what is asked for by a protocol or a fixture
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest

from mnist_arch.errors import UserError
from mnist_arch.rules import Rejection, Rules
from search import RunConfig, StudyConfig, search
from search.goals import GOALS, Direction
from search.looks import Judged
from search.samplers import SAMPLERS
from search.schedules import SCHEDULES, Decision, Standing
from search.storage import STORAGES, opened_storage, sqlite_url
from search.task import Budget
from tests.search.instant import Instant


@dataclass(frozen=True)
class FewestParameters:
    """The goal: few parameters, however well the designs do."""

    directions: tuple[Direction, ...] = ("minimize",)
    words: str = "parameters"
    order: tuple[tuple[str, bool], ...] = (("parameters", True), ("trial", True))
    lengths: tuple[int, int] | None = None

    def values(self, design: Judged, loss: float) -> tuple[float, ...]:
        return (float(design.parameters),)

    def merit(self, design: Judged, loss: float) -> float:
        return float(design.parameters)

    def why_unwanted(
        self, design: Judged, loss: float, passed: Sequence[Judged], target: float
    ) -> str:
        return ""

    def constraints(self, rejections: Sequence[Rejection]) -> dict[str, float]:
        return {"rules": float(len(rejections))}


@dataclass(frozen=True)
class OneThenTwo:
    """The schedule: a look of one epoch, then, whatever it gave, a training of two."""

    def next_budget(self, config: StudyConfig, standing: Standing) -> Decision:
        if standing.design.looks:
            return Decision(Budget(2, config.train_images))
        return Decision(Budget(1, config.train_images, look=1.0))

    def stop_reason(
        self, epoch: int, accuracy: float, others: Sequence[Mapping[int, float]]
    ) -> str:
        raise AssertionError("nothing is stopped")


EASY = StudyConfig(seed=7, epochs=2, rules=Rules(target=0.15), schedule="none")


def run(folder: Path, trials: int = 5, storage: str = "sqlite") -> RunConfig:
    return RunConfig(
        "mine", folder, trials, executor="instant", finalists=0, quiet=True, storage=storage
    )


def test_an_executor(instant: Instant, tmp_path: Path) -> None:
    study = search(EASY, run(tmp_path)).study
    assert len(instant.tasks) == 5
    trained = study.trials.query("state == 'passed'")
    assert set(trained["engine"]) == {"none"}
    assert set(trained["validation_accuracy"]) == {0.2}


def test_a_goal(instant: Instant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GOALS, "few", FewestParameters())
    config = StudyConfig(seed=7, epochs=2, rules=Rules(target=0.15), schedule="none", goal="few")
    study = search(config, run(tmp_path, 8)).study
    board = study.leaderboard
    assert len(board) == 8
    assert board["parameters"].is_monotonic_increasing
    with opened_storage(sqlite_url(tmp_path / "mine")) as storage:
        told = optuna.load_study(study_name="mine", storage=storage)
        assert told.direction == optuna.study.StudyDirection.MINIMIZE
        assert told.best_value == board["parameters"].min()
        assert told.best_trial.constraints == {"rules": 0.0}


def test_a_sampler(instant: Instant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def genetic(seed: int) -> optuna.samplers.BaseSampler:
        seeds.append(seed)
        return optuna.samplers.NSGAIISampler(seed=seed)

    monkeypatch.setitem(SAMPLERS, "genetic", genetic)
    config = StudyConfig(
        seed=7, epochs=2, rules=Rules(target=0.15), sampler="genetic", schedule="none"
    )
    study = search(config, run(tmp_path)).study
    assert len(seeds) == len(study.trials) + 1  # one for each trial after the first
    assert study.config.sampler == "genetic"


def test_a_schedule(instant: Instant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEDULES, "one, two", OneThenTwo())
    config = StudyConfig(seed=7, epochs=2, rules=Rules(target=0.15), schedule="one, two")
    study = search(config, run(tmp_path, 3)).study
    assert [task.budget.epochs for task in instant.tasks] == [2, *[1, 2] * 2]  # the baseline first
    first, second = instant.tasks[1:3]
    assert first.design == second.design
    assert first.seed != second.seed
    assert list(study.leaderboard["epochs"]) == [2, 2, 2]
    assert study.tables["epochs"]["look"].tolist() == [2, 2, 1, 2, 2, 1, 2, 2]  # the baseline first


def test_a_storage(instant: Instant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def beside(folder: Path) -> str:
        return f"sqlite:///{folder.parent / 'shared.db'}"

    monkeypatch.setitem(STORAGES, "beside", beside)
    search(EASY, run(tmp_path, 2, "beside"))
    study = search(EASY, run(tmp_path, 4, "beside")).study  # continued
    assert len(study.leaderboard) == len(instant.tasks) == 4
    assert not (tmp_path / "mine" / "study.db").exists()
    with opened_storage(beside(tmp_path / "mine")) as storage:
        assert optuna.get_all_study_names(storage) == ["mine"]


def test_tables_whose_database_is_elsewhere_are_not_written_over(
    instant: Instant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STORAGES, "beside", lambda folder: f"sqlite:///{folder.parent}/shared.db")
    search(EASY, run(tmp_path, 2, "beside"))
    with pytest.raises(UserError, match="without their database"):
        search(EASY, run(tmp_path, 4))


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("--goal", StudyConfig(goal="none such")),
        ("--sampler", StudyConfig(sampler="none such")),
        ("--schedule", StudyConfig(schedule="none such")),
    ],
)
def test_an_unknown_name_is_a_mistake_that_lists_the_known(
    option: str, choices: StudyConfig, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"^{option} none such: must be one of .*"):
        search(choices, RunConfig(results=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["executor", "storage"])
def test_an_unknown_executor_or_storage_is_a_mistake(option: str, tmp_path: Path) -> None:
    chosen = RunConfig(results=tmp_path, **{option: "none such"})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"^--{option} none such: must be one of .*"):
        search(StudyConfig(), chosen)
