"""Epoch throughput of the published loop and of our trainer, on the same design and images.

`BENCHMARK_IMAGES` images an epoch (6,400), `BENCHMARK_THREADS` threads (1), `BENCHMARK_SWEEPS`
sweeps (5). A sweep measures one epoch of every variant, one after the other, so that the
machine's drift in speed touches all of them alike; `python -m benchmarks.table` puts the
sweeps together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from benchmarks import published
from benchmarks.table import PUBLISHED
from mnist_arch import lanes
from mnist_arch.build import build
from mnist_arch.data import Digits, load
from mnist_arch.engine import Engine, gather_for, prepare
from mnist_arch.plan import plan
from mnist_arch.recipe import RECIPES, Recipe
from mnist_arch.references import REFERENCE_DESIGNS
from mnist_arch.training import train

IMAGES = int(os.environ.get("BENCHMARK_IMAGES", "6400"))
THREADS = int(os.environ.get("BENCHMARK_THREADS", "1"))
SWEEPS = int(os.environ.get("BENCHMARK_SWEEPS", "5"))

DESIGN = "assignment"
SEED = 0

Epoch = Callable[[], object]
"""Trains one epoch of one variant."""

VARIANTS = (
    PUBLISHED,
    "torch",
    "torch, channels last",
    "torch, channels last, augmented",
    "lanes",
    "lanes, augmented",
    "torch, whole epoch",
    "lanes, whole epoch",
)
"""The published loop; our trainer with the assignment's recipe on plain torch and as `prepare`
leaves it; with the default recipe, which augments; the same two with the lanes engine. A whole
epoch is augmented and also validates, on a sixth as many images (10,000 for 60,000)."""


@pytest.fixture(scope="module", autouse=True)
def _threads() -> Iterator[None]:
    """Torch on the threads that were asked for."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def epochs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Epoch]:
    """The variants; each keeps its network and data from sweep to sweep."""
    digits = load("train").take(torch.arange(IMAGES))
    sixth = load("test").take(torch.arange(IMAGES // 6))
    plain, augmented = RECIPES["assignment"], RECIPES["default"]
    torch_engine = Engine("torch", "cpu", "")
    channels_last = prepare(_network(), torch_engine)
    made = {
        PUBLISHED: _published_epoch(tmp_path_factory.mktemp("mnist")),
        "torch": _our_epoch(_network(), plain, digits, torch_engine),
        "torch, channels last": _our_epoch(channels_last, plain, digits, torch_engine),
        "torch, channels last, augmented": _our_epoch(
            prepare(_network(), torch_engine), augmented, digits, torch_engine
        ),
        "torch, whole epoch": _our_epoch(_network(), augmented, digits, torch_engine, sixth),
    }
    if lanes.available():
        engine = Engine("lanes", "cpu", "")

        def fast() -> nn.Module:
            return prepare(_network(), engine, THREADS)

        made["lanes"] = _our_epoch(fast(), plain, digits, engine)
        made["lanes, augmented"] = _our_epoch(fast(), augmented, digits, engine)
        made["lanes, whole epoch"] = _our_epoch(fast(), augmented, digits, engine, sixth)
    return made


def _published_epoch(folder: Path) -> Epoch:
    torch.manual_seed(SEED)
    network = published.Net()
    loader = published.make_loader(published.torchvision_folder(folder), IMAGES)
    optimiser = published.make_optimiser(network)
    return lambda: published.train_epoch(network, loader, optimiser)


def _our_epoch(
    network: nn.Module,
    recipe: Recipe,
    digits: Digits,
    engine: Engine,
    validation: Digits | None = None,
) -> Epoch:
    """One epoch of the real trainer; without validation digits it validates on a single image."""
    if validation is None:
        validation = digits.take(torch.tensor([0]))
    gather = gather_for(engine)
    return lambda: list(train(network, recipe, 1, digits, validation, SEED, gather))


def _network() -> nn.Sequential:
    torch.manual_seed(SEED)
    return build(REFERENCE_DESIGNS[DESIGN])


def test_the_published_network_is_the_design() -> None:
    """Both sides train the same parameters: same names aside, same shapes in the same order."""
    theirs = sorted(tuple(each.shape) for each in published.Net().parameters())
    assert theirs == sorted(tuple(each.shape) for each in _network().parameters())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("sweep", range(1, SWEEPS + 1))
def test_epoch(
    benchmark: BenchmarkFixture, epochs: dict[str, Epoch], sweep: int, variant: str
) -> None:
    """One epoch of one variant, after a warm-up in the first sweep."""
    if variant not in epochs:
        pytest.skip(f"lanes cannot run here: {lanes.why_not()}")
    benchmark.group = f"epoch of {IMAGES:,} images, sweep {sweep}"
    benchmark.extra_info.update(
        variant=variant,
        sweep=sweep,
        images=IMAGES,
        threads=THREADS,
        design=DESIGN,
        parameters=plan(REFERENCE_DESIGNS[DESIGN]).parameters,
        torch=torch.__version__,
    )
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        epochs[variant], rounds=1, warmup_rounds=int(sweep == 1)
    )
