"""`python -m search.completion`: what a shell needs to complete the commands and their options."""

from __future__ import annotations

import argparse
import importlib
import sys

from search import cli
from search.verbs import PROGRAM, VERBS

EXAMPLES = f"""\
  python -m search.completion bash > ~/.local/share/bash-completion/completions/{PROGRAM}
      then, in a new shell: {PROGRAM} run --tr<TAB>
  python -m search.completion zsh > ~/.zfunc/_{PROGRAM}
      for zsh, where ~/.zfunc is in fpath
"""

SHELLS = ("bash", "zsh", "tcsh")


def make_parser() -> argparse.ArgumentParser:
    """The command line of the completion."""
    parser = cli.parser(
        "completion",
        f"Print a shell's completion for {PROGRAM}, which is python -m search by another name.",
        EXAMPLES,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell to print it for")
    return parser


def every_command() -> argparse.ArgumentParser:
    """One parser with every verb's options below it."""
    import shtab

    whole = argparse.ArgumentParser(PROGRAM)
    verbs = whole.add_subparsers(dest="verb")
    for verb, does in VERBS.items():
        module = importlib.import_module(f"search.{verb}")
        parser = verbs.add_parser(verb, help=does, parents=[module.make_parser()], add_help=False)
        for action in parser._actions:
            if action.metavar == "DIR" or "results" in str(action.metavar):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif "FILE" in str(action.metavar):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return whole


def main(arguments: list[str] | None = None) -> int:
    """Print the completion; returns the exit status."""
    options = make_parser().parse_args(arguments)
    import shtab

    print(shtab.complete(every_command(), options.shell))
    return cli.EXIT_DONE


if __name__ == "__main__":
    sys.exit(cli.run_command(main))
