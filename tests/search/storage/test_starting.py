from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from mnist_arch.design import Design
from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE, REFERENCE_DESIGNS
from mnist_arch.rules import Rules
from search.space import Space
from search.storage import opened_storage, sqlite_url, starting
from search.storage.starting import GIVEN_DESIGN, start_study
from tests.search.drivers import CONFIG, driver, start

if TYPE_CHECKING:
    from benchmarks.postgres import Server


def test_a_new_study_queues_the_assignments_design_once(url: str) -> None:
    for _ in range(2):
        with driver(url) as opened:
            waiting = opened.study.get_trials(states=(TrialState.WAITING,))
            fixed = [trial.system_attrs["fixed_params"] for trial in waiting]
            assert fixed == [Space().first_params()]


def test_a_kill_between_the_settings_and_the_queue_loses_no_baseline(url: str) -> None:
    with opened_storage(url) as opened:
        study = optuna.create_study(storage=opened, study_name="test", direction="maximize")
        study.set_user_attr("settings", CONFIG.to_dict())  # and here it was killed
    with driver(url) as after:
        given = Design.from_dict(after.ask().user_attrs[GIVEN_DESIGN])
        assert given.fingerprint == "59aea58c103e"


EARLIER = {
    "proposals": [
        {"trial": 40, "params": {"blocks": 4}},
        {"trial": 7, "params": {"blocks": 5}},
    ],
    "pairs": [],
}


def test_a_kill_within_the_queue_loses_no_proposal_and_doubles_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken from an earlier study is kept: the second start is given none of it."""
    enqueue, config = optuna.Study.enqueue_trial, replace(CONFIG, warm_start="before 0123456789ab")

    def killed_at_the_second(study: optuna.Study, *given: Any, **more: Any) -> None:
        if study.get_trials(deepcopy=False):
            raise KeyboardInterrupt
        enqueue(study, *given, **more)

    with opened_storage(sqlite_url(tmp_path)) as opened:
        monkeypatch.setattr(optuna.Study, "enqueue_trial", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            start(opened, config, earlier=EARLIER)
        monkeypatch.undo()
        for _ in range(2):
            waiting = start(opened, config).get_trials(states=(TrialState.WAITING,))
            first, *others = [trial.system_attrs["fixed_params"] for trial in waiting]
            assert (first, others) == (Space().first_params(), [{"blocks": 4}, {"blocks": 5}])
            assert [trial.user_attrs.get("from_trial") for trial in waiting] == [None, 40, 7]


def test_the_user_s_own_designs_come_after_the_baseline_and_before_all_others(
    tmp_path: Path,
) -> None:
    own = [REFERENCE_DESIGNS["published-4392"], REFERENCE_DESIGNS["published-7758"]]
    first = [Space().first_params(), {"blocks": 3}]
    with opened_storage(sqlite_url(tmp_path)) as opened:
        for _ in range(2):  # the second time there is nothing to add
            study = start_study(
                opened, "test", CONFIG, ("maximize",), RandomSampler(0), first, EARLIER, own
            )
        found = [(t.system_attrs["fixed_params"], t.user_attrs) for t in study.get_trials()]
    assert found == [
        (Space().first_params(), {"given_design": BASELINE.to_dict()}),
        ({}, {"own_design": own[0].to_dict()}),
        ({}, {"own_design": own[1].to_dict()}),
        ({"blocks": 3}, {}),
        ({"blocks": 4}, {"from_trial": 40}),
        ({"blocks": 5}, {"from_trial": 7}),
    ]


def test_a_study_refuses_other_settings_and_names_them(url: str) -> None:
    with driver(url):
        pass
    other = replace(CONFIG, epochs=3, rules=Rules(strict=True))
    with pytest.raises(UserError) as refusal, driver(url, other):
        pass
    assert str(refusal.value) == (
        "study 'test' was started under other settings: epochs was 2, now 3; rules.strict was "
        "False, now True. Give the settings it was started with, or start another with "
        "--study NAME"
    )


def test_a_study_refuses_other_data(url: str) -> None:
    with driver(url) as opened:
        settings = opened.study.user_attrs["settings"]
        opened.study.set_user_attr("settings", {**settings, "data_md5": "another"})
    with pytest.raises(UserError, match="data_md5 was 'another', now '6bbc9ace"), driver(url):
        pass


def test_a_study_of_before_there_were_schedules_goes_on(url: str) -> None:
    old = {
        name: value
        for name, value in CONFIG.to_dict().items()
        if name not in ("version", "goal", "sampler", "schedule", "looks")
    }
    with opened_storage(url) as opened:
        study = optuna.create_study(storage=opened, study_name="test", direction="maximize")
        study.set_user_attr("settings", {**old, "pruning": True})
    with driver(url) as after:
        assert starting.identity_of(after.study) == CONFIG.identity("test")


def test_only_our_own_studies_are_loaded(url: str) -> None:
    with opened_storage(url) as opened:
        with pytest.raises(UserError, match=r"study.db must hold one study, it holds 0"):
            starting.load_study(opened, "study.db")
        optuna.create_study(storage=opened, study_name="foreign")
        with pytest.raises(UserError, match="study 'foreign' was not started by python -m search"):
            starting.load_study(opened, "study.db")


def test_several_drivers_that_start_a_study_at_once_queue_its_baseline_once(
    postgres: Server,
) -> None:
    url = postgres.fresh()

    def begin(_: int) -> str:
        with driver(url) as each:
            return str(each.study.user_attrs["token"])

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(begin, range(6)))) == 1
    with driver(url) as after:
        assert len(after.study.get_trials()) == 1


def test_a_server_holds_many_studies_each_found_by_its_name(postgres: Server) -> None:
    with opened_storage(postgres.fresh()) as opened:
        for name, seed in (("one", 1), ("two", 2)):
            start(opened, replace(CONFIG, seed=seed), name)
        study, config = starting.load_study(opened, "the server", "two")
        assert (study.study_name, config.seed) == ("two", 2)
        with pytest.raises(UserError, match="the server must hold one study, it holds 0"):
            starting.load_study(opened, "the server", "three")
