"""Summary: what a search says of itself in words, and what is written down of a command's run."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_arch.data import VALIDATION_IMAGES
from mnist_arch.engine import Engine
from search import facts
from search.confirmation.statistics import expected_optimism
from search.describe import design_cells
from search.formats import STANDARD_ERROR, duration, percent, points
from search.record import TO_THE_END, TRAINED, TrialRecord, baseline_of
from search.settings import Settings

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def run_facts(options: argparse.Namespace, engine: Engine, verb: str) -> dict[str, Any]:
    """What is written down of one run of a command: command, machine, versions, commit."""
    arguments = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in sorted(vars(options).items())
    }
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"python -m search.{verb} {shlex.join(sys.argv[1:])}",
        "arguments": arguments,
        "engine": engine.name,
        "device": engine.device,
        "hardware": facts.hardware(engine.device),
        "versions": facts.versions(),
        "commit": facts.commit(),
    }


def opening(options: argparse.Namespace, settings: Settings, engine: Engine, before: int) -> str:
    """The first lines of a run."""
    rules = settings.rules
    marks = [] if not settings.is_trial_run else ["shortened: a try-out, not a result"]
    if settings.selected_on_test:
        marks.append("validated on the test images, as the class does")
    lines = [
        f"Study {options.study!r}: {before} of {options.trials} designs trained so far; "
        f"{engine.reason}.",
        f"A design passes with validation accuracy >= {percent(rules.target)} after epoch "
        f"{settings.epochs} and fewer than {rules.parameter_limit:,} parameters.",
        *(f"Note: {mark}." for mark in marks),
    ]
    return "\n".join(lines)


def best_so_far(trained: Sequence[FrozenTrial]) -> str:
    """The best validation accuracy after a last epoch, in a few words."""
    done = [t for t in trained if t.user_attrs["state"] in TO_THE_END]
    values = [(t.value, -t.number) for t in done if t.value is not None]
    if not values:
        return ""
    value, number = max(values)
    return f"best {percent(value)} (trial {-number})"


def closing(
    records: Sequence[TrialRecord], folder: Path, settings: Settings, more_follows: bool
) -> str:
    """The last block: how many passed, the best beside the baseline; files, unless more follows."""
    states = Counter(record.state for record in records)
    trained = sum(states[state] for state in TRAINED)
    parts = ", ".join(f"{states[state]} {state}" for state in TRAINED)
    lines = [
        "",
        f"{trained} designs trained: {parts}. Not trained: {states['rejected']} proposals "
        f"rejected by the rules, {states['repeat']} repeats.",
        *_best_lines(records, settings),
    ]
    if not more_follows:
        lines += [
            f"Files: {folder}: leaderboard.csv, trials.csv, epochs.csv, rejections.csv, study.json",
            f"Next:  python -m search.show {folder}",
        ]
    return "\n".join(lines)


def _best_lines(records: Sequence[TrialRecord], settings: Settings) -> list[str]:
    done = [record for record in records if record.state in TO_THE_END]
    if not done:
        return ["No design was trained to its last epoch yet."]
    best = max(done, key=lambda record: (record.epochs[-1].validation_accuracy, -record.number))
    lines = [f"Best:  {_one_line(best)}"]
    baseline = baseline_of(records)
    if baseline is not None and baseline is not best:
        lines.append(f"Seed:  {_one_line(baseline)}; the assignment's own design")
    if best.state == "missed":
        lines.append(f"No design reached {percent(settings.rules.target)}; a larger --trials may.")
    flattery = expected_optimism(
        [record.epochs[-1].validation_accuracy for record in done], VALIDATION_IMAGES
    )
    lines.append(
        f"One seed each, judged after the last epoch; {STANDARD_ERROR}, and the best of "
        f"{len(done)} is expected to flatter by about {points(flattery or 0)}."
    )
    if settings.selected_on_test:
        lines.append("Validated on the test images: these figures are selected on the test set.")
    return lines


def _one_line(record: TrialRecord) -> str:
    assert record.design is not None
    cells = design_cells(record.design)
    seconds = sum(epoch.seconds for epoch in record.epochs)
    return (
        f"trial {record.number}, validation {percent(record.epochs[-1].validation_accuracy)} after "
        f"epoch {record.epochs[-1].epoch}, {cells['parameters']:,} parameters, "
        f"{cells['widths']}, {duration(seconds)}"
    )
