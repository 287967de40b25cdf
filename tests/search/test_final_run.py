from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from mnist_arch.recipe import RECIPES
from mnist_arch.references import BASELINE
from search.confirmation.finalists import finalist_of
from search.final_run import Order, read_runs, store
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
    for later in ("finalist", "judge", "judged_images", "misread"):
        del kept[later]  # it did not write whose they are, but where they stand
    attributes = {finalist.attribute(0): kept, "run_000": {}, "settings": {}}
    (run,) = read_runs(attributes)
    assert (run.finalist, run.judge, run.judged_images) == (finalist.key, "test", 10_000)
    assert run.misread is None


def test_a_run_without_memory_is_done_again_and_a_diverged_one_is_not() -> None:
    for reason, settled in (("out of memory", False), ("diverged: loss is nan", True)):
        assert final_run(2, 0, None, reason).is_settled == settled
    assert final_run(2, 0, 0.99).is_settled


def test_runs_by_folds_stand_beside_those_on_the_test_images(tmp_path: Path) -> None:
    finalist = finalist_of(THREE[1], EASY)
    wrong = ((59_999, 4, 9), (60_000, 7, 1))
    kept = [final_run(2, 0, 0.995), final_run(2, 0, 0.994, judge="folds", misread=wrong)]
    with started(tmp_path) as study:
        for run in kept:
            store(study, Order(finalist, run.index, run.judge), run)
        assert read_runs(study.user_attrs) == kept
    assert Order(finalist, 3).attribute == f"confirmation_{finalist.key}_003"
    assert Order(finalist, 3, "folds").attribute == f"confirmation_{finalist.key}_fold_3"


def test_a_trial_of_another_length_has_runs_and_weights_of_its_own() -> None:
    epoch = THREE[1].epochs[0]
    short, longer = (
        finalist_of(replace(THREE[1], epochs=(replace(epoch, epoch=epochs),)), EASY)
        for epochs in (1, 4)
    )
    pruned = replace(THREE[1], epochs=(replace(epoch, epoch=4),), state="pruned")
    assert [f.epochs for f in (short, longer, finalist_of(pruned, EASY))] == [1, 4, 1]
    assert finalist_of(replace(pruned, full_epochs=4), EASY).key == longer.key
    assert short == finalist_of(THREE[1], EASY)
    assert longer.key != short.key
    assert longer.weights(0) == f"{longer.design.fingerprint}-e4-0.safetensors"


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
