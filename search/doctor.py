"""`python -m search.doctor`: say what this machine trains with, and why not with the other."""

from __future__ import annotations

import argparse
import sys

from search import options as common

EXAMPLES = """\
  python -m search.doctor
      devices, engines, instruction sets, cores, versions, and whether MNIST is intact
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line of the doctor."""
    return common.parser(
        "doctor", "Say what this machine trains with, and why not with the other.", EXAMPLES
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the findings; 1 if nothing can be trained here."""
    make_parser().parse_args(arguments)
    from rich.console import Console

    from search.checkup import data_finding, findings

    console = Console(highlight=False)
    for name, finding in findings():
        console.print(f"{name:<12} {finding}", soft_wrap=True, markup=False)
    intact, finding = data_finding()
    console.print(f"{'MNIST':<12} {finding}", soft_wrap=True, markup=False)
    return common.EXIT_DONE if intact else common.EXIT_NO


if __name__ == "__main__":
    sys.exit(common.run_command(main))
