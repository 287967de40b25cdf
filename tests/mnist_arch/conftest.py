"""Settings and data that the tests of `mnist_arch` share."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from mnist_arch.data import Digits, load

settings.register_profile(
    "no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # machines that run tests are shared
settings.load_profile("no-clock")


@pytest.fixture(autouse=True)
def _one_thread_and_a_known_seed() -> Iterator[None]:
    """Torch on one thread, so that runs repeat bit for bit, and seeded."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def packaged() -> Path:
    """The folder of the four files that the program ships."""
    return Path(str(resources.files("mnist_arch"))) / "mnist"


@pytest.fixture(scope="session")
def train_digits() -> Digits:
    """The 60,000 training digits."""
    return load("train")


@pytest.fixture(scope="session")
def test_digits() -> Digits:
    """The 10,000 test digits."""
    return load("test")


@pytest.fixture(scope="session")
def torchvision_folder(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST as torchvision's download leaves it: uncompressed files in MNIST/raw."""
    folder = tmp_path_factory.mktemp("torchvision")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in packaged.glob("*.gz"):
        with gzip.open(packed) as source, (raw / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    return folder
