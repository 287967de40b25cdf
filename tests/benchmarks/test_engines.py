from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.engines import difference, main, read_accuracies


def training(folder: Path, engine: str, seed: int, accuracy: float, epochs: int = 19) -> None:
    """Write what `search.train` leaves behind."""
    place = folder / f"{engine}-{seed}"
    place.mkdir()
    document = {
        "finished": True,
        "engine": engine,
        "design": {"layers": []},
        "settings": {"seed": seed, "epochs": epochs},
    }
    (place / "training.json").write_text(json.dumps(document))
    (place / "epochs.csv").write_text(f"epoch,validation_accuracy\n1,0.9\n2,{accuracy}\n")


def test_means_over_seeds_and_their_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, (ours, theirs) in enumerate([(0.995, 0.994), (0.993, 0.994), (0.994, 0.994)]):
        training(tmp_path, "lanes", seed, ours)
        training(tmp_path, "torch", seed, theirs)
    assert read_accuracies(tmp_path)["lanes"] == {0: 0.995, 1: 0.993, 2: 0.994}
    # 0.1 points of standard deviation over 3 seeds: 0.1 / sqrt(3) = 0.058
    assert difference(read_accuracies(tmp_path)) == (
        "lanes - torch: +0.000 points, standard error 0.058"
    )
    assert main([str(tmp_path)]) == 0
    assert "99.400" in capsys.readouterr().out


def test_trainings_of_different_kinds_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training(tmp_path, "lanes", 0, 0.99)
    training(tmp_path, "torch", 0, 0.99, epochs=2)
    assert main([str(tmp_path)]) == 2
    assert "found 2 kinds" in capsys.readouterr().err


def test_a_folder_without_trainings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "found 0 kinds" in capsys.readouterr().err
