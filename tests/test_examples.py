"""The examples run, in small, and stay short."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from tests.search.commands import ROOT, environment

EXAMPLES = ROOT / "examples"


def run(name: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments], cwd=folder, env=environment(),
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["own_rules.py", "own_space.py"])
def test_examples_of_the_api_are_short(name: str) -> None:
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if line.strip()]
    assert len(code) < 45
    assert not any("search.pages" in line or "._" in line for line in lines)


@pytest.mark.slow
def test_own_rules(tmp_path: Path) -> None:
    text = run("own_rules.py", tmp_path, "2", "1", "300")
    assert "2 designs trained" in text
    assert (tmp_path / "results" / "own-rules" / "report.html").is_file()


@pytest.mark.ci
@pytest.mark.slow
def test_own_space(tmp_path: Path) -> None:
    text = run("own_space.py", tmp_path, "2", "1", "300")
    assert '"depthwise_conv"' in text


@pytest.mark.slow
def test_plain_optuna(tmp_path: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in resources.files("mnist_arch").joinpath("mnist").iterdir():
        if path.name.endswith(".gz"):
            (raw / path.name[:-3]).write_bytes(gzip.decompress(path.read_bytes()))
    text = run("plain_optuna.py", tmp_path, "2", "1", "data", "256")
    assert "of 2 trained to the end in " in text


@pytest.mark.slow
def test_the_tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    shutil.copy(EXAMPLES / "tour.ipynb", tmp_path)
    tour = nbformat.read(tmp_path / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in tour.cells), "committed without outputs"
    client = nbclient.NotebookClient(
        tour, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    client.execute()
    kinds = {
        kind for cell in tour.cells for output in cell.get("outputs", ())
        for kind in output.get("data", ())
    }  # fmt: skip
    assert {"image/png", "image/svg+xml", "text/html"} <= kinds
