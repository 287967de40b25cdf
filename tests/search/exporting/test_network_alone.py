from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save

import mnist_arch
from mnist_arch.build import build
from mnist_arch.data import load
from mnist_arch.references import BASELINE
from mnist_arch.training import evaluate
from search import weights
from search.exporting.network_source import network_source
from tests.search.small_export import SMALL

MNIST = Path(mnist_arch.__file__).parent / "mnist"

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


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The exported `network.py` of the assignment's design, imported."""
    path = tmp_path_factory.mktemp("alone") / "network.py"
    path.write_text(network_source(BASELINE, "A network."), encoding="utf-8")
    spec = spec_from_file_location("network_alone", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.ci
@pytest.mark.slow
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


def test_network_py_finds_mnist(
    alone: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = load("test")
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in MNIST.glob("t10k-*"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    for folder in (tmp_path, raw, MNIST, None):  # None: of the installed package
        images, labels = alone.test_digits(folder)
        assert torch.equal(images, digits.images)
        assert torch.equal(labels.long(), digits.labels)
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))
    assert len(alone.test_digits(None)[0]) == 10_000


def test_network_py_tells_what_is_wrong(alone: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ValueError, match=r"weights .* cannot be read: "):
        alone.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"weights .* cannot be read: "):
        alone.load(path)
    path.write_bytes(save(build(BASELINE).state_dict(), {"fingerprint": "abc"}))
    with pytest.raises(ValueError, match="belongs to design abc, not to this one, 59aea58c103e"):
        alone.load(path)
    for kind in ("images-idx3", "labels-idx1"):
        (tmp_path / f"t10k-{kind}-ubyte").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"do not hold 10,000 digits"):
        alone.test_digits(tmp_path)
