"""Search under rules of your own: fewer than 8,000 parameters and 16 epochs, 99.2 % accuracy.

    python examples/own_rules.py [trials] [epochs] [training images]

The last two make a try-out of it; without them each training is as long as the rules allow.
"""

from __future__ import annotations

import sys

from mnist_arch.rules import Rules
from search import ConfirmConfig, RunConfig, StudyConfig, confirm, search


def main(trials: int = 20, epochs: int | None = None, images: int | None = None) -> None:
    """Search, and confirm what passes on fresh seeds."""
    rules = Rules(parameter_limit=8_000, epoch_limit=16, target=0.992)
    config = StudyConfig(seed=1, rules=rules, epochs=epochs, train_images=images)
    run = RunConfig(study="own-rules", trials=trials, finalists=0)
    study = search(config, run).study
    print(study.trials[["trial", "state", "parameters", "validation_accuracy", "widths"]])
    if not study.leaderboard.empty:
        print(confirm(ConfirmConfig(run.folder, seeds=3)).study.tables["finalists"])


if __name__ == "__main__":  # the workers import this file: they must not search, too
    main(*map(int, sys.argv[1:]))
