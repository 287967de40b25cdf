"""Search: the first and the last lines of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from mnist_arch.datasets import VALIDATION_IMAGES
from search.config import StudyConfig
from search.formats import counted, duration, percent, points, standard_error
from search.goals import lengths
from search.record import TO_THE_END, TRAINED
from search.run_config import RunConfig
from search.statistics import expected_optimism
from search.tables import trials
from search.tables.answers import first_of_each
from search.tables.files import StudyTables
from search.terminal.console import command_line

if TYPE_CHECKING:
    from mnist_arch.engine import Engine


def opening(config: StudyConfig, run: RunConfig, engine: Engine, before: int) -> str:
    """The first lines of a run; `before` designs are trained already."""
    rules = config.rules
    notes = ["shortened: a try-out, not a result"] if config.is_shortened else []
    if config.selected_on_test:
        notes.append("validated on the test images, as the class does")
    limit = rules.parameter_limit
    below = f" and fewer than {limit:,} parameters" if limit is not None else ""
    lines = [
        f"Study {run.study!r}: {before} of {run.trials} designs trained so far; {engine.reason}.",
        f"A design passes with validation accuracy >= {percent(rules.target)} after "
        f"{_last_epoch(config)}{below}.",
        *config.about_data,
        *_looks_words(config),
        *([config.origin] if config.origin else []),
        *(f"Note: {note}." for note in notes),
    ]
    return "\n".join(lines)


def _last_epoch(config: StudyConfig) -> str:
    """When a full training ends."""
    least, most = lengths(config.goal, config.full_epochs)
    if least == most:
        return f"epoch {most}"
    return f"its last epoch (of {least} to {most})"


def _looks_words(config: StudyConfig) -> list[str]:
    """How designs are judged before they are trained in full."""
    _, most = lengths(config.goal, config.full_epochs)
    looks = [f"{look:g}" for look in config.look_lengths if look < most]
    if not looks:
        return []
    return [
        f"Goal {config.goal}: each design is looked at in short complete trainings "
        f"({', '.join(looks)} epochs); the best of each look go on to the next, "
        "the last ones to the full training."
    ]


def nothing_to_do(run: RunConfig, before: int) -> str:
    """What a run says that finds its study done."""
    return (
        f"study {run.study!r} already has {before} trained designs and --trials is {run.trials}: "
        "nothing to search.\nTo go on, give a larger --trials; to start afresh, another --study "
        f"NAME.\nTo see it: {command_line('show', run.folder)}"
    )


def closing(study: StudyTables, more_follows: bool) -> str:
    """The last block: how many passed, the best beside the baseline; files, unless more follows."""
    states = study.trials["state"].value_counts().to_dict()
    trained = sum(states.get(state, 0) for state in TRAINED)
    broken = f", {states['broken']} that the machine failed" if "broken" in states else ""
    lines = [
        "",
        f"{counted(trained, 'design')} trained: {trials.counts_in_words(states, TRAINED)}. "
        f"Not trained: {states.get('screened', 0):,} screened (after a short look at the most), "
        f"{counted(states.get('rejected', 0), 'proposal')} rejected by the rules, "
        f"{counted(states.get('duplicate', 0), 'duplicate')}{broken}.",
        *([study.config.origin] if study.config.origin else []),
        *_best_lines(study),
    ]
    if not more_follows:
        lines += [
            f"Files: {study.folder}: leaderboard.csv, trials.csv, epochs.csv, rejections.csv, "
            "study.json",
            f"Next:  {command_line('show', study.folder)}",
        ]
    return "\n".join(lines)


def _best_lines(study: StudyTables) -> list[str]:
    whole = study.trials[study.trials["state"].isin(TO_THE_END)]
    if whole.empty:
        return ["No design was trained to its last epoch yet."]
    lines = _named_lines(study)
    if study.leaderboard.empty:
        target = percent(study.config.rules.target)
        lines.append(f"No design reached {target}; a larger --trials may.")
    optimism = expected_optimism(whole["validation_accuracy"].tolist(), VALIDATION_IMAGES)
    lines.append(
        f"One seed each, judged after the last epoch; {standard_error(study.config.rules.target)}, "
        f"and the best of {len(whole)} is expected to look better than it is by about "
        f"{points(optimism or 0)} points (selection bias)."
    )
    if study.config.selected_on_test:
        lines.append("Validated on the test images: these figures are selected on the test set.")
    return lines


def _named_lines(study: StudyTables) -> list[str]:
    """The three answers, or the nearest miss, and the baseline where it is none of them."""
    first = first_of_each(study.leaderboard)
    named = {"Best": trials.nearest(study.trials, 1)["trial"].tolist()} if not first else {}
    for number in dict.fromkeys(first.values()):
        names = [name for name, trial in first.items() if trial == number]
        title = "Best" if len(names) == len(first) else ", ".join(names).capitalize()
        named[title] = [number]
    beside = trials.baseline(study.trials)
    met = [number for numbers in named.values() for number in numbers]
    named["Baseline"] = [number for number in beside["trial"] if number not in met]
    width = max(map(len, named)) + 1
    return [
        line
        for title, numbers in named.items()
        for line in _lines(
            f"{title + ':':<{width}}", study.trials[study.trials["trial"].isin(numbers)],
            "; the assignment's own design" if title == "Baseline" else "",
        )
    ]  # fmt: skip


def _lines(name: str, rows: pd.DataFrame, end: str) -> Sequence[str]:
    return [
        f"{name} trial {row['trial']}, validation {percent(row['validation_accuracy'])} after "
        f"epoch {row['epochs']}, {row['parameters']:,} parameters, {row['widths']}, "
        f"{duration(row['seconds'])}{end}"
        for row in trials.rows_of(rows)
    ]
