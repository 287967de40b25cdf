from __future__ import annotations

import json

from mnist_arch.recipe import Recipe
from mnist_arch.rules import Rules
from search.settings import Settings, differences


def test_settings_are_plain_json() -> None:
    settings = Settings(seed=3, train_images=100)
    assert json.loads(json.dumps(settings.to_dict())) == settings.to_dict()


def test_differences_name_what_changed() -> None:
    before = Settings().to_dict()
    now = Settings(seed=1, rules=Rules(parameter_limit=8_000)).to_dict()
    assert differences(before, before) == []
    assert differences(before, now) == [
        "rules.parameter_limit was 20000, now 8000",
        "seed was 0, now 1",
    ]


def test_a_recipe_is_part_of_the_settings() -> None:
    before, now = Settings().to_dict(), Settings(recipe=Recipe(batch_size=64)).to_dict()
    assert len(differences(before, now)) == 1


def test_what_counts_as_a_try_out() -> None:
    assert not Settings().is_trial_run
    assert Settings(epochs=2).is_trial_run
    assert Settings(train_images=100).is_trial_run
    assert not Settings(epochs=9, rules=Rules(epoch_limit=10)).is_trial_run


def test_only_the_assignments_protocol_selects_on_test() -> None:
    assert Settings(protocol="assignment").selected_on_test
    assert not Settings().selected_on_test
