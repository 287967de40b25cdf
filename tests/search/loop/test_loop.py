"""The loop with an executor that trains nothing: it answers with the curves that it is given."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from mnist_arch.design import Design
from mnist_arch.epochs import EpochRecord
from mnist_arch.errors import MachineError
from mnist_arch.plan import plan
from mnist_arch.references import BASELINE, REFERENCE_DESIGNS
from mnist_arch.rules import Rules
from search import loop as loop_module
from search import record
from search.config import StudyConfig
from search.executors import Event
from search.goals import GOALS
from search.goals.smallest import Smallest
from search.loop import Loop, judging
from search.loop.history import History
from search.loop.proposals import space_of
from search.loop.running import RunningTrial
from search.record import TrialRecord
from search.samplers import make_sampler
from search.schedules import Decision
from search.seeds import trial_seed
from search.space import Space
from search.storage import driver as driver_module
from search.storage import opened_storage, sqlite_url
from search.storage.driver import Driver
from search.storage.starting import GIVEN_DESIGN, start_study
from search.tables.files import StudyFiles, read_study
from search.task import Budget, Result, Task

CONFIG = StudyConfig(seed=7, epochs=2, goal="accuracy", sampler="tpe", schedule="halving")
LONGER = replace(CONFIG, epochs=4)
FIRST = Space().first_params()
SMALL = FIRST | {"parameters": 2_000.0}

Answer = Sequence[float] | Result | BaseException | None
"""What one training comes to: validation accuracies by epoch (None: 0.9 in each), a result, or what
it raises."""


def epoch(number: int, accuracy: float) -> EpochRecord:
    """An epoch whose validation loss is three times the share of wrong answers."""
    loss = 3 * (1 - accuracy)
    return EpochRecord(number, 0.1, 0.5, 0.9, loss, accuracy, 1.0, 1.2, 1000.0)


def told(accuracy: float) -> float:
    """What Optuna is told under the goal accuracy: the log of the validation loss."""
    return math.log(epoch(1, accuracy).validation_loss)


@dataclass
class Scripted:
    """Gives each task the next answer, or 0.9 throughout; `slots` tasks run side by side."""

    answers: list[Answer] = field(default_factory=list)
    slots: int = 1
    tasks: list[Task] = field(default_factory=list)
    _running: dict[int, Iterator[Event]] = field(default_factory=dict)
    _stop: dict[int, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running = {}

    @property
    def free(self) -> int:
        return self.slots - len(self._running)

    def submit(self, key: int, task: Task) -> None:
        self.tasks.append(task)
        self._running[key] = self._train(key, task)

    def answer(self, key: int, stop_reason: str) -> None:
        self._stop[key] = stop_reason

    def events(self, _: float) -> list[Event]:
        found = []
        for key, events in list(self._running.items()):
            event = next(events)
            if event.result is not None:
                del self._running[key]
            found.append(event)
        return found

    def _train(self, key: int, task: Task) -> Iterator[Event]:
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            answer = [0.9] * task.budget.epochs
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Result):
            yield Event(key, "0", result=answer)
            return
        done: list[EpochRecord] = []
        for number, accuracy in enumerate(answer, 1):
            done.append(epoch(number, accuracy))
            self._stop.pop(key, None)
            yield Event(key, "0", epoch=done[-1])
            if self._stop.get(key):
                stopped = Result("stopped", tuple(done), self._stop[key], "torch", "cpu", 100)
                yield Event(key, "0", result=stopped)
                return
        yield Event(key, "0", result=Result("finished", tuple(done), "", "torch", "cpu", 100))


@dataclass
class Notes:
    """A watcher that remembers what it was told."""

    texts: list[str] = field(default_factory=list)
    trained: list[tuple[int, str]] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.texts.append(text)

    def finished(self, trial: TrialRecord, trained: int) -> None:
        self.trained.append((trained, trial.state))

    def update(self, running: Sequence[RunningTrial], counts: Mapping[str, int]) -> None:
        assert all(each.trial.number >= 0 for each in running)
        assert all(count > 0 for count in counts.values())


@dataclass
class Search:
    """A study in a folder, and loops over it."""

    folder: Path
    driver: Driver
    config: StudyConfig
    notes: Notes = field(default_factory=Notes)

    def loop(self, trials: int, *answers: Answer, slots: int = 1) -> Loop:
        files = StudyFiles(self.folder, "test-id", self.config, self.document)
        executor = Scripted(list(answers), slots)
        history = History(self.driver, files)
        history.load()
        return Loop(history, self.config, executor, self.notes, trials)

    def run(self, trials: int, *answers: Answer, slots: int = 1) -> Loop:
        loop = self.loop(trials, *answers, slots=slots)
        loop.run()
        loop.files.rewrite()
        return loop

    def document(self) -> dict[str, Any]:
        return {"study": "test", "settings": self.config.to_dict(), "seconds": 0, "runs": []}

    def queue(self, params: dict[str, Any]) -> None:
        self.driver.study.enqueue_trial(params)

    def queue_baseline(self) -> None:
        given = {GIVEN_DESIGN: BASELINE.to_dict()}
        self.driver.study.enqueue_trial(FIRST, user_attrs=given)

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.driver.study.get_trials()

    @property
    def last(self) -> TrialRecord:
        return record.read(self.trials[-1])

    @property
    def table(self) -> pd.DataFrame:
        return read_study(self.folder).trials


@contextmanager
def searching(folder: Path, config: StudyConfig = CONFIG) -> Iterator[Search]:
    with opened_storage(sqlite_url(folder)) as storage:
        sampler = make_sampler(config.sampler, config.seed)
        first = [space_of(config).first_params()]
        study = start_study(storage, "test", config, GOALS[config.goal].directions, sampler, first)
        yield Search(folder, Driver(study, storage), config)


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    with searching(tmp_path) as opened:
        yield opened


@pytest.fixture
def longer(tmp_path: Path) -> Iterator[Search]:
    with searching(tmp_path, LONGER) as opened:
        yield opened


def test_the_first_proposal_is_the_assignments_design(search: Search) -> None:
    loop = search.run(1)
    assert isinstance(loop.executor, Scripted)
    assert loop.executor.tasks[0].design == BASELINE
    assert loop.executor.tasks[0].seed == trial_seed(7, 0, "training")
    assert search.last.design == BASELINE
    assert (search.last.state, search.last.worker, search.last.engine) == ("missed", "0", "torch")
    assert search.trials[0].value == told(0.9)


def test_a_design_that_the_user_gave_is_trained_and_judged_as_any_other(search: Search) -> None:
    own = REFERENCE_DESIGNS["published-4392"]
    search.run(1)
    search.driver.study.enqueue_trial({}, user_attrs={"own_design": own.to_dict()})
    loop = search.run(2, [0.9, 0.995])
    assert isinstance(loop.executor, Scripted)
    assert loop.executor.tasks[0].design == search.last.design == own
    assert search.last.state == "passed"


def test_the_last_epoch_decides_whether_a_design_passes(search: Search) -> None:
    search.run(2, [0.9, 0.994], [0.999, 0.9939])
    assert [record.state_of(trial) for trial in search.trials] == ["passed", "missed"]
    assert search.trials[1].value == told(0.9939)
    assert search.notes.trained == [(1, "passed"), (2, "missed")]


def test_a_study_ends_with_as_many_trained_designs_as_asked_for(search: Search) -> None:
    search.run(5, slots=2)
    search.run(5, slots=2)  # nothing more to do
    search.run(7, slots=3)
    assert [record.state_of(trial) for trial in search.trials] == ["missed"] * 7
    assert search.table["trial"].tolist() == list(range(7))


def test_designs_stand_in_the_order_of_their_trials_not_of_their_ends(longer: Search) -> None:
    """The second ends first; which designs count as the latest ones depends on no machine."""
    history = longer.run(3, [0.9] * 4, [0.995], [0.996] * 4, slots=2).history
    assert [design.full.accuracy for design in history.looked if design.full] == [0.9, 0.995, 0.996]
    assert [design.full.accuracy for design in history.passed if design.full] == [0.995, 0.996]
    assert [state for _, state in longer.notes.trained] == ["passed", "missed", "passed"]
    again = longer.run(3).history
    assert (list(again.looked), again.passed) == (list(history.looked), history.passed)


def test_a_rejected_design_is_pruned_with_its_reasons_and_by_how_much(tmp_path: Path) -> None:
    config = replace(CONFIG, rules=Rules(parameter_limit=10_000))
    with searching(tmp_path, config) as search:
        search.run(1)
        trial, first = search.trials[0], record.read(search.trials[0])
    assert trial.state == TrialState.PRUNED
    assert first.state == "rejected"
    assert first.reason == "parameters: 18,430, must be fewer than 10,000"
    assert first.rejections[0].counted == 18_430
    assert trial.constraints["parameters"] == pytest.approx((18_430 - 9_999) / 9_999)
    assert trial.constraints["structure"] == 0
    assert trial.params.keys() == FIRST.keys()
    assert (search.table["state"] != "rejected").sum() == 1
    assert trial.params["parameters"] == 9_999


def test_an_accepted_design_is_feasible_to_optuna(search: Search) -> None:
    search.run(1)
    assert search.trials[0].constraints == {"parameters": 0.0, "structure": 0.0}


def test_a_space_with_nothing_more_to_offer_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "PROPOSALS_IN_A_ROW", 5)
    with searching(tmp_path, replace(CONFIG, rules=Rules(parameter_limit=40))) as search:
        loop = search.run(1)
        assert loop.stop_reason.startswith("Stopped: 5 proposals in a row were rejected, dup")
        assert loop.files.counts == {"rejected": 5}


def test_a_duplicate_is_told_its_earlier_value_and_not_trained_again(search: Search) -> None:
    search.run(1, [0.9, 0.995])
    search.queue_baseline()
    loop = search.run(2)
    assert isinstance(loop.executor, Scripted)
    assert len(loop.executor.tasks) == 1  # the design after the duplicate
    duplicate = search.trials[1]
    assert (duplicate.state, duplicate.value) == (TrialState.COMPLETE, told(0.995))
    read = record.read(duplicate)
    assert (read.state, read.duplicate_of, read.reason) == ("duplicate", 0, "the same as trial 0")


def test_a_duplicate_of_a_design_in_training_waits_for_its_end(search: Search) -> None:
    search.queue_baseline()
    search.run(3, [0.9, 0.95], slots=3)
    twin = search.trials[1]
    assert (twin.value, record.read(twin).duplicate_of) == (told(0.95), 0)
    assert [record.state_of(trial) for trial in search.trials].count("missed") == 3


def test_a_duplicate_of_a_pruned_design_is_pruned_at_the_same_epoch(longer: Search) -> None:
    longer.run(1, [0.95] * 4)
    longer.queue(SMALL)
    longer.run(2, [0.1, 0.2, 0.3, 0.4])
    assert longer.last.reason == "below the best third after 3 epochs"
    longer.queue(SMALL)
    longer.run(3)
    twin = longer.trials[2]
    assert record.state_of(twin) == "duplicate"
    assert (twin.state, twin.intermediate_values) == (TrialState.PRUNED, {1: 0.1, 2: 0.2, 3: 0.3})


def test_a_design_in_training_on_another_driver_is_passed_over(search: Search) -> None:
    elsewhere = Driver(search.driver.study, search.driver.storage, "another machine").ask()
    record.write_proposal(elsewhere, BASELINE, None)
    elsewhere.set_user_attr("claimed", True)
    elsewhere.set_user_attr("admitted", True)
    search.queue_baseline()
    loop = search.loop(1)
    loop.timeout_seconds = 0.5  # it waits for the other's end, or death
    loop.run()
    passed_over = search.trials[1]
    assert record.state_of(passed_over) == "duplicate"
    assert passed_over.state == TrialState.FAIL  # Optuna learns nothing: its value is not known
    assert search.trials[0].state == TrialState.RUNNING


def test_a_study_that_has_its_designs_waits_until_no_dead_driver_holds_a_trial(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "OTHERS_SECONDS", 0)
    monkeypatch.setattr(loop_module, "HEARTBEAT_SECONDS", 0)
    monkeypatch.setattr(loop_module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(driver_module, "GRACE_SECONDS", 1)
    Driver(search.driver.study, search.driver.storage, "another machine, which dies").ask()
    loop = search.run(2)
    assert (loop.files.trained, loop.stop_reason) == (2, "")
    assert TrialState.RUNNING not in {trial.state for trial in search.trials}


def test_what_another_driver_finished_counts_and_stands_in_the_tables(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "OTHERS_SECONDS", 0)
    mine = search.loop(3)
    with searching(tmp_path) as other:
        other.run(2)
    mine.run()
    assert mine.files.trained == 3
    assert len(search.trials) == 3


def test_the_baseline_is_never_pruned(longer: Search) -> None:
    longer.driver.study.enqueue_trial(SMALL)
    longer.run(2, [0.1] * 4, [0.9] * 4)
    assert longer.trials[0].state == TrialState.COMPLETE
    assert record.read(longer.trials[0]).state == "missed"


def test_a_diverged_training_is_failed_and_pruned_and_counts(search: Search) -> None:
    diverged = Result("diverged", (), "diverged: training loss became nan in epoch 1")
    loop = search.run(1, diverged)
    assert loop.files.trained == 1
    assert search.trials[0].state == TrialState.PRUNED
    assert search.last.state == "failed"
    assert search.last.reason == "diverged: training loss became nan in epoch 1"


@pytest.mark.parametrize("outcome", ["died", "out of memory"])
def test_a_training_that_the_machine_fails_is_done_again_the_same(
    search: Search, outcome: Any
) -> None:
    failed = Result(outcome, reason="its process ended with exit status -9")
    loop = search.run(1, failed, failed, [0.9, 0.99])
    assert isinstance(loop.executor, Scripted)
    assert len(set(loop.executor.tasks)) == 1  # the same design, budget and seed each time
    assert len(loop.executor.tasks) == 3
    assert (search.last.number, search.last.state) == (0, "missed")
    assert search.notes.texts[1] == (
        "trial 0, attempt 2 of 3 on worker 0: its process ended with exit status -9"
    )


def test_a_design_that_kills_its_worker_three_times_is_given_up_and_does_not_count(
    search: Search,
) -> None:
    search.run(1)
    died = Result("died", reason="its process ended with exit status -9")
    loop = search.run(2, died, died, died)
    assert [record.state_of(trial) for trial in search.trials] == ["missed", "broken", "missed"]
    assert loop.files.trained == 2
    assert record.read(search.trials[1]).reason == "its process ended with exit status -9"


def test_attempts_are_counted_over_restarts(search: Search) -> None:
    search.run(1)
    died = Result("died", reason="its process ended with exit status -9")
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            search.run(2, died, KeyboardInterrupt())
    search.run(2)
    assert [record.state_of(trial) for trial in search.trials] == ["missed", "broken", "missed"]


def test_a_kill_after_the_last_attempt_does_not_bring_another(search: Search) -> None:
    search.run(1)
    with pytest.raises(KeyboardInterrupt):
        search.run(2, KeyboardInterrupt())
    search.driver.storage.set_trial_user_attr(2, "failed_attempts", 3)
    search.driver.storage.set_trial_user_attr(2, "last_failure", "killed")
    search.run(2)
    assert [record.state_of(trial) for trial in search.trials] == ["missed", "broken", "missed"]
    assert record.read(search.trials[1]).reason == "killed, 3 times"


def test_a_baseline_that_cannot_be_trained_is_not_given_up(search: Search) -> None:
    memory = Result("out of memory", reason="out of memory: host memory")
    with pytest.raises(MachineError, match=r"own design could not be trained in 3 attempts"):
        search.run(2, memory, memory, memory)
    search.run(1)
    assert (search.last.number, search.last.state) == (0, "missed")


def test_designs_that_break_one_after_another_end_the_run(search: Search) -> None:
    search.run(1)
    died = Result("died", reason="killed")
    with pytest.raises(MachineError, match=r"3 designs one after another .*last: killed.*--work"):
        search.run(5, *[died] * 9)
    assert search.run(2).files.trained == 2


def test_our_own_bugs_rise_and_lose_nothing(search: Search) -> None:
    search.run(1)
    with pytest.raises(RuntimeError, match="a bug"):
        search.run(2, RuntimeError("a bug"))
    assert search.trials[1].state == TrialState.WAITING
    search.run(2)
    assert search.table["state"].tolist() == ["missed", "missed"]


def rising(search: Search, trained: int) -> list[list[float]]:
    """The curves that are still to come of so many designs."""
    done = sum(trial.state.is_finished() for trial in search.trials)
    return [[0.1 * number, 0.1 * number + 0.05] for number in range(done, trained)]


def test_an_interrupted_study_repeats_the_one_that_was_not(tmp_path: Path) -> None:
    tables = []
    for name, interruptions in (("whole", ()), ("parts", (2, 3, 3))):
        folder = tmp_path / name
        folder.mkdir()
        for trained in interruptions:
            with searching(folder) as search, pytest.raises(KeyboardInterrupt):
                search.run(9, *rising(search, trained), KeyboardInterrupt())
        with searching(folder) as search:
            search.run(6, *rising(search, 6))
        tables.append(pd.read_csv(folder / "trials.csv").drop(columns=["started", "ended"]))
    pd.testing.assert_frame_equal(tables[0], tables[1])


def cut_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt a proposal when it comes to this parameter."""
    suggest = optuna.Trial.suggest_categorical

    def cut(trial: optuna.Trial, asked: str, choices: Any) -> Any:
        if asked == name:
            raise KeyboardInterrupt
        return suggest(trial, asked, choices)

    monkeypatch.setattr(optuna.Trial, "suggest_categorical", cut)


def test_a_proposal_that_was_cut_short_comes_out_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprints = []
    for name in ("whole", "cut"):
        folder = tmp_path / name
        folder.mkdir()
        with searching(folder) as search:
            search.run(1)
            if name == "cut":
                with monkeypatch.context() as patch:
                    cut_at("kernel_1", patch)
                    with pytest.raises(KeyboardInterrupt):
                        search.run(2)
                search.driver.take_back_all()
            search.run(2)
            fingerprints.append(search.table["fingerprint"].tolist())
    assert fingerprints[0] == fingerprints[1]


def test_a_time_limit_finishes_what_is_in_training(search: Search) -> None:
    loop = search.loop(500)
    loop.timeout_seconds = 0.5
    loop.run()
    assert loop.stop_reason == "Stopped by --timeout 0.5."
    assert {record.state_of(trial) for trial in search.trials} == {"missed"}
    assert 1 <= loop.files.trained < 500


def test_the_tables_are_whole_after_every_trial(search: Search) -> None:
    loop = search.loop(30)
    rows: list[tuple[int, int]] = []
    finished = loop.watcher.finished

    def look(trial: TrialRecord, trained: int) -> None:
        finished(trial, trained)
        table = pd.read_csv(search.folder / "trials.csv")
        rows.append((len(table), loop.files.counts.total()))
        assert json.loads((search.folder / "study.json").read_text())["id"] == "test-id"

    loop.watcher.finished = look  # type: ignore[method-assign]
    loop.run()
    assert len(rows) == 30
    assert all(written == finished for written, finished in rows)
    assert len(pd.read_csv(search.folder / "epochs.csv")) == 60


LOOKING = replace(CONFIG, goal="pareto", sampler="mutation", schedule="looks", looks=(0.5, 1.0))


@pytest.fixture
def looking(tmp_path: Path) -> Iterator[Search]:
    with searching(tmp_path, LOOKING) as opened:
        yield opened


def test_a_design_is_looked_at_before_it_is_trained_in_full(looking: Search) -> None:
    loop = looking.run(9)
    assert isinstance(loop.executor, Scripted)
    baseline, *looks = [task.budget for task in loop.executor.tasks]
    assert baseline == Budget(2)  # at once: so that every study has its figure
    assert looks[0] == Budget(1, 25_000, look=0.5)
    assert looks[1] == Budget(1, None, look=1.0)
    assert looks[2] == Budget(2)  # the first is the best so far
    first, second, *others = [record.state_of(trial) for trial in looking.trials]
    assert (first, second) == ("missed", "missed")
    assert "pruned" in others
    assert others.count("screened") >= 4  # one in four goes on


def test_studies_end_with_as_many_trained_as_asked_for_and_any_number_screened(
    looking: Search,
) -> None:
    loop = looking.run(8, slots=3)
    assert loop.files.trained == 8
    assert loop.files.counts["screened"] >= 4
    assert looking.notes.trained[-1][0] == 8


def test_what_looks_measured_is_told_and_stands_in_the_tables(looking: Search) -> None:
    looking.run(9)
    trial = next(each for each in looking.trials if record.state_of(each) == "pruned")
    pruned = record.read(trial)
    assert [look.length for look in pruned.looks] == [0.5, 1.0]
    assert pruned.epochs == ()
    assert pruned.reason == "not among the best 33% of its size after a look of 1 epoch"
    told_loss, told_parameters = trial.values
    assert told_loss == pytest.approx(math.log(pruned.predicted_loss or 0))
    table = looking.table
    row = table[table["trial"] == trial.number].iloc[0]
    assert told_parameters == math.log(row["parameters"])
    assert (row["look_0.5_accuracy"], row["look_1_accuracy"]) == (0.9, 0.9)
    assert row["look_1_loss"] == pytest.approx(0.3)
    epochs = pd.read_csv(looking.folder / "epochs.csv")
    assert epochs[epochs["trial"] == row["trial"]]["look"].tolist() == [0.5, 1.0]


def test_a_design_in_a_longer_training_says_what_is_expected_of_it(looking: Search) -> None:
    """After a look of half an epoch nothing, after one of an epoch what Optuna would be told."""
    with pytest.raises(KeyboardInterrupt):
        looking.run(9, None, None, KeyboardInterrupt())
    assert "values_so_far" not in looking.trials[1].user_attrs
    with pytest.raises(KeyboardInterrupt):
        looking.run(9, None, KeyboardInterrupt())
    looks, so_far = (looking.trials[1].user_attrs[name] for name in ("looks", "values_so_far"))
    parameters = plan(Design.from_dict(looking.trials[1].user_attrs["design"])).parameters
    assert [look["length"] for look in looks] == [0.5, 1.0]
    assert so_far[1] == math.log(parameters)


def test_what_is_off_the_front_is_noted_for_the_sampler(
    looking: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here whatever had a look of an epoch."""
    off, decide = Decision(None, "far", off_front=True), judging.decide
    monkeypatch.setattr(judging, "decide", lambda *told: off if told[2].counts else decide(*told))
    looking.run(3)
    noted = {record.state_of(t): record.OFF_FRONT in t.user_attrs for t in looking.trials}
    assert noted == {"missed": False, "pruned": True}


def test_a_driver_that_is_alone_never_sleeps(
    looking: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two designs of one worker there was a second of nothing."""
    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=time.monotonic))
    looking.run(2)


def test_every_training_of_a_design_has_a_seed_of_its_own(looking: Search) -> None:
    loop = looking.run(4)
    assert isinstance(loop.executor, Scripted)
    seeds = [task.seed for task in loop.executor.tasks]
    assert len(set(seeds)) == len(seeds)


def test_a_search_with_looks_repeats_exactly_interrupted_or_not(tmp_path: Path) -> None:
    tables = []
    for name, interruptions in (("whole", 0), ("parts", 4)):
        folder = tmp_path / name
        folder.mkdir()
        for _ in range(interruptions):
            with searching(folder, LOOKING) as search, pytest.raises(KeyboardInterrupt):
                search.run(6, None, None, None, KeyboardInterrupt())
        with searching(folder, LOOKING) as search:
            search.run(6)
        tables.append(pd.read_csv(folder / "trials.csv").drop(columns=["started", "ended"]))
    pd.testing.assert_frame_equal(tables[0], tables[1])


def test_a_look_that_diverges_leaves_a_screened_design_that_does_not_count(
    looking: Search,
) -> None:
    diverged = Result("diverged", (), "diverged: training loss became nan in epoch 1")
    loop = looking.run(2, [0.9, 0.9], diverged)
    found = record.read(looking.trials[1])
    assert (found.state, found.reason) == ("screened", diverged.reason)
    assert looking.trials[1].state == TrialState.PRUNED  # nothing is known of it
    assert loop.files.trained == 2


def test_a_search_ends_when_its_goal_wants_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where all that is proposed is larger than what passes: none of it is even looked at."""
    monkeypatch.setattr(loop_module, "PROPOSALS_IN_A_ROW", 5)
    monkeypatch.setattr(Smallest, "why_unwanted", lambda *_: "too large")
    with searching(tmp_path, replace(LOOKING, goal="smallest")) as search:
        loop = search.run(9)
        assert loop.stop_reason.startswith("Stopped: 5 proposals in a row were rejected, dup")
        assert loop.files.counts == {"missed": 1, "screened": 5}
        assert [record.read(trial).looks for trial in search.trials[1:]] == [()] * 5


def test_a_time_limit_lets_no_design_go_on_to_a_longer_training(looking: Search) -> None:
    loop = looking.loop(500)
    loop.timeout_seconds = 0.5
    loop.run()
    assert loop.stop_reason == "Stopped by --timeout 0.5."
    assert all(trial.state.is_finished() for trial in looking.trials)
