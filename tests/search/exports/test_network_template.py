from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mnist_arch.build import build
from mnist_arch.data import load
from mnist_arch.references import BASELINE
from mnist_arch.training import evaluate
from search import weights
from search.exports import network_template
from tests.search.small_export import SMALL

MNIST = Path(__file__).parents[3] / "mnist_arch" / "mnist"

ALONE = """
import runpy, sys
sys.argv = ["network.py", *sys.argv[1:]]
runpy.run_path("network.py", run_name="__main__")
assert not {"mnist_arch", "search", "PIL", "pandas", "optuna", "rich"} & sys.modules.keys()
"""


def run_alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a folder's network.py, isolated, and see that it imports nothing of this project."""
    return subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", ALONE, *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_network_py_stands_on_its_own(exported: Path, tmp_path: Path) -> None:
    network, _ = weights.read_weights(exported / "weights.safetensors", SMALL)
    _, accuracy = evaluate(network, load("test"))
    for name in ("network.py", "weights.safetensors"):
        shutil.copy(exported / name, tmp_path)
    missing = run_alone(tmp_path, "--data", str(tmp_path))
    assert missing.returncode == 2
    assert "error: MNIST's test file t10k-images-idx3-ubyte (or" in missing.stderr
    shutil.copytree(exported / "mnist", tmp_path / "mnist")
    done = run_alone(tmp_path)
    assert done.stderr == ""
    assert done.stdout.startswith(f"test accuracy {accuracy * 100:.2f} %: ")


def test_network_py_finds_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load("test")
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in MNIST.glob("t10k-*"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    for folder in (tmp_path, raw, MNIST, None):  # None: of the installed package
        images, labels = network_template.test_digits(folder)
        assert torch.equal(images, digits.images)
        assert torch.equal(labels.long(), digits.labels)
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))
    assert len(network_template.test_digits(None)[0]) == 10_000


def test_network_py_tells_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ValueError, match=r"weights .* cannot be read: "):
        network_template.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"weights .* cannot be read: "):
        network_template.load(path)
    path.write_bytes(weights.content(build(BASELINE), {"fingerprint": "abc"}))
    with pytest.raises(ValueError, match="belongs to design abc, not to this one, 59aea58c103e"):
        network_template.load(path)
    for kind in ("images-idx3", "labels-idx1"):
        (tmp_path / f"t10k-{kind}-ubyte").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"do not hold 10,000 digits"):
        network_template.test_digits(tmp_path)
