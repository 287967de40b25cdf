"""What the tests of the search share: a handful of digits and a study in a folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
import torch

from mnist_arch.data import Digits, holdout, load, stratified
from search import searching
from search.executors import EXECUTORS
from search.storage import sqlite_url
from tests.search.instant import Instant
from tests.search.studies import started

if TYPE_CHECKING:
    from benchmarks.postgres import Server


@pytest.fixture(scope="session")
def some_digits() -> tuple[Digits, Digits]:
    """A hundred digits to fit and fifty to validate, from the packaged files."""
    fit, validation = holdout(load("train"))
    return fit.take(stratified(fit, 100, 0)[0]), validation.take(stratified(validation, 50, 0)[0])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """Commands that are run here leave handlers of signals behind, made for their own end."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches in tests end without their page, which takes seconds; its own tests make it."""
    monkeypatch.setattr(searching, "report_after", lambda *_: None)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[optuna.Study]:
    """A study that has just been started, on SQLite as in real life."""
    with started(tmp_path) as study:
        yield study


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> Instant:
    """An executor that trains nothing, under the name `instant`."""
    executor = Instant()
    monkeypatch.setitem(EXECUTORS, "instant", lambda *_: executor)
    return executor


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database, on each kind of storage."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path)
        return
    running: Server = request.getfixturevalue("postgres")
    with running.for_a_while() as database:
        yield database


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported small network; only to be read."""
    from tests.search.small_export import export_small, quick

    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        return export_small(folder, folder / "small")
