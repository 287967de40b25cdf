"""`python -m search`: the verbs, in the order in which they are mostly used."""

from __future__ import annotations

import runpy
import sys

from search import cli
from search.names import did_you_mean
from search.verbs import VERBS


def main() -> int:
    """List the verbs, or run one: `python -m search run ...` is `python -m search.run ...`."""
    words = sys.argv[1:]
    if words and words[0] in VERBS:
        sys.argv[:] = [f"search.{words[0]}", *words[1:]]
        runpy.run_module(f"search.{words[0]}", run_name="__main__")
    if words and words[0] not in ("-h", "--help", "help"):
        known = ", ".join(VERBS)
        meant = did_you_mean(words[0], VERBS)
        print(f"error: {words[0]!r} is no verb{meant}; choose from {known}", file=sys.stderr)
        return cli.EXIT_MISTAKE
    print("usage: python -m search VERB [options]   (VERB --help tells more, with examples)\n")
    for verb, does in VERBS.items():
        print(f"  {verb:<12}{does}")
    return cli.EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
