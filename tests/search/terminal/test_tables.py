"""What is printed: whole numbers and names in any window, curves, colour where it is wanted."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from mnist_arch.epochs import EpochRecord
from search.terminal.console import print_table
from search.terminal.progress import SearchProgress
from search.terminal.spark import BLOCKS, spark
from tests.search.commands import ROOT, run
from tests.search.studies import small, trial

NUMBERS = ("82,944", "1,975,860", "0123456789ab")


def printed(width: int, terminal: bool) -> str:
    table = Table()
    for name in ("one", "two", "three"):
        table.add_column(name, no_wrap=True)
    table.add_column("design", overflow="fold")
    table.add_row(*NUMBERS, "10 10 M 20 20 M 20v 30v")
    target = io.StringIO()
    console = Console(file=target, width=width, force_terminal=terminal, color_system=None)
    print_table(console, table)
    return target.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_cuts_no_number_and_no_name(width: int, terminal: bool) -> None:
    text = printed(width, terminal)
    assert "…" not in text
    for number in NUMBERS:
        assert number in text
    if not terminal:
        assert "10 10 M 20 20 M 20v 30v" in text


def test_a_wide_window_is_not_filled_and_a_fitting_one_is_kept() -> None:
    assert max(map(len, printed(200, True).splitlines())) < 80
    assert max(map(len, printed(60, True).splitlines())) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("design", "assignment"), ("results/first-light",)])
def test_piped_commands_cut_nothing_however_narrow(arguments: tuple[str, ...]) -> None:
    import os
    import subprocess

    from tests.search.commands import command, environment

    narrow = {**environment(), "COLUMNS": "20"}
    shown = subprocess.run(
        command("show", *arguments), cwd=ROOT, env=narrow, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    assert "…" not in shown.stdout
    assert ("1,975,860" if "design" in arguments else "13,748") in shown.stdout
    assert "\x1b[" not in shown.stdout
    assert os.environ.get("COLUMNS") != "20"


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        monkeypatch.setenv("TERM", "xterm-256color")
        target = io.StringIO()
        Console(file=target, force_terminal=True).print("[red]refused[/red]")
        assert ("\x1b[31m" in target.getvalue()) == coloured


def test_a_spark_rises_from_low_to_high() -> None:
    assert spark([0.0, 0.5, 1.0], 0, 1) == BLOCKS[0] + BLOCKS[4] + BLOCKS[-1]
    assert spark([-5, 9], 0, 1) == BLOCKS[0] + BLOCKS[-1]
    assert spark([0.1] * 40, 0, 1, 7) == BLOCKS[1] * 7
    assert spark([], 0, 1) == ""
    with pytest.raises(ValueError, match="high must be above low, got 1 and 1"):
        spark([0.5], 1, 1)


def test_the_running_table_says_how_far_the_best_is_from_the_target() -> None:
    from types import SimpleNamespace

    target = io.StringIO()
    console = Console(file=target, width=160)
    progress = SearchProgress(console, 10, True, 0.994)
    console.print(progress._summary({"passed": 0}))
    assert "target 99.40 %" in target.getvalue()
    progress.finished(trial(3, small(4), 0.9953), 1)
    console.print(progress._summary({"passed": 1}))
    assert "best 99.53 % (trial 3), +0.13 to the target" in target.getvalue()
    epochs = [EpochRecord(n + 1, 0.1, 0.5, 0.9, 0.4, 0.97 + n * 0.012, 1, 1, 1) for n in range(3)]
    running = SimpleNamespace(
        design=small(4), epochs=epochs, budget=SimpleNamespace(epochs=19),
        trial=SimpleNamespace(number=7),
    )  # fmt: skip
    console.print(progress._running([running]))  # type: ignore[list-item]
    last = target.getvalue().splitlines()[-1]
    assert re.search(rf"7 +3/19 +99.40 % +[{BLOCKS}]{{2}}█ ", last)


def test_completion_knows_every_verb_and_option() -> None:
    shown = run(ROOT, "completion", "bash")
    assert shown.returncode == 0
    for word in ("doctor", "--parameter-limit", "--picture", "--no-report", "completion"):
        assert word in shown.stdout
    assert "did you mean bash?" in run(ROOT, "completion", "bahs").stderr
