from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners import NopPruner, SuccessiveHalvingPruner

from benchmarks.pruners import PRUNERS, InUse, main, read_curves, replay
from search.schedules import Halving


def study(folder: Path, curves: list[list[float]]) -> Path:
    rows = ["trial,epoch,validation_accuracy"]
    for trial, curve in enumerate(curves):
        rows += [f"{trial},{epoch},{accuracy}" for epoch, accuracy in enumerate(curve, 1)]
    (folder / "epochs.csv").write_text("\n".join(rows) + "\n")
    return folder


RISING = [[0.5 + design / 100 + epoch / 1000 for epoch in range(6)] for design in range(12)]


def test_without_pruning_everything_is_trained_and_kept() -> None:
    outcome = replay(RISING, list(range(12)), NopPruner())
    assert outcome.epochs == 12 * 6
    assert outcome.kept == frozenset(range(12))


@pytest.mark.parametrize("name", [name for name in PRUNERS if name != "none"])
def test_where_the_first_epoch_tells_all_the_best_is_kept_and_epochs_are_saved(name: str) -> None:
    best_first = list(reversed(range(12)))
    outcome = replay(RISING, best_first, PRUNERS[name](6))
    assert 11 in outcome.kept
    assert outcome.epochs < 12 * 6


def test_the_comparison_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(study(tmp_path, RISING)), "--orders", "2"]) == 0
    assert "in use: halving" in capsys.readouterr().out


def test_a_pruned_study_is_not_a_basis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study(tmp_path, [*RISING, [0.5, 0.6]])
    assert main([str(tmp_path)]) == 2
    assert "found 12 of 13" in capsys.readouterr().err


def test_a_folder_without_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "holds no study with an epochs.csv" in capsys.readouterr().err


def test_curves_are_read_in_order_of_epochs(tmp_path: Path) -> None:
    assert read_curves(study(tmp_path, RISING))[3] == RISING[3]


@given(st.lists(st.lists(st.integers(0, 40), min_size=19, max_size=19), min_size=1, max_size=30))
def test_the_schedule_in_use_is_successive_halving_as_optuna_has_it(
    curves: list[list[int]],
) -> None:
    accuracies = [[value / 40 for value in curve] for curve in curves]
    order = list(range(len(curves)))
    ours = replay(accuracies, order, InUse(Halving(), 19))
    assert ours == replay(accuracies, order, SuccessiveHalvingPruner(3, 3))


def test_a_replay_repeats_exactly_for_every_pruner() -> None:
    order = [5, 3, 8, 1, 0, 11, 2, 9, 4, 10, 7, 6]
    for make in PRUNERS.values():
        assert replay(RISING, order, make(6)) == replay(RISING, order, make(6))


@pytest.mark.parametrize(("epochs", "rungs"), [(19, (3, 9)), (3, ()), (4, (3,)), (28, (3, 9, 27))])
def test_rungs_of_halving(epochs: int, rungs: tuple[int, ...]) -> None:
    assert Halving().rungs(epochs) == rungs
