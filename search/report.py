"""`python -m search.report`: a study as a page to look at, and its figures as pictures."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from search import cli, open_study

EXAMPLES = """\
  python -m search.report results/mnist
      writes results/mnist/report.html and results/mnist/figures/
  python -m search.report results/first-light results/under-8000 --to both
      two studies on one page, in the folder both
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of the report."""
    parser = cli.parser(
        "report",
        "Write a study's report.html, one file that works offline, and its figures as PNG and SVG.",
        EXAMPLES,
    )
    parser.add_argument(
        "studies", nargs="+", type=Path, metavar="results/STUDY",
        help="a study's folder; with several, their answers side by side",
    )  # fmt: skip
    parser.add_argument(
        "--to", type=Path, metavar="DIR",
        help="folder to write to (default: the study's; with several, results/report)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Write the page; returns the exit status."""
    options = make_parser().parse_args(arguments)
    studies = [open_study(folder) for folder in options.studies]
    several = len(studies) > 1
    to = options.to or (Path("results/report") if several else options.studies[0])
    from search.pages.answers import verdict
    from search.pages.page import write_report

    written = write_report(studies, to)
    if options.json:
        told: dict[str, object] = {
            "page": str(written.page),
            "pictures": [str(path) for path in written.pictures],
        }
        told["verdicts"] = {study.name: verdict(study) for study in studies}
        print(json.dumps(told, indent=2))
        return cli.EXIT_DONE
    for study in studies:
        print(f"{study.name + ': ' if several else ''}{verdict(study)}")
    print(f"Page:    {written.page}\nFigures: {to / 'figures'} ({len(written.pictures)} files)")
    return cli.EXIT_DONE


if __name__ == "__main__":
    sys.exit(cli.run_command(main))
