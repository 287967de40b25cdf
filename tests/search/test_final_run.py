from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from mnist_arch.recipe import RECIPES
from mnist_arch.references import BASELINE
from search.confirmation.finalists import finalist_of
from search.final_run import Order, missing, read_runs, store
from tests.search.studies import EASY, THREE, final_run, small, started, trial


def test_runs_are_read_as_they_were_kept(tmp_path: Path) -> None:
    finalist = finalist_of(THREE[1], EASY)
    runs = [final_run(2, 1, None, "diverged: loss is nan"), final_run(2, 0, 0.9951)]
    with started(tmp_path) as study:
        for run in runs:
            store(study, Order(finalist, run.index), run)
    with started(tmp_path) as again:
        assert read_runs(again.user_attrs) == runs[::-1]


def test_runs_that_an_earlier_version_kept_belong_to_their_design() -> None:
    finalist = finalist_of(THREE[1], EASY)
    kept = asdict(final_run(2, 0, 0.9951))
    del kept["finalist"]  # it did not write whose they are, but where they stand
    attributes = {finalist.attribute(0): kept, "run_000": {}, "settings": {}}
    assert [run.finalist for run in read_runs(attributes)] == [finalist.key]


def test_missing_runs_go_seed_by_seed_over_the_designs() -> None:
    chosen = [finalist_of(THREE[place], EASY) for place in (2, 1)]
    kept = {chosen[0].attribute(0): asdict(final_run(3, 0, 0.99))}
    orders = missing(chosen, kept, 2)
    assert [(order.finalist.trial, order.index) for order in orders] == [(2, 0), (3, 1), (2, 1)]
    assert len(missing(chosen, kept, 3)) == 5


def test_a_run_without_memory_is_done_again_and_a_diverged_one_is_not() -> None:
    finalist = finalist_of(THREE[1], EASY)
    for reason, again in (("out of memory", 1), ("diverged: loss is nan", 0)):
        kept = {finalist.attribute(0): asdict(final_run(2, 0, None, reason))}
        assert len(missing([finalist], kept, 1)) == again


def test_a_searched_recipe_has_runs_and_weights_of_its_own() -> None:
    recipe = replace(RECIPES["default"], learning_rate=0.05)
    plain = finalist_of(trial(1, BASELINE, 0.5), EASY)
    searched = finalist_of(trial(2, BASELINE, 0.5, recipe=recipe.to_dict()), EASY)
    assert plain.recipe == EASY.recipe
    assert searched.recipe == recipe
    assert plain.attribute(0) != searched.attribute(0)
    assert plain.weights(0) == "59aea58c103e-0.safetensors"
    assert searched.weights(0) == f"59aea58c103e-r{searched.key}-0.safetensors"


def test_two_trials_of_one_design_have_the_same_runs() -> None:
    first, second = (finalist_of(trial(number, small(4), 0.7), EASY) for number in (3, 9))
    assert (first.key, first.attribute(1)) == (second.key, second.attribute(1))
    assert missing([second], {first.attribute(0): asdict(final_run(3, 0, 0.99))}, 1) == []
