"""Choices: what a search chose in each design, and which of the choices mattered."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import create_trial
from scipy import stats

from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Dropout,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from search.formats import counted
from search.pages.answers import full, trained
from search.tables.files import StudyTables

optuna.logging.set_verbosity(optuna.logging.ERROR)

LEAST = 12
"""Designs that it takes to say anything of which choices mattered."""

Features = dict[str, int | float | str]


def features(design: Design) -> Features:
    """What was chosen in a design, by names that a reader knows."""
    convs = [layer for layer in design.layers if isinstance(layer, Conv)]
    widths = [conv.out_channels for conv in convs[:-1]] or [convs[-1].out_channels]
    rates = [layer.rate for layer in design.layers if isinstance(layer, Dropout)]
    pooled = any(isinstance(layer, AveragePool) for layer in design.layers)
    kinds = Counter(type(layer) for layer in design.layers)
    return {
        "convolutions": len(convs),
        "first width": widths[0],
        "largest width": max(widths),
        "last width": widths[-1],
        "pools": kinds[MaxPool] + kinds[LocalAveragePool],
        "without padding": sum(conv.padding == 0 and conv.kernel > 1 for conv in convs),
        "larger kernels": sum(conv.kernel > 3 for conv in convs),
        "1x1 convolutions": sum(conv.kernel == 1 for conv in convs),
        "depthwise convolutions": kinds[DepthwiseConv],
        "sums": kinds[Sum],
        "dropout layers": len(rates),
        "dropout rate": max(rates, default=0.0),
        "head": "average pool" if pooled else "convolution",
    }


def dropout_places(design: Design) -> frozenset[str]:
    """Where a design has dropout: `after conv 1`, `after pool 2`."""
    places: set[str] = set()
    counted: Counter[str] = Counter()
    here = "on the image"
    for layer in design.layers:
        if isinstance(layer, Dropout):
            places.add(here)
        elif isinstance(layer, Conv | DepthwiseConv | MaxPool | LocalAveragePool):
            noun = "conv" if isinstance(layer, Conv | DepthwiseConv) else "pool"
            counted[noun] += 1
            here = f"after {noun} {counted[noun]}"
    return frozenset(places)


def designs_of(table: pd.DataFrame) -> dict[int, Design]:
    """The designs of a table of trials, by trial; trials without one are left out."""
    if "design" not in table:
        return {}
    found = table[table["design"].notna()]
    return {
        int(trial): _design(text)
        for trial, text in zip(found["trial"], found["design"], strict=True)
    }


@lru_cache(20_000)
def _design(text: str) -> Design:
    return Design.from_dict(json.loads(text))


def measure(study: StudyTables) -> tuple[str, pd.Series[float]]:
    """What designs are compared by, in words, and its value (a share) by trial.

    The full training where enough designs had one; else the longest look, or the latest epoch of
    the trainings, that enough designs came to.
    """
    whole = full(study).set_index("trial")["validation_accuracy"].dropna()
    candidates = [("after the full training", whole), *_looks(study), *_epochs(study)]
    for words, values in candidates:
        if len(values) >= max(LEAST, len(trained(study)) // 3):
            return words, values
    return max(candidates, key=lambda candidate: len(candidate[1]))


def look_columns(study: StudyTables) -> list[tuple[float, str]]:
    """The study's looks: epochs and the column of their accuracy, longest first."""
    columns = map(str, study.trials.columns)
    names = [c for c in columns if c.startswith("look_") and c.endswith("_accuracy")]
    lengths = [(float(name.split("_")[1]), name) for name in names]
    return sorted(lengths, reverse=True)


def _looks(study: StudyTables) -> list[tuple[str, pd.Series[float]]]:
    table = study.trials.set_index("trial")
    return [
        (f"after the look of {counted(epochs, 'epoch')}", table[column].dropna())
        for epochs, column in look_columns(study)
    ]


def _epochs(study: StudyTables) -> list[tuple[str, pd.Series[float]]]:
    """Accuracies in the middle of trainings: all that studies without looks have."""
    table = study.tables["epochs"]
    if "look" in table or table.empty:
        return []
    return [
        (
            f"after epoch {epoch}, in the middle of the training",
            table[table["epoch"] == epoch].set_index("trial")["validation_accuracy"],
        )
        for epoch in (9, 3, 1)
    ]


def early_measures(study: StudyTables) -> list[tuple[str, pd.Series[float]]]:
    """What designs were judged by before their full training, in words, and its values by trial."""
    length = study.config.full_epochs
    shorter = [(e, c) for e, c in look_columns(study) if e < length]
    table = study.trials.set_index("trial")
    found = [
        (f"look of {counted(epochs, 'epoch')}", table[column].dropna())
        for epochs, column in shorter
    ]
    return found or _epochs(study)


def as_optuna(study: StudyTables) -> tuple[optuna.Study, str]:
    """A study in memory whose parameters are the designs' features, for Optuna's own plots.

    Also says what its values, shares, are. Features that never vary are left out.
    """
    words, values = measure(study)
    designs = designs_of(study.trials)
    rows = {trial: features(designs[trial]) for trial in values.index if trial in designs}
    distributions = _distributions(list(rows.values()))
    made = optuna.create_study(direction="maximize")
    made.add_trials(
        [
            create_trial(
                params={name: row[name] for name in distributions},
                distributions=distributions,
                value=float(values[trial]),
            )
            for trial, row in rows.items()
        ]
    )
    return made, words


def _distributions(rows: list[Features]) -> dict[str, BaseDistribution]:
    found: dict[str, BaseDistribution] = {}
    for name in rows[0] if rows else ():
        values: list[Any] = [row[name] for row in rows]
        if len(set(values)) < 2:
            continue
        if isinstance(values[0], str):
            found[name] = CategoricalDistribution(sorted(set(values)))
        elif any(isinstance(value, float) for value in values):
            found[name] = FloatDistribution(min(values), max(values))
        else:
            found[name] = IntDistribution(min(values), max(values))
    return found


def evaluator() -> PedAnovaImportanceEvaluator:
    """PED-ANOVA (Watanabe et al., arXiv:2304.10255): what the best fifth has in common."""
    return PedAnovaImportanceEvaluator(target_quantile=0.2)


def dropout_effects(study: StudyTables) -> pd.DataFrame:
    """For each place: the mean accuracy with dropout less that without it, 95 % interval.

    Columns `place`, `with_dropout`, `without`, `difference`, `low`, `high` (shares; Welch's t).
    Only designs that have the place are compared, three or more on each side.
    """
    _, values = measure(study)
    designs = {t: d for t, d in designs_of(study.trials).items() if t in values.index}
    places = {trial: dropout_places(design) for trial, design in designs.items()}
    have = {trial: _all_places(design) for trial, design in designs.items()}
    rows = []
    for place in sorted(set().union(*places.values())) if places else []:
        having = [trial for trial in designs if place in have[trial]]
        on = [values[trial] for trial in having if place in places[trial]]
        off = [values[trial] for trial in having if place not in places[trial]]
        if min(len(on), len(off)) >= 3 and np.ptp([*on, *off]) > 0:
            low, high = stats.ttest_ind(on, off, equal_var=False).confidence_interval()
            difference = float(np.mean(on) - np.mean(off))
            rows.append((place, len(on), len(off), difference, float(low), float(high)))
    return pd.DataFrame(
        rows, columns=["place", "with_dropout", "without", "difference", "low", "high"]
    )


def _all_places(design: Design) -> frozenset[str]:
    """Every place of a design where dropout could stand."""
    convs = sum(isinstance(layer, Conv | DepthwiseConv) for layer in design.layers)
    pools = sum(isinstance(layer, MaxPool | LocalAveragePool) for layer in design.layers)
    return frozenset(
        [f"after conv {n + 1}" for n in range(convs - 1)]
        + [f"after pool {n + 1}" for n in range(pools)]
    )
