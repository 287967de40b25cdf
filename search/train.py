"""`python -m search.train`: train one design and keep its log."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from search import options as common

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
    parser = common.parser("train", "Train one design and keep its log.", EXAMPLES)
    parser.add_argument(
        "--design", required=True, metavar="NAME|FILE.json",
        help="a design's name (assignment) or its JSON file",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="default %(default)s"
    )
    parser.add_argument(
        "--study", type=common.name, metavar="NAME",
        help="folder in the results for the log (default: train-DESIGN, never overwritten)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=common.whole(1, 1_000), metavar="N", help="default: all cores"
    )
    common.add_training_options(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Train one design; returns the exit status."""
    options = make_parser().parse_args(arguments)
    design = common.read_design(options.design)
    from search.conductors.training import train_single

    return train_single(options, common.settings_of(options), design)


if __name__ == "__main__":
    sys.exit(common.run_command(main))
