"""Trouble: what goes wrong with storage and workers, turned into a message for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from sqlalchemy.exc import SQLAlchemyError

from mnist_arch.errors import UserError
from search.workers import DEATHS_IN_A_ROW, Event


@contextmanager
def storage_trouble_told(folder: Path) -> Iterator[None]:
    """Turn a database that cannot be used into a message for the user."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise UserError(_storage_message(folder, str(error.__cause__ or error))) from None


def _storage_message(folder: Path, detail: str) -> str:
    return (
        f"the study's database {folder / 'study.db'} cannot be used "
        f"({detail.splitlines()[0].strip()}); finished trials in it are kept. Free some disk "
        "space or mend the folder, then run the same command again"
    )


def raise_told(event: Event, folder: Path) -> None:
    """Raise the mistake or the error that a worker told; nothing for any other event."""
    if event.kind == "mistake":
        raise UserError(event.text)
    if event.kind == "error":
        if "StorageInternalError" in event.text or "sqlalchemy" in event.text:
            raise UserError(_storage_message(folder, event.text.splitlines()[-1]))
        raise RuntimeError(f"worker {event.worker} failed:\n{event.text}")


def require_survivors(deaths: int, event: Event) -> None:
    """Raise `UserError` after too many deaths of workers in a row."""
    if deaths >= DEATHS_IN_A_ROW:
        raise UserError(
            f"{deaths} workers died one after another (last: {event.text}), perhaps for lack of "
            "memory; what was finished is kept. Try --workers 1, then the same command"
        )
