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
)
"""The published loop; our trainer with the assignment's recipe on plain torch and as `prepare`
leaves it; with the default recipe, which augments; the same two with the lanes engine."""


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
    plain, augmented = RECIPES["assignment"], RECIPES["default"]
    torch_engine = Engine("torch", "cpu", "")
    made = [
        _published_epoch(tmp_path_factory.mktemp("mnist")),
        _our_epoch(_network(), plain, digits, torch_engine),
        _our_epoch(prepare(_network(), torch_engine), plain, digits, torch_engine),
        _our_epoch(prepare(_network(), torch_engine), augmented, digits, torch_engine),
    ]
    if lanes.available():
        engine = Engine("lanes", "cpu", "")
        for recipe in (plain, augmented):
            network = prepare(_network(), engine, THREADS)
            made.append(_our_epoch(network, recipe, digits, engine))
    return dict(zip(VARIANTS, made, strict=False))


def _published_epoch(folder: Path) -> Epoch:
    torch.manual_seed(SEED)
    network = published.Net()
    loader = published.make_loader(published.torchvision_folder(folder), IMAGES)
    optimiser = published.make_optimiser(network)
    return lambda: published.train_epoch(network, loader, optimiser)


def _our_epoch(network: nn.Module, recipe: Recipe, digits: Digits, engine: Engine) -> Epoch:
    """One epoch of the real trainer, which validates on a single image: next to nothing."""
    one_image = digits.take(torch.tensor([0]))
    gather = gather_for(engine)
    return lambda: list(train(network, recipe, 1, digits, one_image, SEED, gather))


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
