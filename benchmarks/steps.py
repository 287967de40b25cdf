"""A training step in lanes, in eager PyTorch (two layouts) and compiled.

As a script it prints a table, its variants interleaved in one process, one thread each:

    taskset -c 1 python -m benchmarks.steps [--no-compile] [--rounds 15] [--designs seed ...]

`pytest benchmarks` records the steps of lanes alone (test_steps.py).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from mnist_arch import lanes

BATCH = 128
Step = Callable[[], object]


def block(inputs: int, outputs: int, padding: int = 1, dropout: bool = True) -> list[nn.Module]:
    """A 3x3 convolution, batch norm, ReLU and dropout of channels."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, 3, padding=padding), nn.BatchNorm2d(outputs), nn.ReLU()
    ]  # fmt: skip
    return [*layers, nn.Dropout2d(0.1)] if dropout else layers


def seed() -> nn.Sequential:
    """The assignment's design, 18,430 parameters."""
    return nn.Sequential(
        *block(1, 10), *block(10, 10), nn.MaxPool2d(2),
        *block(10, 20), *block(20, 20), nn.MaxPool2d(2), nn.Dropout2d(0.1),
        *block(20, 20, 0, dropout=False), *block(20, 30, 0, dropout=False),
        nn.Conv2d(30, 10, 3), nn.Flatten(1),
    )  # fmt: skip


def stack(widths: str) -> nn.Sequential:
    """Blocks of the widths given ("v": without padding, "M": a pool), an average, a 1x1."""
    layers: list[nn.Module] = []
    channels = 1
    for word in widths.split(","):
        if word == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        width = int(word.rstrip("v"))
        layers += block(channels, width, padding=0 if word.endswith("v") else 1)
        channels = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 10, 1), nn.Flatten(1)
    )


DESIGNS: dict[str, Callable[[], nn.Sequential]] = {
    "seed": seed,
    "8v,16,M,16,24,M,24,24": lambda: stack("8v,16,M,16,24,M,24,24"),
    "8,16,M,16,16,M,16,16": lambda: stack("8,16,M,16,16,M,16,16"),
    "16,16,M,32,32,M,32,32": lambda: stack("16,16,M,32,32,M,32,32"),
    "8v,8,M,12,12,M,12,12": lambda: stack("8v,8,M,12,12,M,12,12"),
}


def operations(network: nn.Sequential) -> int:
    """Floating-point operations of a training step of one batch, in its convolutions.

    Two for a multiply-add, in the forward pass and both gradients; the first convolution has no
    input gradient.
    """
    total, passes = 0, 2
    values = torch.zeros(1, 1, 28, 28)
    for layer in network:
        values = layer.eval()(values)
        if isinstance(layer, nn.Conv2d):
            total += 2 * passes * layer.weight.numel() * values.shape[2] * values.shape[3]
            passes = 3
        layer.train()
    return total * BATCH


def training_step(network: nn.Module, channels_last: bool = False) -> Step:
    """One SGD step on one batch of random images."""
    images, labels = torch.randn(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,))
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True, fused=True
    )

    def step() -> None:
        optimiser.zero_grad()
        F.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def variants(design: Callable[[], nn.Sequential], compiled: bool) -> dict[str, Step]:
    """The same step in every engine."""
    steps = {
        "lanes": training_step(lanes.accelerate(design())),
        "eager": training_step(design()),
        "channels_last": training_step(design(), channels_last=True),
    }
    if compiled:
        steps["compile"] = training_step(torch.compile(design()))  # type: ignore[arg-type]
    return steps


def seconds(step: Step) -> float:
    """Of one call."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def interleaved(steps: dict[str, Step], rounds: int) -> tuple[dict[str, float], float]:
    """Median seconds a step of each variant, and the median ceiling, taken turn by turn."""
    warm_up = {name: seconds(step) for name, step in steps.items()}
    print("  first steps: " + ", ".join(f"{name} {time_:.1f} s" for name, time_ in warm_up.items()))
    times: dict[str, list[float]] = {name: [] for name in steps}
    ceilings = []
    for _ in range(rounds):
        ceilings.append(lanes.ceiling(0.02))
        for name, step in steps.items():
            step()  # the caches are the variant's own
            times[name] += [seconds(step) for _ in range(3)]
    return {name: statistics.median(t) for name, t in times.items()}, statistics.median(ceilings)


def report(name: str, compiled: bool, rounds: int) -> None:
    """Print one design's rows."""
    work = operations(DESIGNS[name]()) / 1e9
    count = sum(parameter.numel() for parameter in DESIGNS[name]().parameters())
    print(f"{name}: {count:,} parameters, {work:.2f} GFLOP a step")
    medians, ceiling = interleaved(variants(DESIGNS[name], compiled), rounds)
    for variant, median in medians.items():
        share = work / median / ceiling
        print(
            f"  {variant:14} {median * 1e3:7.2f} ms  {BATCH / median:8,.0f} images/s"
            f"  {work / median:6.1f} GFLOP/s ({share:4.0%} of {ceiling:.0f})"
            f"  {median / medians['lanes']:5.2f} x lanes"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--rounds", type=int, default=15, help="of three steps a variant")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(
        f"{platform.processor() or platform.machine()}, {lanes.instruction_set()}, torch"
        f" {torch.__version__}, batch {BATCH}, 1 thread, n = {3 * options.rounds},"
        f" load {os.getloadavg()[0]:.1f}"
    )
    for name in options.designs:
        report(name, not options.no_compile, options.rounds)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
