"""Words: a study's rules, protocol and commands in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnist_arch.datasets import HOLDOUT_TRAIN_IMAGES, TRAIN_IMAGES
from search.config import StudyConfig
from search.formats import duration, percent
from search.goals import GOALS, lengths


def rules_in_words(config: StudyConfig) -> list[str]:
    """What a design must keep, and how it is trained and judged, a sentence each."""
    rules = config.rules
    said = []
    if rules.parameter_limit is not None:
        said.append(f"A design has fewer than {rules.parameter_limit:,} parameters in all.")
    if rules.epoch_limit is not None:
        said.append(f"A training has fewer than {rules.epoch_limit} epochs.")
    said.append("No layer is fully connected" + (", nor computes what one does." * rules.strict))
    said[-1] = said[-1].rstrip(".") + "."
    said.append(
        f"A design passes when its validation accuracy after the last of its {_epochs(config)} "
        f"epochs is at least {percent(rules.target)}; the best epoch is never chosen."
    )
    if config.schedule == "looks" and config.looks:
        looks = ", ".join(f"{look:g}" for look in config.looks)
        said.append(
            f"Each design is first looked at in short complete trainings ({looks} epochs), each "
            "from fresh weights; the better ones go on to the next, the best to the full training."
        )
    goal = GOALS.get(config.goal)
    if goal is not None:
        said.append(f"The leaderboard is ordered by {goal.words}.")
    return [*said, *config.about_data, *_protocol(config)]


def _epochs(config: StudyConfig) -> str:
    """How long a full training is, in words."""
    least = most = config.full_epochs
    if config.goal in GOALS:
        least, most = lengths(config.goal, most)
    return f"{most}" if least == most else f"{least} to {most}"


def _protocol(config: StudyConfig) -> list[str]:
    if config.selected_on_test:
        return [
            f"Fitted on {config.train_images or TRAIN_IMAGES:,} training images, validated on the "
            "10,000 test images: the class's way, which looks at the test images to choose."
        ]
    images = config.train_images or HOLDOUT_TRAIN_IMAGES
    return [
        f"The search fits {images:,} training images and validates on 10,000 others; it never "
        "sees the test images.",
        f"Confirmation trains anew on {config.train_images or TRAIN_IMAGES:,} images with fresh "
        "seeds, the same for every design, and judges each run once, after its last epoch.",
        f"Everything random follows from the study's seed, {config.seed}.",
    ]


def runs_in_words(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Each command of a study, with its machine, commit and duration in words."""
    kinds = {"runs": "search", "confirmations": "confirmation"}
    return [
        _run(run, kind)
        for key, kind in kinds.items()
        for run in document.get(key) or ()
        if isinstance(run, Mapping)
    ]


def _run(run: Mapping[str, Any], kind: str) -> dict[str, str]:
    machine = run.get("hardware") or {}
    versions = run.get("versions") or {}
    gpu = machine.get("accelerator")
    parts = [
        kind,
        f"started {run['started']}" if "started" in run else "",
        f"took {duration(run['seconds'])}" if isinstance(run.get("seconds"), int | float) else "",
        f"{gpu}" if gpu else "",
        f"{machine.get('cores', '?')} cores of {machine.get('processor', 'an unknown processor')}",
        f"{run['workers']} workers" if "workers" in run else "",
        f"engine {run.get('engine', 'unknown')}",
        f"commit {run.get('commit', 'unknown')}",
        f"torch {versions['torch']}" if "torch" in versions else "",
        f"Optuna {versions['optuna']}" if "optuna" in versions else "",
    ]
    return {
        "command": str(run.get("command", "unknown")),
        "words": ", ".join(part for part in parts if part) + ".",
    }
