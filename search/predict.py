"""`python -m search.predict`: name the digit in an image file with an exported network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from search import options as common

EXAMPLES = """\
  python -m search.predict results/mnist/best digit.png
      the digit in an image file, with its probability and the runner-up
  python -m search.predict results/mnist/best *.jpg --json
      several, for another program
  python -m search.predict results/mnist/best digit.png --show
      also what the network sees
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of a prediction."""
    parser = common.parser(
        "predict", "Name the digit in an image file with an exported network.", EXAMPLES
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="a folder that search.export wrote"
    )
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE",
        help="an image of one digit: any size, colour, polarity and place",
    )  # fmt: skip
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print a JSON list")
    output.add_argument(
        "--show", action="store_true", help="also print each image as the network sees it"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Name the digits in image files; returns the exit status."""
    options = make_parser().parse_args(arguments)
    from search.predictions.predicting import predict

    return predict(options)


if __name__ == "__main__":
    sys.exit(common.run_command(main))
