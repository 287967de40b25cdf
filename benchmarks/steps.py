"""A training step in lanes, in eager PyTorch (two layouts), compiled, and in the published loop.

Variants take turns in one process, one thread each; images lie in memory but for the published
loop, whose step also loads its batch, as there:

    taskset -c 1 python -m benchmarks.steps [--no-compile] [--rounds 15] [--designs seed ...]

`pytest benchmarks` prints the same (test_steps.py).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks import published
from mnist_arch import lanes
from mnist_arch.build import Network
from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Dropout,
    Layer,
    MaxPool,
    Sum,
)
from mnist_arch.layers import Activation
from mnist_arch.plan import plan
from mnist_arch.references import BASELINE, REFERENCE_DESIGNS
from mnist_arch.step import stepper

BATCH = 128
Step = Callable[[], object]


def stack(words: str) -> Design:
    """Blocks of the widths given, an average, a 1x1 ("v": no padding, "M": pool, "+": sum).

    A sum adds the map before the block before it.
    """
    layers: list[Layer] = []
    starts: list[int] = []  # of each block: the layer before it
    for word in words.split(","):
        if word == "M":
            layers.append(MaxPool())
        elif word == "+":
            layers.append(Sum(starts[-1], "relu"))
        else:
            starts.append(len(layers))
            padding = 0 if word.endswith("v") else 1
            layers += [Conv(int(word.rstrip("v")), padding=padding, bias=True), DROPOUT]
    return Design((*layers, AveragePool(), logits(bias=True)))


def logits(bias: bool) -> Conv:
    """The 1x1 convolution that ends a network."""
    return Conv(10, 1, 0, batch_norm=False, relu=False, bias=bias)


def strided(activation: Activation, activation_first: bool) -> Design:
    """A convolution and four separable blocks, one of stride 2, of 4,675 parameters.

    Trial 115 of `results/class-next`, without its dropout.
    """
    style: dict[str, Any] = {"activation": activation, "activation_first": activation_first}
    layers: list[Layer] = [Conv(20, padding=0, **style)]
    for kernel, stride, width in ((3, 1, 20), (3, 2, 39), (3, 1, 20), (5, 1, 29)):
        layers.append(DepthwiseConv(kernel, 0, stride=stride, **style))
        layers.append(Conv(width, 1, 0, **style))
    return Design((*layers, AveragePool(), logits(bias=False)))


DROPOUT = Dropout(0.1)
DESIGNS: dict[str, Design] = {
    "seed": BASELINE,
    **{
        widths: stack(widths)
        for widths in (
            "8v,16,M,16,24,M,24,24",
            "8,16,M,16,16,M,16,16",
            "16,16,M,32,32,M,32,32",
            "8v,8,M,12,12,M,12,12",
        )
    },
    **{name: stack(name) for name in ("8,8,+,M,12,12,+,M,16,16,+", "16,16,+,M,16,16,+,M,16,16,+")},
    "published-4392": REFERENCE_DESIGNS["published-4392"],
    "silu-norm": strided("silu", activation_first=True),
    "norm-silu": strided("silu", activation_first=False),
    "norm-hard-swish": strided("hard_swish", activation_first=False),
}


def network_of(design: Design) -> Network:
    """Its network, whether or not the rules allow it."""
    return Network(plan(design))


def operations(design: Design) -> int:
    """Floating-point operations of a training step of one batch, in its convolutions.

    Two for a multiply-add, in the forward pass and both gradients; the first convolution has no
    input gradient. Counted as direct convolution does them, for every variant: lanes' minimal
    filtering does half as many in most of its 3x3 convolutions.
    """
    nodes = plan(design).nodes
    return BATCH * 2 * (3 * sum(node.macs for node in nodes) - nodes[0].macs)


def training_step(network: nn.Module, channels_last: bool = False) -> Step:
    """One SGD step on one batch of random images."""
    images, labels = torch.randn(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,))
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True, fused=True
    )
    take_step = stepper(network, optimiser)  # as our trainer does
    return lambda: take_step(images, labels)


def published_step(network: nn.Module, folder: Path) -> Step:
    """One step of the published loop, with the loading of its batch from torchvision's `folder`."""
    network = nn.Sequential(network, nn.LogSoftmax(1))
    loader = published.make_loader(folder, 60_000)
    optimiser = published.make_optimiser(network)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    endless = batches()

    def step() -> None:
        images, labels = next(endless)
        published.train_batch(network, images, labels, optimiser)

    return step


def variants(design: Design, compiled: bool, folder: Path, threads: int = 1) -> dict[str, Step]:
    """The same step in every engine; `folder` holds MNIST for the published loop.

    With more than one of the `threads`, lanes is there with so many, too.
    """
    steps = {}
    if lanes.available():
        steps["lanes"] = training_step(lanes.accelerate(network_of(design)))
        if threads > 1:
            network = lanes.accelerate(network_of(design), threads)
            steps[f"lanes, {threads} threads"] = training_step(network)
    steps |= {
        "eager": training_step(network_of(design)),
        "channels_last": training_step(network_of(design), channels_last=True),
        "published loop": published_step(network_of(design), folder),
    }
    if compiled:
        os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # so that compiling is seen,
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "compiled")  # even if done before
        steps["compile"] = training_step(torch.compile(network_of(design)))  # type: ignore[arg-type]
    return steps


def seconds(step: Step) -> float:
    """Of one call."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


@dataclass(frozen=True, slots=True)
class Measurement:
    """One design's steps: seconds of each variant's first and of all timed ones.

    `operations` are floating-point operations a step; `peak` is the median of what a loop of
    multiply-adds reached between the steps, in billions a second (NaN without lanes).
    """

    design: str
    parameters: int
    operations: int
    first: dict[str, float]
    times: dict[str, list[float]]
    peak: float

    def median(self, variant: str) -> float:
        """Median seconds of a variant's step."""
        return statistics.median(self.times[variant])

    def ratio(self, variant: str) -> tuple[float, float, float]:
        """Its time over that of lanes, step by step: the median, and the quartiles."""
        pairs = zip(self.times[variant], self.times["lanes"], strict=True)
        low, middle, high = statistics.quantiles([theirs / ours for theirs, ours in pairs], n=4)
        return middle, low, high


def measure(name: str, compiled: bool, rounds: int, threads: int = 1) -> Measurement:
    """Time a design's steps: in each round each variant warms its caches, then takes three."""
    torch.set_num_threads(1)
    design = DESIGNS[name]
    times: dict[str, list[float]] = {}
    peaks: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = published.torchvision_folder(Path(temporary))
        steps = variants(design, compiled, folder, threads)
        first = {variant: seconds(step) for variant, step in steps.items()}
        for _ in range(rounds):
            peaks.append(lanes.peak_gflops(0.02) if lanes.available() else float("nan"))
            for variant, step in steps.items():
                step()
                times.setdefault(variant, []).extend(seconds(step) for _ in range(3))
    return Measurement(
        name, plan(design).parameters, operations(design), first, times, statistics.median(peaks)
    )


def table(measured: Measurement) -> Table:
    """One row a variant: median, images a second, rate, share of the peak, ratio to lanes."""
    work = measured.operations / 1e9
    first = ", ".join(f"{name} {time_:.1f} s" for name, time_ in measured.first.items())
    result = Table(
        title=f"{measured.design}: {measured.parameters:,} parameters, {work:.2f} GFLOP a step",
        caption=f"peak {measured.peak:.0f} GFLOP/s; first steps: {first}",
        title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    for column in ("step", "ms", "images/s", "GFLOP/s", "share", "x lanes"):
        result.add_column(column, justify="left" if column == "step" else "right", no_wrap=True)
    for variant in measured.times:
        median = measured.median(variant)
        ratio = ""
        if "lanes" in measured.times:
            middle, low, high = measured.ratio(variant)
            ratio = "1" if variant == "lanes" else f"{middle:.2f} ({low:.2f}-{high:.2f})"
        result.add_row(
            variant, f"{median * 1e3:.2f}", f"{BATCH / median:,.0f}", f"{work / median:.1f}",
            f"{work / median / measured.peak:.0%}", ratio,
        )  # fmt: skip
    return result


def heading(rounds: int) -> str:
    """What was measured, where, and how often."""
    engine = lanes.instruction_set() if lanes.available() else f"no lanes: {lanes.why_not()}"
    return (
        f"{platform.processor() or platform.machine()}, {engine}, torch {torch.__version__}, batch "
        f"{BATCH}, 1 thread, n = {3 * rounds} steps of each, load {os.getloadavg()[0]:.1f}; share: "
        "of the multiply-adds that one core can do, had all been done; brackets: quartiles"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--rounds", type=int, default=15, help="of three steps a variant")
    parser.add_argument("--threads", type=int, default=1, help="measure lanes with so many, too")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    console.print(heading(options.rounds), soft_wrap=True)
    for name in options.designs:
        measured = measure(name, not options.no_compile, options.rounds, options.threads)
        console.print(table(measured))
    console.print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
