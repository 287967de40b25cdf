"""Dashboard: optuna-dashboard beside a search, on this machine alone, until the search ends."""

from __future__ import annotations

import copy
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from mnist_arch.errors import UserError

LONG = ("design", "epochs", "identity", "rejections", "recipe")
"""Attributes of a trial that the dashboard leaves out."""

HOST, FIRST_PORT = "127.0.0.1", 8080


def require_dashboard() -> None:
    """Raise `UserError` where optuna-dashboard is not installed."""
    if find_spec("optuna_dashboard") is None:
        raise UserError(
            "--dashboard: optuna-dashboard is not installed; pip install -e '.[dashboard]'"
        )


@contextmanager
def dashboard(url: str, tell: Callable[[str], object]) -> Iterator[str]:
    """Serve a study's storage on the loopback address while the block runs; yields the address.

    The process gets the storage's URL, which may hold a password, through a pipe.
    """
    port = free_port()
    address = f"http://{HOST}:{port}/"
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(url, port), daemon=True, name="dashboard")
    process.start()
    tell(f"Dashboard: {address} (on this machine only, until the search ends)")
    try:
        yield address
    finally:
        process.terminate()
        process.join(10)


def free_port(first: int = FIRST_PORT) -> int:
    """The first free port from 8080 on, or any where the next hundred are taken."""
    for port in (*range(first, first + 100), 0):
        with suppress(OSError), socket.socket() as tried:
            tried.bind((HOST, port))
            return int(tried.getsockname()[1])
    raise UserError("--dashboard: no port is free on this machine")


def _serve(url: str, port: int) -> None:
    """Serve until this process, or the search that started it, is ended."""
    import signal
    import threading

    from optuna_dashboard import run_server

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the search's, which ends this process
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # its log would stand between the search's lines
    os.dup2(nowhere, 2)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    run_server(ShortTrials(url), host=HOST, port=port)


class ShortTrials(RDBStorage):
    """A storage as the dashboard shows it: trials in short, each with its constraints.

    Optuna 5 keeps a constraint under its name; the dashboard reads one list of them. What only the
    program reads (a design's JSON, every epoch) is left out: `network` says it in words.
    """

    def get_all_trials(self, *arguments: Any, **options: Any) -> list[FrozenTrial]:
        """As `RDBStorage`, in short."""
        return [_short(trial) for trial in super().get_all_trials(*arguments, **options)]


def _short(trial: FrozenTrial) -> FrozenTrial:
    shown = copy.copy(trial)
    kept = {key: value for key, value in trial.user_attrs.items() if key not in LONG}
    shown.user_attrs = kept
    system = trial.system_attrs
    named = [value for key, value in system.items() if key.startswith("constraints:")]
    shown.system_attrs = {"constraints": named, **system}
    return shown


def _end_with(parent: int) -> None:
    """End this process soon after its parent."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
