"""Contained: foreign code in a process of its own, whose hanging, crashing and noise end there.

This contains accidents, it is no sandbox: the code runs with the user's rights.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from mnist_arch.errors import UserError

MEMORY_LIMIT = 8 * 2**30
"""Bytes that foreign code may take while it is inspected, where the system can limit them."""

Event = dict[str, Any]
Send = Callable[[Event], None]


def contained(work: str, request: object, seconds: float) -> Generator[Event, None, None]:
    """Run `work(request, send)` in a process of its own and yield what it sends.

    `work` is `module:function`, so that this process need not import what that one does. The
    events `{"phase": text}` say what it is at and are not yielded; until the first other event it
    has `seconds`. Raises `UserError` when the time is up, when the process dies and when the work
    raises one. The process, and what it has started, is gone when the generator is closed.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_live, args=(theirs, work, request), daemon=True)
    process.start()
    theirs.close()
    try:
        yield from _listen(process, ours, seconds)
    finally:
        _end(process)
        ours.close()


def _listen(
    process: SpawnProcess, connection: Connection, seconds: float
) -> Generator[Event, None, None]:
    phase, deadline = "starting", time.monotonic() + seconds
    limited = True
    while True:
        left = max(deadline - time.monotonic(), 0) if limited else None
        if not wait([connection, process.sentinel], left):
            raise UserError(
                f"{phase} took longer than {seconds:g} seconds and was stopped; "
                "give more with --time-limit SECONDS, or look for an endless loop"
            )
        event = _next_event(process, connection, phase)
        if "phase" in event:
            phase = event["phase"]
        elif "mistake" in event:
            raise UserError(event["mistake"])
        elif "error" in event:
            raise RuntimeError(event["error"])
        elif "end" in event:
            return
        else:
            limited = False
            yield event


def _next_event(process: SpawnProcess, connection: Connection, phase: str) -> Event:
    """The next event; raises `UserError` if the process died instead."""
    try:
        if connection.poll():
            event: Event = json.loads(connection.recv_bytes())
            return event
    except (EOFError, OSError, ValueError):
        pass
    process.join(5)
    status = process.exitcode
    told = f"exit status {status}"
    if status is not None and status < 0:
        told = f"signal {signal.Signals(-status).name}"
    raise UserError(f"{phase} ended the process ({told}); the code crashes or leaves with an exit")


def _end(process: SpawnProcess) -> None:
    """End a process and whatever it has started."""
    if os.name == "posix" and process.pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _live(connection: Connection, work: str, request: object) -> None:
    """The life of the process."""
    if os.name == "posix":
        os.setsid()  # Ctrl-C is for the parent, which ends this whole group
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _silence()

    def send(event: Event) -> None:
        connection.send_bytes(json.dumps(event).encode())

    try:
        limit_memory(MEMORY_LIMIT)
        module, _, function = work.partition(":")
        getattr(importlib.import_module(module), function)(request, send)
        send({"end": True})
    except UserError as error:
        send({"mistake": str(error)})
    except BaseException:  # noqa: BLE001 - the parent raises it
        send({"error": traceback.format_exc()})
    connection.close()
    os._exit(0)  # foreign threads and exit handlers keep nobody waiting


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _silence() -> None:
    """Send what this process prints nowhere, by whatever way it prints."""
    sys.stdout.flush()
    with open(os.devnull, "r+") as nowhere:  # noqa: PTH123 - a device, not a file
        for stream in (0, 1, 2):
            os.dup2(nowhere.fileno(), stream)


def limit_memory(limit: int | None) -> None:
    """Limit the memory that this process may take, in bytes; None takes the limit off."""
    if os.name != "posix":
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = hard if limit is None else limit
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
