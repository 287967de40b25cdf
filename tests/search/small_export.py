"""A small export that tests share, made in a second: few digits, one epoch."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from mnist_arch.data import Digits, Part, load
from mnist_arch.design import AveragePool, Conv, Design, MaxPool
from search import cli
from search.exporting import exporting

export = importlib.import_module("search.export")  # `search.export` is the API's function

LOGITS = Conv(10, 1, 0, batch_norm=False, relu=False, bias=True)
SMALL = Design((Conv(6), MaxPool(), Conv(8, bias=True), MaxPool(), AveragePool(), LOGITS))
TEST_DIGITS = 400
STUDY = Path(__file__).parents[2] / "results" / "first-light"


def few_test_digits(part: Part, folder: Path | None = None, dataset: str = "mnist") -> Digits:
    """As `load`, with the first of the test digits only."""
    digits = load(part, folder, dataset)
    return digits.take(torch.arange(TEST_DIGITS)) if part == "test" else digits


def quick(patch: pytest.MonkeyPatch) -> None:
    """Let exports judge by few test digits."""
    patch.setattr(exporting, "load", few_test_digits)


def export_small(folder: Path, to: Path, *more: str) -> Path:
    """Export the small design, trained on 400 digits, to a folder; returns it."""
    (folder / "small.json").write_text(SMALL.to_json())
    arguments = ["--design", str(folder / "small.json"), "--to", str(to), *more]
    training = ["--epochs", "1", "--train-images", "400", "--engine", "torch", "--device", "cpu"]
    assert export.main([*arguments, *training]) == 0
    return to


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What an export that ends with status 2 prints on stderr."""
    with pytest.raises(SystemExit) as end:
        cli.run_command(export.main, [str(argument) for argument in arguments])
    assert end.value.code == 2
    return capsys.readouterr().err
