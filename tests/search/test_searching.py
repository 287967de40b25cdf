"""A search that begins with designs of the user's own; trainings are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE, REFERENCE_DESIGNS
from mnist_arch.rules import Rules
from search import RunConfig, StudyConfig, search, searching
from search.executors import EXECUTORS
from search.pages.page import html
from tests.search.instant import Instant

OWN = REFERENCE_DESIGNS["published-4392"]
CONFIG = StudyConfig(epochs=2, rules=Rules(target=0.5), schedule="none")


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXECUTORS, "instant", lambda *_: Instant())
    monkeypatch.setattr(searching, "report_after", lambda *_: None)


def run(results: Path, trials: int, **choices: Any) -> RunConfig:
    return RunConfig(
        "mine", results, trials, executor="instant", finalists=0, quiet=True, **choices
    )


def test_own_designs_are_tried_right_after_the_baseline(tmp_path: Path) -> None:
    study = search(CONFIG, run(tmp_path, 3, designs={"net.json": OWN})).study
    assert study.trials["fingerprint"].tolist()[:2] == [BASELINE.fingerprint, OWN.fingerprint]
    assert len(set(study.trials["fingerprint"])) == 3
    said = f"1 design given by hand, tried first: {OWN.fingerprint}."
    assert study.config.origin == said
    assert said in html([study], [])


def test_a_study_with_own_designs_is_continued_as_it_was_started(tmp_path: Path) -> None:
    own = {"net.json": OWN}
    config = search(CONFIG, run(tmp_path, 1, designs=own)).study.config
    with pytest.raises(UserError, match=rf"designs was \['{OWN.fingerprint}'\], now \[\]"):
        search(CONFIG, run(tmp_path, 2))
    assert search(CONFIG, run(tmp_path, 2, designs=own)).study.document["trained"] == 2
    assert search(config, run(tmp_path, 3)).study.document["trained"] == 3
    with pytest.raises(UserError, match=r"--design: study 'mine' is to begin with .*give them"):
        search(config, run(tmp_path / "elsewhere", 1))
    assert not (tmp_path / "elsewhere" / "mine" / "study.db").exists()


def test_an_own_design_that_breaks_a_rule_is_told_by_its_name_before_anything_is_written(
    tmp_path: Path,
) -> None:
    config = StudyConfig(rules=Rules(parameter_limit=4_000))
    with pytest.raises(UserError, match=r"^--design net\.json: parameters: 4,392, must be fewer"):
        search(config, run(tmp_path, 1, designs={"net.json": OWN}))
    assert not list(tmp_path.iterdir())
