from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from mnist_arch.errors import MachineError, UserError
from mnist_arch.rules import Rules
from search import storage
from search.config import StudyConfig
from search.samplers import make_sampler
from search.space import ASSIGNMENT_PARAMS, Space
from search.storage import Driver, opened_storage, sqlite_url

CONFIG = StudyConfig(seed=7, epochs=2)


@contextmanager
def driver(folder: Path, config: StudyConfig = CONFIG) -> Iterator[Driver]:
    """A driver of the study in a folder, with a storage of its own."""
    with opened_storage(sqlite_url(folder)) as opened:
        yield Driver(start(opened, config), opened)


def start(opened: RDBStorage, config: StudyConfig = CONFIG) -> optuna.Study:
    sampler = make_sampler("tpe", config.seed)
    return storage.start_study(opened, "test", config, ("maximize",), sampler, ASSIGNMENT_PARAMS)


def states(of: Driver) -> list[TrialState]:
    return [trial.state for trial in of.study.get_trials()]


@pytest.mark.parametrize("name", ["plain", "a?b", "a#b", "50% off", "[bold]", "mnist & co"])
def test_a_folder_of_any_name_holds_its_own_database(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with driver(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["study.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_new_study_queues_the_assignments_design_once(tmp_path: Path) -> None:
    for _ in range(2):
        with driver(tmp_path) as opened:
            waiting = opened.study.get_trials(states=(TrialState.WAITING,))
            assert [trial.system_attrs["fixed_params"] for trial in waiting] == [ASSIGNMENT_PARAMS]


def test_a_kill_between_the_settings_and_the_queue_loses_no_baseline(tmp_path: Path) -> None:
    with opened_storage(sqlite_url(tmp_path)) as opened:
        study = optuna.create_study(storage=opened, study_name="test", direction="maximize")
        study.set_user_attr("settings", CONFIG.to_dict())  # and here it was killed
    with driver(tmp_path) as after:
        trial = after.ask()
        assert Space().suggest_design(trial).fingerprint == "59aea58c103e"


def test_a_study_refuses_other_settings_and_names_them(tmp_path: Path) -> None:
    with driver(tmp_path):
        pass
    other = replace(CONFIG, epochs=3, rules=Rules(strict=True))
    with pytest.raises(UserError) as refusal, driver(tmp_path, other):
        pass
    assert str(refusal.value) == (
        "study 'test' was started under other settings: epochs was 2, now 3; rules.strict was "
        "False, now True. Give the settings it was started with, or start another with "
        "--study NAME"
    )


def test_a_study_refuses_other_data(tmp_path: Path) -> None:
    with driver(tmp_path) as opened:
        settings = opened.study.user_attrs["settings"]
        opened.study.set_user_attr("settings", {**settings, "data_md5": "another"})
    with pytest.raises(UserError, match="data_md5 was 'another', now '6bbc9ace"), driver(tmp_path):
        pass


def test_a_study_of_before_there_were_schedules_goes_on(tmp_path: Path) -> None:
    old = {
        name: value
        for name, value in CONFIG.to_dict().items()
        if name not in ("version", "goal", "sampler", "schedule")
    }
    with opened_storage(sqlite_url(tmp_path)) as opened:
        study = optuna.create_study(storage=opened, study_name="test", direction="maximize")
        study.set_user_attr("settings", {**old, "pruning": True})
    with driver(tmp_path) as after:
        assert storage.identity_of(after.study) == CONFIG.identity("test")


def test_what_a_dead_driver_left_running_is_asked_again_as_it_was(tmp_path: Path) -> None:
    with driver(tmp_path) as first:
        trial = first.ask()
        design = Space().suggest_design(trial)
        trial.report(0.5, 1)
    with driver(tmp_path) as second:
        assert second.take_back_all() == 1
        again = second.ask()
        assert (again.number, Space().suggest_design(again)) == (0, design)
        assert states(second) == [TrialState.RUNNING]


def test_a_driver_that_lost_a_trial_cannot_end_it(tmp_path: Path) -> None:
    with driver(tmp_path) as first, driver(tmp_path) as second:
        trial = first.ask()
        second.take_back_all()
        mine = second.ask()
        assert not first.tell(trial, TrialState.COMPLETE, (0.1,))
        assert second.tell(mine, TrialState.COMPLETE, (0.9,))
        assert second.look(0).values == [0.9]
        assert not first.tell(trial, TrialState.COMPLETE, (0.1,))


def test_a_live_drivers_trials_are_left_alone_and_a_dead_ones_are_proposed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(storage, "GRACE_SECONDS", 1)
    with driver(tmp_path) as dead, driver(tmp_path) as live:
        trial = dead.ask()
        Space().suggest_design(trial)
        live.take_back_stale()
        assert states(live) == [TrialState.RUNNING]
        with dead.storage.engine.begin() as connection:  # two seconds without a heartbeat
            connection.exec_driver_sql(
                "UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-2 seconds')"
            )
        live.take_back_stale()
        assert states(live) == [TrialState.FAIL, TrialState.WAITING]
        again = live.ask()
        assert storage.seed_number(again) == 0
        assert Space().suggest_design(again).fingerprint == "59aea58c103e"


def test_a_queued_trial_goes_to_one_driver_only(tmp_path: Path) -> None:
    with driver(tmp_path) as first:
        for width in range(4, 16):
            first.study.enqueue_trial({"width_1": width})

    def ask(_: int) -> int:
        with driver(tmp_path) as each:
            return each.ask().number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(ask, range(13)))
    assert sorted(numbers) == list(range(13))


def test_a_design_in_training_on_another_driver_is_seen(tmp_path: Path) -> None:
    with driver(tmp_path) as first, driver(tmp_path) as second:
        elsewhere = first.ask()
        elsewhere.set_user_attr("identity", "59aea58c103e")
        mine = second.ask()
        found = second.claimed_before(mine, "59aea58c103e")
        assert found is not None
        assert found.number == 0
        assert second.claimed_before(mine, "another") is None
        assert first.claimed_before(elsewhere, "59aea58c103e") is None


def test_only_our_own_studies_are_loaded(tmp_path: Path) -> None:
    with opened_storage(sqlite_url(tmp_path)) as opened:
        with pytest.raises(UserError, match=r"study.db must hold one study, it holds 0"):
            storage.load_only_study(opened, "study.db")
        optuna.create_study(storage=opened, study_name="foreign")
        with pytest.raises(UserError, match="study 'foreign' was not started by python -m search"):
            storage.load_only_study(opened, "study.db")


def test_a_damaged_database_is_the_machines_fault_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database" * 100)
    with (
        pytest.raises(MachineError, match=r"study.db cannot be used \(.*not a database\)"),
        driver(tmp_path),
    ):
        pass


def test_no_password_is_told() -> None:
    url = "postgresql+psycopg://user:secret@127.0.0.1:1/none"
    with pytest.raises(MachineError) as fault, storage.storage_faults_told(url):
        raise optuna.exceptions.StorageInternalError("refused")
    assert str(fault.value).startswith("the study's database postgresql+psycopg cannot be used")
    assert "secret" not in str(fault.value)
