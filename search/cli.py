"""Cli: what every command line shares: its parser, and how it ends. Imports no torch."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TextIO

from mnist_arch.errors import MachineError, UserError
from search.names import did_you_mean

EXIT_DONE, EXIT_NO, EXIT_MISTAKE, EXIT_FAULT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
"""Exit statuses.

Done; the answer is no (a rule broken; nothing passed, or was confirmed where that was asked for);
the user's mistake; a fault of ours or of the machine; interrupted.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose messages name the option or the choice that may have been meant."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and what is near, and leave with status 2."""
        known = [name for action in self._actions for name in action.option_strings]
        if message.startswith("unrecognized arguments: "):
            word = message.split(": ", 1)[1].split()[0]
            message += did_you_mean(word.partition("=")[0], known)
        elif wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            message += did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2]))
        super().error(message)


def parser(verb: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser for `python -m search.<verb>` whose help ends with examples."""
    return _Parser(
        prog=f"python -m search.{verb}",
        description=description,
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


class Once(argparse.Action):
    """Stores a choice, and refuses another one beside it, where argparse would take the last."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - as argparse calls it
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        """Store the choice; an `argparse.ArgumentError` for a second one."""
        before = getattr(namespace, f"{self.dest} given", values)
        if before != values:
            raise argparse.ArgumentError(self, f"{before} and {values} given, must be one of them")
        setattr(namespace, self.dest, values)
        setattr(namespace, f"{self.dest} given", values)


def interrupt(*_: object) -> NoReturn:
    """A handler for signals: a polite kill keeps everything, as Ctrl-C does."""
    raise KeyboardInterrupt


def _hear_no_more() -> None:
    """A second Ctrl-C while Python ends changes nothing, the exit status neither."""
    with suppress(ValueError):  # outside the main thread
        signal.signal(signal.SIGINT, lambda *_: None)


class _Unbroken:
    """An output stream whose reader may leave: what is written then goes nowhere.

    So `python -m search.run | head` searches on, and a command's exit status stays its answer.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop the text if nobody reads it."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._leave()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop what nobody reads."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self) -> None:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a file
            os.dup2(nowhere.fileno(), self._stream.fileno())


def run_command(
    command: Callable[[list[str] | None], int], arguments: list[str] | None = None
) -> NoReturn:
    """Run a command line and leave with its exit status, by the table of exit statuses above.

    A user's mistake, or a fault of the machine, is one message on stderr without a traceback.
    """
    sys.stdout = _Unbroken(sys.stdout)
    with suppress(ValueError):  # outside the main thread
        signal.signal(signal.SIGTERM, interrupt)
    status = EXIT_FAULT
    try:
        status = command(arguments)
    except (UserError, MachineError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = EXIT_MISTAKE if isinstance(error, UserError) else EXIT_FAULT
    except KeyboardInterrupt:
        _hear_no_more()
        print("interrupted", file=sys.stderr)
        status = EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001 - whatever it is, it is a fault of ours
        traceback.print_exc()
        print("error: this is a fault of the program; finished trials are kept", file=sys.stderr)
    finally:
        _hear_no_more()
        sys.stdout.flush()
    sys.exit(status)
