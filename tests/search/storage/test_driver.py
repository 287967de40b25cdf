from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import TrialState

from search.record import NOT_TRIED, TRAINED, write_state
from search.space import Space
from search.storage import driver as driver_module
from search.storage import sqlite_url
from search.storage.driver import Driver, Known, seed_number
from tests.search.drivers import driver, states

if TYPE_CHECKING:
    from benchmarks.postgres import Server


def test_what_a_dead_driver_left_running_is_asked_again_as_it_was(url: str) -> None:
    with driver(url) as first:
        trial = first.ask()
        design = Space().suggest_design(trial)
        trial.report(0.5, 1)
    with driver(url) as second:
        assert second.take_back_all() == 1
        again = second.ask()
        assert (again.number, Space().suggest_design(again)) == (0, design)
        assert states(second) == [TrialState.RUNNING]


def test_a_driver_that_lost_a_trial_cannot_end_it(url: str) -> None:
    with driver(url) as first, driver(url) as second:
        trial = first.ask()
        second.take_back_all()
        mine = second.ask()
        assert not first.tell(trial, TrialState.COMPLETE, (0.1,))
        assert second.tell(mine, TrialState.COMPLETE, (0.9,))
        assert second.look(0).values == [0.9]
        assert not first.tell(trial, TrialState.COMPLETE, (0.1,))


def test_a_queued_trial_goes_to_one_driver_only(url: str) -> None:
    with driver(url) as first:
        for width in range(4, 16):
            first.study.enqueue_trial({"width_1": width})

    def ask(_: int) -> int:
        with driver(url) as each:
            return each.ask().number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(ask, range(13)))
    assert sorted(numbers) == list(range(13))


def pause(of: Driver, seconds: int) -> None:
    """Let so many seconds pass without a heartbeat, or a sign of life, of any trial."""
    server = of.storage.engine.dialect.name == "postgresql"
    for table, column in (("trial_heartbeats", "heartbeat"), ("trials", "datetime_start")):
        earlier = (
            f"{column} - interval '{seconds} seconds'"
            if server
            else f"datetime({column}, '-{seconds} seconds')"
        )
        with of.storage.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE {table} SET {column} = {earlier}")


def test_a_live_drivers_trials_are_left_alone_and_a_dead_ones_are_asked_again(url: str) -> None:
    with driver(url) as dead, driver(url) as live:
        trial = dead.ask()
        design = Space().suggest_design(trial)
        assert live.take_back_stale() == 0
        pause(live, driver_module.GRACE_SECONDS - 60)
        assert live.take_back_stale() == 0
        pause(live, 61)
        assert live.take_back_stale() == 1
        assert states(live) == [TrialState.WAITING]
        again = live.ask()
        assert (again.number, seed_number(again)) == (0, 0)
        assert Space().suggest_design(again) == design
        assert live.take_back_stale() == 0  # the old heartbeat is not taken for the new driver's
        assert not dead.tell(trial, TrialState.COMPLETE, (0.1,))
        assert live.tell(again, TrialState.COMPLETE, (0.9,))


def test_a_trial_whose_driver_died_before_its_first_heartbeat_is_taken_back(url: str) -> None:
    with driver(url) as live:
        live.study.ask()  # and here its driver was killed
        pause(live, driver_module.GRACE_SECONDS + 1)
        assert live.take_back_stale() == 1


def test_after_the_server_was_away_nobody_is_taken_for_dead(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with driver(url) as live:
        live.study.ask()
        pause(live, driver_module.GRACE_SECONDS + 1)
        monkeypatch.setattr(type(live.storage), "seconds_since_away", lambda _: 10.0)
        assert live.take_back_stale() == 0


def test_only_ones_own_trials_are_released(url: str) -> None:
    with driver(url) as first, driver(url) as second:
        mine, theirs = first.ask(), second.ask()
        assert first.tell(first.ask(), TrialState.COMPLETE, (0.1,))
        first.release([mine.number, theirs.number, 2])
        assert states(first) == [TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE]


def proposed(of: Driver, identity: str) -> Any:
    trial = of.ask()
    trial.set_user_attr("identity", identity)
    return trial


NOTHING = Known()


def admit(of: Driver, trial: Any, most: int = 2, known: Known = NOTHING) -> bool:
    return of.admit(trial, most, known, TRAINED)


def claim(of: Driver, trial: Any) -> int | None:
    return of.claim(trial, NOTHING, NOT_TRIED)


def test_never_more_are_admitted_than_are_asked_for(url: str) -> None:
    with driver(url) as first, driver(url) as second:
        one, two, three = proposed(first, "a"), proposed(second, "b"), proposed(second, "c")
        assert admit(first, one)
        assert admit(first, one)  # as often as it is asked
        assert admit(second, two)
        assert not admit(second, three)
        assert (first.elsewhere(), second.elsewhere()) == ((2, 1), (1, 1))
        write_state(one, "missed")
        assert first.tell(one, TrialState.COMPLETE, (0.9,))
        assert not admit(second, three)
        write_state(two, "broken")  # which is no training
        assert second.tell(two, TrialState.PRUNED)
        assert admit(second, three)


def test_what_is_known_for_good_is_not_read_again(url: str) -> None:
    with driver(url) as only:
        first = proposed(only, "a")
        write_state(first, "missed")
        only.tell(first, TrialState.COMPLETE, (0.9,))
        assert not admit(only, proposed(only, "b"), 1, Known(1, 1))
        assert admit(only, proposed(only, "c"), 2, Known(1, 1))


def test_a_trial_that_is_released_leaves_its_place(url: str) -> None:
    with driver(url) as first, driver(url) as second:
        mine, theirs = proposed(first, "a"), proposed(second, "b")
        assert admit(first, mine, 1)
        assert not admit(second, theirs, 1)
        first.release([mine.number])
        assert admit(second, theirs, 1)
        again = first.ask()
        assert again.number == mine.number
        assert not admit(first, again, 1)


@pytest.mark.parametrize(
    ("state", "told", "other"),
    [
        (None, None, 0),  # still in training
        ("missed", TrialState.COMPLETE, 0),
        ("broken", TrialState.PRUNED, 0),
        ("duplicate", TrialState.PRUNED, None),
        ("duplicate", TrialState.FAIL, None),
    ],
)
def test_a_design_is_trained_once(
    url: str, state: str | None, told: TrialState | None, other: int | None
) -> None:
    with driver(url) as first, driver(url) as second:
        theirs, mine = proposed(first, "a"), proposed(second, "a")
        assert claim(first, theirs) is None
        if state is not None:
            write_state(theirs, state)
            values = (0.9,) if told == TrialState.COMPLETE else None
            assert told is not None
            assert first.tell(theirs, told, values)
        assert claim(second, mine) == other


@pytest.mark.ci
@pytest.mark.slow
def test_many_drivers_at_once_are_admitted_exactly_as_many_as_asked_for(
    postgres: Server,
) -> None:
    url = postgres.fresh()
    with driver(url):
        pass

    def work(index: int) -> int:
        with driver(url) as each:
            trials = [proposed(each, f"{index} {number}") for number in range(4)]
            return sum(admit(each, trial, 7) for trial in trials)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 7


def test_many_drivers_with_one_design_train_it_once(postgres: Server) -> None:
    url = postgres.fresh()
    with driver(url):
        pass

    def work(_: int) -> int | None:
        with driver(url) as each:
            return claim(each, proposed(each, "the same"))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(8)))
    [trained] = [number for number, answer in enumerate(answers) if answer is None]
    assert len({answer for answer in answers if answer is not None}) == 1
    assert trained in range(8)


def test_an_end_that_was_told_but_not_heard_is_ours(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with driver(url) as only:
        trial = only.ask()
        tell = only.study.tell

        def twice(*arguments: Any, **options: Any) -> None:
            tell(*arguments, **options)
            tell(*arguments, **options)

        monkeypatch.setattr(only.study, "tell", twice)
        assert only.tell(trial, TrialState.COMPLETE, (0.5,))
        assert only.look(0).values == [0.5]


def test_other_work_is_done_by_one_driver_at_a_time(postgres: Server) -> None:
    url = postgres.fresh()
    with driver(url) as first, driver(url) as second:
        with first.shared_work() as mine, second.shared_work() as theirs:
            assert mine.claim("a")
            assert mine.claim("a")
            assert not theirs.claim("a")
            assert theirs.claim("b")
            mine.close()  # as when its driver dies
            assert theirs.claim("a")
            postgres.restart()
            assert theirs.claim("a")
            assert not mine.claim("a")
        with first.shared_work() as mine:
            assert mine.claim("a")


def test_a_file_has_one_driver_who_may_have_all_work(tmp_path: Path) -> None:
    with driver(sqlite_url(tmp_path)) as only, only.shared_work() as work:
        assert not work.is_shared
        assert work.claim("a")
