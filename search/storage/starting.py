"""Starting: a study in a storage, started under its choices, or found again with them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
import sqlalchemy
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage

from mnist_arch.datasets import SPLIT_SEED
from mnist_arch.design import Design
from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from search import space
from search.config import StudyConfig
from search.goals import Direction
from search.record import OWN_DESIGN

GIVEN_DESIGN = "given_design"
"""The attribute of a queued trial that says its design as it is; its parameters stand near it."""

EARLIER = "earlier"
"""The attribute of a study that holds what it took from an earlier one, see `search.warm_start`."""

OWN_DESIGNS = "own_designs"
"""The attribute of a study that holds the designs that the user gave, to be tried first."""

FROM_TRIAL = "from_trial"
"""The attribute of a queued trial that says which trial of the earlier study proposed the same."""


def start_study(
    storage: RDBStorage,
    name: str,
    config: StudyConfig,
    directions: tuple[Direction, ...],
    sampler: BaseSampler,
    first_proposals: Sequence[dict[str, Any]],
    earlier: Mapping[str, Any] | None = None,
    designs: Sequence[Design] = (),
) -> optuna.Study:
    """Start a study, or continue one that was started under the same choices.

    A new study has `first_proposals` in its queue, in place of the first of them the assignment's
    own design, to which its parameters stand nearest; behind it the user's own `designs`, then the
    other first proposals, then those of `earlier`, where it learns from an earlier study. Several
    drivers may start it at the same time. Raises `UserError` naming every choice that differs from
    those that it was started with.
    """
    with _alone(storage):
        study = _started(storage, name, config, directions, sampler, earlier, designs)
        _queue(study, first_proposals)
        return study


@contextmanager
def _alone(storage: RDBStorage) -> Iterator[None]:
    """Let one driver at a time start a study on a server; a file has one driver only."""
    if storage.engine.dialect.name == "sqlite":
        yield
        return
    with storage.engine.begin() as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(6062)"))
        yield


def _started(
    storage: RDBStorage,
    name: str,
    config: StudyConfig,
    directions: tuple[Direction, ...],
    sampler: BaseSampler,
    earlier: Mapping[str, Any] | None,
    designs: Sequence[Design],
) -> optuna.Study:
    study = optuna.create_study(
        storage=storage, study_name=name, directions=list(directions), load_if_exists=True,
        sampler=sampler,
    )  # fmt: skip
    before = study.user_attrs.get("settings")
    if before is None:
        if earlier is not None:
            study.set_user_attr(EARLIER, earlier)
        if designs:
            study.set_user_attr(OWN_DESIGNS, [design.to_dict() for design in designs])
        study.set_user_attr("id", config.identity(name))
        study.set_user_attr("token", uuid.uuid4().hex)
        study.set_user_attr("settings", {**config.to_dict(), **_foundations(config)})
    else:
        _require_same(name, before, config)
    return study


def _queue(study: optuna.Study, first_proposals: Sequence[dict[str, Any]]) -> None:
    """Queue a study's first proposals, those that are missing: after a kill in between, too."""
    baseline, *others = first_proposals
    taken = study.user_attrs.get(EARLIER, {}).get("proposals", [])
    queue: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (baseline, {GIVEN_DESIGN: BASELINE.to_dict()}),
        *(({}, {OWN_DESIGN: design}) for design in study.user_attrs.get(OWN_DESIGNS, [])),
        *((params, {}) for params in others),
        *((each["params"], {FROM_TRIAL: each["trial"]}) for each in taken),
    ]
    for params, attributes in queue[len(study.get_trials(deepcopy=False)) :]:
        study.enqueue_trial(params, user_attrs=attributes)


def _foundations(config: StudyConfig) -> dict[str, Any]:
    """What a study stands on besides its choices: the versions of the space and of the data."""
    data = config.data.md5_sums["train-images-idx3-ubyte"]
    return {"space_version": space.VERSION, "split_seed": SPLIT_SEED, "data_md5": data}


def changes(before: dict[str, Any], config: StudyConfig) -> list[str]:
    """Sentences that name each choice and foundation in which `config` differs from settings."""
    started = StudyConfig.from_dict(before)
    return started.differences(config) + [
        f"{key} was {before[key]!r}, now {value!r}"
        for key, value in _foundations(started).items()
        if before.get(key, value) != value
    ]


def _require_same(name: str, before: dict[str, Any], config: StudyConfig) -> None:
    changed = changes(before, config)
    if changed:
        raise UserError(
            f"study {name!r} was started under other settings: {'; '.join(changed)}. Give the "
            "settings it was started with, or start another with --study NAME"
        )


def load_study(
    storage: RDBStorage, place: object, name: str | None = None
) -> tuple[optuna.Study, StudyConfig]:
    """A study of a storage by its name, or its only one, with its choices.

    Raises `UserError` where there is none, or it is not ours.
    """
    names = [each for each in optuna.get_all_study_names(storage) if name in (None, each)]
    if len(names) != 1:
        raise UserError(
            f"{place} must hold one study, it holds {len(names)}; search in a folder of its own: "
            "python -m search.run --study NAME"
        )
    study = optuna.load_study(study_name=names[0], storage=storage)
    values = study.user_attrs.get("settings")
    if values is None:
        raise UserError(
            f"study {names[0]!r} was not started by python -m search.run: it has no settings to "
            "train finalists with"
        )
    return study, StudyConfig.from_dict(values)


def identity_of(study: optuna.Study) -> str:
    """What tells this study's files from another's; earlier versions did not store it."""
    stored = study.user_attrs.get("id")
    if stored is None:
        config = StudyConfig.from_dict(study.user_attrs["settings"])
        stored = config.identity(study.study_name)
        study.set_user_attr("id", stored)
    return str(stored)
