"""`python -m search.train`: train one design and keep its log."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from search import cli
from search import options as common
from search.files import RESULTS
from search.names import read_design

EXAMPLES = """\
  python -m search.train --design assignment
      the assignment's design under our recipe and protocol
  python -m search.train --design assignment --recipe assignment --protocol assignment --epochs 19
      as the class does it: fitted on 60,000, validated on the test images
  python -m search.train --design my-design.json --epochs 2 --train-images 2000
      a quick try of a design of your own
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of a single training."""
    parser = cli.parser("train", "Train one design and keep its log.", EXAMPLES)
    parser.add_argument(
        "--design", required=True, metavar="NAME|FILE.json",
        help="a design's name (assignment) or its JSON file",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR", help="default %(default)s"
    )
    parser.add_argument(
        "--study", type=common.name, metavar="NAME",
        help="folder in the results for the log (default: train-DESIGN, never overwritten)",
    )  # fmt: skip
    common.add_threads(parser)
    common.add_training_options(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Train one design; returns the exit status."""
    options = make_parser().parse_args(arguments)
    design = read_design(options.design)
    config = common.config_of(options)
    from mnist_arch.references import REFERENCE_DESIGNS
    from search.single import Single, train_single

    name = options.design if options.design in REFERENCE_DESIGNS else Path(options.design).stem
    machine = common.machine_of(options)
    result = train_single(Single(design, name, config, machine, options.results, options.study))
    if result is None:
        return cli.EXIT_INTERRUPTED
    return cli.EXIT_DONE if result.outcome == "finished" else cli.EXIT_NO


if __name__ == "__main__":
    sys.exit(cli.run_command(main))
