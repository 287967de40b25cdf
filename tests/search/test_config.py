from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_arch.errors import UserError
from mnist_arch.recipe import RECIPES, Recipe
from mnist_arch.rules import Rules
from search import StudyConfig
from tests.search.commands import ROOT


def settings_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["settings"]
    return found


STUDIES = sorted((ROOT / "results").glob("*/study.json"))
FIRST_VERSION = [path for path in STUDIES if "pruning" in settings_of(path)]


def test_a_config_is_plain_json_and_read_back() -> None:
    for config in (
        StudyConfig(),
        StudyConfig(3, 2, "assignment", 100, Rules(None, None, 0.5, True), RECIPES["assignment"]),
        StudyConfig(search_recipe=True, goal="g", sampler="s", schedule="none"),
        StudyConfig(warm_start="before 93eb465ca9b8"),
        StudyConfig(designs=("59aea58c103e",)),
    ):
        document = json.loads(json.dumps(config.to_dict()))
        assert document == config.to_dict()
        assert StudyConfig.from_dict(document) == config


@pytest.mark.parametrize("path", FIRST_VERSION, ids=lambda path: path.parent.name)
def test_settings_of_the_first_version_are_read(path: Path) -> None:
    old = settings_of(path)
    config = StudyConfig.from_dict(old)
    assert config.schedule == ("halving" if old["pruning"] else "none")
    assert (config.seed, config.full_epochs, config.protocol) == (0, 19, "holdout")
    assert config.train_images == old["train_images"]
    assert config.rules == Rules(old["rules.parameter_limit"])
    assert config.recipe == RECIPES["default"]
    assert (config.goal, config.sampler) == ("accuracy", "tpe")


def test_both_ways_of_pruning_are_among_the_committed() -> None:
    assert {settings_of(path)["pruning"] for path in FIRST_VERSION} == {True, False}


@pytest.mark.parametrize(
    "name", ["goal", "sampler", "schedule", "search_recipe", "epochs", "warm_start"]
)
def test_a_field_that_an_earlier_version_did_not_have_takes_its_default(name: str) -> None:
    document = StudyConfig(seed=3).to_dict()
    del document[name]
    assert StudyConfig.from_dict(document) == StudyConfig(seed=3)


def test_an_unknown_field_is_refused() -> None:
    document = {**StudyConfig().to_dict(), "teacher": "resnet"}
    with pytest.raises(UserError, match=r"have 'teacher', which this version .* newer one; update"):
        StudyConfig.from_dict(document)


@pytest.mark.parametrize(
    "values",
    [
        {"seed": "seven"},
        {"seed": -1},
        {"epochs": 20},
        {"protocol": "none"},
        {"rules.target": 2.0},
        {"rules.colour": "red", "rules.target": "high"},
        {"recipe": {"batch_size": "many"}},
    ],
)
def test_values_that_cannot_be_are_a_user_error(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"must|cannot be read"):
        StudyConfig.from_dict({**StudyConfig().to_dict(), **values})


def test_looks_are_those_shorter_than_the_full_training_unless_given() -> None:
    assert StudyConfig().look_lengths == (0.25, 1.0, 3.0)
    assert StudyConfig(epochs=3).look_lengths == (0.25, 1.0)
    assert StudyConfig(epochs=2).look_lengths == (0.25, 1.0)
    assert StudyConfig(epochs=2, train_images=30).look_lengths == (1.0,)
    assert StudyConfig(looks=(1, 5)).look_lengths == (1.0, 5.0)
    assert StudyConfig(schedule="none").look_lengths == ()


@pytest.mark.parametrize(
    ("looks", "fault"),
    [
        ((1, 0.5), "--looks 1,0.5: each must be longer than the one before it; give increasing"),
        ((1, 1), "--looks 1,1: each must be longer than the one before it; give"),
        ((1, 19), "--looks 1,19: 19 epochs given, must be above 0 and shorter than a full train"),
        ((0, 1), "--looks 0,1: each must be longer than the one before"),
        ((-1,), "--looks -1: each must be longer than the one before"),
        ((1.5,), "--looks 1.5: 1.5 epochs given, must be a whole number above 1; give"),
        ((1e-5,), "--looks 1e-05: 1e-05 of an epoch is fewer than 10 images; give increasing"),
    ],
)
def test_looks_that_cannot_be_are_a_mistake(looks: tuple[float, ...], fault: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(fault)}"):
        StudyConfig(looks=looks)


def test_epochs_are_the_limit_less_one_unless_given() -> None:
    assert StudyConfig().full_epochs == 19
    assert StudyConfig(rules=Rules(epoch_limit=10)).full_epochs == 9
    assert StudyConfig(rules=Rules(epoch_limit=None)).full_epochs == 19
    assert StudyConfig(epochs=40, rules=Rules(epoch_limit=None)).full_epochs == 40
    assert StudyConfig(epochs=19) == StudyConfig()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"seed": -1}, "--seed -1: must be from 0 to 4,294,967,295"),
        ({"epochs": 0}, "--epochs 0: must be from 1 to 10,000"),
        (
            {"epochs": 20},
            "--epochs 20: must be fewer than the epoch limit 20; give fewer, or a higher "
            "--epoch-limit",
        ),
        ({"train_images": 9}, "--train-images 9: must be from 10 to 60,000"),
        (
            {"train_images": 50_001},
            "--train-images 50,001: --protocol holdout has 50,000 images to fit; give at most "
            "that many",
        ),
    ],
)
def test_choices_that_clash(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        StudyConfig(**choices)
    assert str(refusal.value) == message


def test_the_assignments_protocol_fits_on_all_images() -> None:
    assert StudyConfig(protocol="assignment", train_images=60_000).train_images == 60_000


def test_differences_name_what_changed() -> None:
    before, now = StudyConfig(), StudyConfig(seed=1, rules=Rules(parameter_limit=8_000))
    assert before.differences(StudyConfig()) == []
    assert before.differences(now) == [
        "rules.parameter_limit was 20000, now 8000",
        "seed was 0, now 1",
    ]
    assert len(before.differences(replace(before, recipe=Recipe(batch_size=64)))) == 1


def test_identities_tell_studies_apart_and_survive_the_file() -> None:
    config = StudyConfig(seed=3)
    again = StudyConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again.identity("a") == config.identity("a")
    others = {config.identity("a"), config.identity("b"), StudyConfig(seed=4).identity("a")}
    assert len(others) == 3
    assert all(len(identity) == 12 for identity in others)


def test_a_choice_that_came_later_changes_no_identity_of_before() -> None:
    assert StudyConfig(looks=(0.25, 1, 3)).identity("mnist") == "93eb465ca9b8"
    assert StudyConfig(schedule="none", seed=3).identity("mnist") == "bc5c3aa15667"
    assert StudyConfig(warm_start="mnist 93eb465ca9b8").identity("mnist") != "93eb465ca9b8"
    assert "designs" not in StudyConfig().to_dict()
    assert StudyConfig(designs=("59aea58c103e",)).identity("mnist") != "93eb465ca9b8"


def test_every_page_says_what_a_study_began_with() -> None:
    assert StudyConfig().origin == ""
    assert StudyConfig(warm_start="a 1", designs=("59aea58c103e", "3aa522747cc1")).origin == (
        "Warm-started, not a search from scratch: the best designs of study a 1 were proposed first"
        " and trained anew. 2 designs given by hand, tried first: 59aea58c103e, 3aa522747cc1."
    )


def test_the_user_s_own_designs_are_a_choice_of_the_study() -> None:
    mine = StudyConfig(designs=("59aea58c103e",))
    assert StudyConfig().differences(mine) == ["designs was [], now ['59aea58c103e']"]
    assert mine.differences(StudyConfig()) == ["designs was ['59aea58c103e'], now []"]


def test_what_counts_as_a_try_out() -> None:
    assert not StudyConfig().is_shortened
    assert StudyConfig(epochs=2).is_shortened
    assert StudyConfig(train_images=100).is_shortened
    assert not StudyConfig(epochs=9, rules=Rules(epoch_limit=10)).is_shortened
    assert not StudyConfig(epochs=9, rules=Rules(epoch_limit=None)).is_shortened


def test_only_the_assignments_protocol_selects_on_test() -> None:
    assert StudyConfig(protocol="assignment").selected_on_test
    assert not StudyConfig().selected_on_test
