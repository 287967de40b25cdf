from __future__ import annotations

import pytest

from mnist_arch import data, lanes
from mnist_arch.data import DataError
from mnist_arch.datasets import DATASETS
from search import doctor


def test_the_doctor_names_engines_devices_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out
    for word in ("machine", "cores", "device", "engine", "lanes", "torch", "MNIST"):
        assert f"\n{word}" in f"\n{printed}"
    assert "70,000 images, checksums right" in printed


def test_the_doctor_says_why_lanes_cannot_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "why_not", lambda: "it was not built")
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out
    assert "cannot run: it was not built" in printed
    assert "engine torch on" in printed


def test_damaged_data_are_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_: str, dataset: str) -> None:
        raise DataError(f"{DATASETS[dataset].title} file is damaged")

    monkeypatch.setattr(data, "load", damaged)
    assert doctor.main([]) == 1
    assert "MNIST        MNIST file is damaged" in capsys.readouterr().out
