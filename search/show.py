"""`python -m search.show`: print a study's leaderboard and refusals, or a design's layer table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from search import cli, open_study
from search import options as common
from search.names import read_design

SORTS = (*common.RANKS, "trial")

EXAMPLES = """\
  python -m search.show results/mnist
      the leaderboard, and what the rules refused
  python -m search.show results/mnist --sort parameters --top 5
      the five smallest designs that pass
  python -m search.show results/mnist --csv > leaderboard.csv
      the same rows for another program
  python -m search.show design assignment
      the layer table of a named design, or of a design's JSON file
  python -m search.show design assignment --picture assignment.svg
      the same, and the network drawn to a file (.svg or .png)
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of the tables."""
    parser = cli.parser(
        "show", "Print a study's leaderboard and refusals, or a design's layer table.", EXAMPLES
    )
    parser.add_argument(
        "what", nargs="+", metavar="results/STUDY | design NAME|FILE.json",
        help="a study's folder; or the word design and a design's name or JSON file",
    )  # fmt: skip
    parser.add_argument(
        "--sort", choices=SORTS, default="accuracy", help="order of the rows (default %(default)s)"
    )
    parser.add_argument(
        "--top", type=common.whole(1), metavar="N", help="only the first N rows (default: all)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--csv", action="store_true", help="print the rows as CSV, counts and shares unrounded"
    )
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw the design to a file: .svg or .png"
    )
    common.add_rules(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Print what was asked for; returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.what[0] == "design":
        if len(options.what) != 2:
            parser.error("design takes one name or JSON file: search.show design assignment")
        return _show_design(options)
    if len(options.what) != 1:
        parser.error(f"one study's folder at a time, got {len(options.what)}")
    if options.picture:
        parser.error("--picture draws one design: search.show design NAME|FILE.json --picture FILE")
    study = open_study(options.what[0])
    if options.csv:
        from search.tables.csv_text import to_csv
        from search.tables.trials import in_order

        sys.stdout.write(to_csv(in_order(study.leaderboard, options.sort, options.top)))
        return cli.EXIT_DONE
    if options.json:
        from search.pages.document import document

        print(json.dumps(document(study, options.sort, options.top), indent=2))
        return cli.EXIT_DONE
    from search.terminal.study import show_study

    show_study(study, options.sort, options.top)
    return cli.EXIT_DONE


def _show_design(options: argparse.Namespace) -> int:
    """Print a design's layers, and draw it where that is asked for; returns the exit status."""
    from mnist_arch.plan import plan
    from search.pictures.architecture import save
    from search.terminal.layers import show_design

    name = options.what[1]
    design = read_design(name)
    if options.picture:
        save(plan(design), options.picture)
    form = "json" if options.json else "csv" if options.csv else ""
    allowed = show_design(design, name, common.rules_of(options), form)
    return cli.EXIT_DONE if allowed else cli.EXIT_NO


if __name__ == "__main__":
    sys.exit(cli.run_command(main))
