"""`python -m search.doctor`: say what this machine trains with, and why not with the other."""

from __future__ import annotations

import argparse
import json
import sys

from search import cli, facts

EXAMPLES = """\
  python -m search.doctor
      devices, engines, instruction sets, cores, versions, and whether MNIST is intact
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of the doctor."""
    parser = cli.parser(
        "doctor", "Say what this machine trains with, and why not with the other.", EXAMPLES
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Print the findings; 1 if nothing can be trained here."""
    options = make_parser().parse_args(arguments)
    intact, about_data = data_finding()
    found = [*findings(), ("MNIST", about_data), ("Fashion", data_finding("fashion")[1])]
    if options.json:
        print(json.dumps({**dict(found), "intact": intact}, indent=2))
        return cli.EXIT_DONE if intact else cli.EXIT_NO
    from rich.console import Console

    console = Console(highlight=False)
    for name, finding in found:
        console.print(f"{name:<12} {finding}", soft_wrap=True, markup=False)
    return cli.EXIT_DONE if intact else cli.EXIT_NO


def findings() -> list[tuple[str, str]]:
    """What there is here, as names and sentences."""
    import torch

    from mnist_arch.engine import choose_device, choose_engine

    hardware = facts.hardware(choose_device("auto"))
    versions = facts.versions()
    return [
        ("machine", f"{hardware['processor']}, {hardware['memory_gib']} GiB, {hardware['system']}"),
        ("cores", f"{facts.usable_cores()} usable; a search on the CPU takes one worker a core"),
        ("device", f"auto is {choose_device('auto')}"),
        ("engine", choose_engine("auto", "auto").reason),
        ("lanes", _lanes()),
        ("torch", f"{versions['torch']}, {torch.get_num_threads()} threads in a single training"),
        ("versions", ", ".join(f"{name} {found}" for name, found in versions.items())),
        ("commit", facts.commit()),
    ]


def _lanes() -> str:
    """Which instruction set lanes runs on, or why it cannot."""
    from mnist_arch import lanes

    obstacle = lanes.why_not()
    if obstacle:
        return f"cannot run: {obstacle}"
    usable = ", ".join(lanes.usable())
    return (
        f"runs with {lanes.instruction_set()} (usable here: {usable}); one thread a worker, "
        "more while cores are idle, "
        f"{lanes.peak_gflops():.0f} GFLOP/s of multiply-adds measured on one core"
    )


def data_finding(dataset: str = "mnist") -> tuple[bool, str]:
    """Whether a data set is intact where it is looked for without --data, and a sentence."""
    from mnist_arch.data import DataError, load

    try:
        images = sum(len(load(part, dataset=dataset)) for part in ("train", "test"))
    except DataError as error:
        return False, str(error)
    return True, f"{images:,} images, checksums right"


if __name__ == "__main__":
    sys.exit(cli.run_command(main))
