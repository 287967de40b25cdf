from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mnist_arch.errors import UserError
from mnist_arch.recipe import RECIPES
from mnist_arch.references import BASELINE
from search import study
from search.confirmation import finalists
from search.confirmation.runs import Order, finalist_of, missing, read_runs, store
from search.seeds import confirmation_seed, trial_seed
from search.settings import Settings
from tests.search.studies import EASY, HARD, THREE, final_run, small, three_designs, trial


def test_final_runs_have_seeds_of_their_own_and_the_same_for_every_design() -> None:
    final = {confirmation_seed(study, index) for study in range(20) for index in range(50)}
    searched = {
        trial_seed(study, number, stream)
        for study in range(20)
        for number in range(500)
        for stream in ("sampling", "training")
    }
    assert len(final) == 20 * 50
    assert not final & searched
    assert confirmation_seed(7, 3) == confirmation_seed(7, 3)


def test_runs_are_read_as_they_were_kept(tmp_path: Path) -> None:
    opened = three_designs(tmp_path)
    finalist = finalist_of(study.records(opened)[2], EASY)
    runs = [final_run(2, 1, None, "diverged: loss is nan"), final_run(2, 0, 0.9951)]
    for run in runs:
        store(opened, Order(finalist, run.index), run)
    again = study.load_study(study.open_storage(study.sqlite_url(tmp_path)), "test", EASY)
    assert read_runs(again.user_attrs) == runs[::-1]


def test_missing_runs_go_seed_by_seed_over_the_designs() -> None:
    chosen = [finalist_of(THREE[place], EASY) for place in (2, 1)]
    kept = {chosen[0].key(0): asdict(final_run(3, 0, 0.99))}
    orders = missing(chosen, kept, 2)
    assert [(order.finalist.trial, order.index) for order in orders] == [(2, 0), (3, 1), (2, 1)]
    assert len(missing(chosen, kept, 3)) == 5


def test_a_run_without_memory_is_done_again_and_a_diverged_one_is_not() -> None:
    finalist = finalist_of(THREE[1], EASY)
    for reason, again in (("out of memory", 1), ("diverged: loss is nan", 0)):
        kept = {finalist.key(0): asdict(final_run(2, 0, None, reason))}
        assert len(missing([finalist], kept, 1)) == again


def test_a_searched_recipe_has_runs_and_weights_of_its_own() -> None:
    recipe = replace(RECIPES["default"], learning_rate=0.05)
    plain = finalist_of(trial(1, BASELINE, 0.5), EASY)
    searched = finalist_of(trial(2, BASELINE, 0.5, recipe=recipe.to_dict()), EASY)
    assert plain.recipe == EASY.recipe
    assert searched.recipe == recipe
    assert plain.key(0) != searched.key(0)
    assert plain.weights(0) == "59aea58c103e-0.safetensors"
    assert searched.weights(0).startswith("59aea58c103e-r")
    assert searched.weights(0).endswith("-0.safetensors")


def test_settings_are_read_from_the_study(tmp_path: Path) -> None:
    for settings in (EASY, HARD, Settings(pruning=False, search_recipe=True)):
        assert Settings.from_dict(settings.to_dict()) == settings
    opened = three_designs(tmp_path)
    assert Settings.from_dict(opened.user_attrs["settings"]) == EASY
    before_pruning = {k: v for k, v in EASY.to_dict().items() if k != "pruning"}
    assert Settings.from_dict(before_pruning) == EASY


@pytest.mark.parametrize(
    ("rank_by", "numbers"),
    [
        ("accuracy", [4, 2, 3, 1]),  # 2 and 3 are as good: the smaller one first
        ("parameters", [4, 2, 3, 1]),
        ("macs", [4, 2, 3, 1]),
        ("epochs", [4, 2, 3, 1]),  # all pass in their first epoch: by accuracy
        ("seconds", [1, 3, 4, 2]),
    ],
)
def test_finalists_are_the_first_that_pass_by_the_rule(rank_by: str, numbers: list[int]) -> None:
    records = [
        trial(1, BASELINE, 0.5, seconds=1),
        trial(2, small(6), 0.6, seconds=4),
        trial(3, small(8), 0.6, seconds=2),
        trial(4, small(4), 0.7, seconds=3),
        trial(5, small(2), 0.9, "missed"),
    ]
    for top in (2, 9):
        found = finalists.best(records, EASY, rank_by, top)
        assert [finalist.trial for finalist in found] == numbers[:top]


def test_the_baseline_stands_beside_them_once() -> None:
    one, three = (finalists.best(THREE, EASY, "accuracy", top) for top in (1, 3))
    everyone, note = finalists.with_baseline(one, THREE, EASY)
    assert [finalist.trial for finalist in everyone] == [3, 1]
    assert note == "The baseline, trial 1, beside them."
    everyone, note = finalists.with_baseline(three, THREE, EASY)
    assert [finalist.trial for finalist in everyone] == [3, 2, 1]
    assert note == "The baseline, trial 1, is one of them."
    everyone, note = finalists.with_baseline([], THREE[1:], EASY)
    assert everyone == []
    assert note.startswith("No baseline beside them: no trial has trained the assignment's own")


def test_a_study_without_passing_designs_offers_the_nearest() -> None:
    folder = Path("results/x")
    nothing = "no design passes 100.00 %, and none was trained to its last epoch; search on first"
    assert finalists.obstacle([], HARD, folder) == nothing
    missed = [trial(1, small(8), 0.6, "missed"), trial(2, small(4), 0.7, "missed")]
    why = finalists.obstacle(missed, HARD, folder)
    assert "the nearest is trial 2 with validation 70.00 %" in why
    assert why.endswith("anyway: python -m search.confirm results/x --trial 2")


def test_designs_chosen_by_the_test_images_cannot_be_confirmed_by_them() -> None:
    chosen_on_test = replace(EASY, protocol="assignment")
    assert finalists.obstacle(THREE, EASY, Path("x")) == ""
    assert "chosen by the test images" in finalists.obstacle(THREE, chosen_on_test, Path("x"))


def test_a_trial_that_cannot_be_confirmed_says_why() -> None:
    failed = replace(trial(4, small(2), 0.1, "failed"), reason="diverged: loss is nan")
    repeat = replace(trial(5, small(4), 0.1, "repeat"), repeat_of=3)
    records = [*THREE, failed, repeat]
    assert [f.trial for f in finalists.of_trials(records, EASY, [2, 1, 2])] == [2, 1]
    for number, message in (
        (9, "--trial 9: no such trial; finished ones: 1 to 5"),
        (4, r"--trial 4: its state is failed \(diverged: loss is nan\); give one that was trained"),
        (5, "--trial 5: its state is repeat; give --trial 3"),
    ):
        with pytest.raises(UserError, match=message):
            finalists.of_trials(records, EASY, [number])
    with pytest.raises(UserError, match="finished ones: none yet"):
        finalists.of_trials([], EASY, [0])
