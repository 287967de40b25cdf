"""`python -m search.check`: hold anybody's network against the rules. Checking code runs it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from search import cli
from search import options as common
from search.foreign.targets import CheckConfig, read_target

EXAMPLES = """\
  python -m search.check net.py:Net
      the layers of a class of yours, and what each rule says of it
  python -m search.check package.module:make_network --strict
      the same of what a function returns, where no convolution may equal a dense layer
  python -m search.check my-design.json
      a design in a file; runs no code
  python -m search.check net.py:Net --weights net.safetensors
      with a saved state, read without unpickling
  python -m search.check net.py:Net --train --seeds 5
      also trains it under this harness's protocol, once with each of five seeds

Checking a .py file or a module RUNS ITS CODE with your rights, in a process of its own that is
stopped when it hangs. That contains accidents, not attacks: read code of strangers first.
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of the check."""
    parser = cli.parser("check", "Hold anybody's network against the rules.", EXAMPLES)
    parser.add_argument(
        "what", metavar="TARGET",
        help="FILE.py:Class, package.module:factory (both take no arguments and their code is "
        "run), FILE.json (a design) or a design's name",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="fill the network with a saved state: .safetensors, or a .pt with nothing but tensors",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print everything as one JSON object on stdout"
    )
    parser.add_argument(
        "--time-limit", type=common.whole(1), default=60, metavar="SECONDS",
        help="for loading and watching it, without the training (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--train", action="store_true", dest="train_it",
        help="train it and judge its validation accuracy after the last epoch",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=common.whole(1, 1_000), default=1, metavar="N",
        help="with --train: trainings, with the seeds from --seed on (default %(default)s)",
    )  # fmt: skip
    common.add_threads(parser)
    common.add_training_options(parser)
    return parser


def config_of(options: argparse.Namespace) -> CheckConfig:
    """The check that a command line asks for; raises `UserError` where its options clash."""
    return CheckConfig(
        options.what, options.weights, options.train_it, options.seeds, options.time_limit,
        common.config_of(options), common.machine_of(options),
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Check a target; returns the exit status."""
    options = make_parser().parse_args(arguments)
    config = config_of(options)
    from rich.console import Console

    from search.foreign.checking import check
    from search.terminal.check import RUNS_CODE, print_conclusion, print_event

    console = Console(highlight=False, stderr=options.json)
    if read_target(options.what).kind != "design":
        console.print(f"[dim]{RUNS_CODE}[/dim]", soft_wrap=True)
    report = check(config, lambda event: print_event(event, config, console))
    print_conclusion(report, config, console)
    if options.json:
        print(json.dumps(report.to_dict(), indent=2))
    return cli.EXIT_DONE if report.passes else cli.EXIT_NO


if __name__ == "__main__":
    sys.exit(cli.run_command(main))
