"""`python -m benchmarks.table FILE.json`: epoch throughput from pytest-benchmark's JSON."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from mnist_arch.errors import UserError

PUBLISHED = "published loop"
"""The variant that the others are compared with."""

EXIT_DONE, EXIT_MISTAKE = 0, 2

REMEDY = "make it with: pytest benchmarks --benchmark-json FILE.json"

Speeds = dict[str, dict[int, float]]
"""Images a second by variant and by sweep."""


@dataclass(frozen=True, slots=True)
class Row:
    """One variant: images a second over its sweeps, and how many times the published loop's.

    The ratio is the median over sweeps of the ratio within a sweep, so that the machine's drift
    in speed cancels; None where no sweep holds both.
    """

    variant: str
    median: float
    least: float
    most: float
    ratio: float | None
    rounds: int


def read_document(path: Path) -> dict[str, Any]:
    """Read pytest-benchmark's JSON; raises `UserError` if it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; {REMEDY}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is not JSON; {REMEDY}") from None
    if not isinstance(document, dict) or not isinstance(document.get("benchmarks"), list):
        raise UserError(f"{path} is not a file of pytest-benchmark's; {REMEDY}")
    return document


def read_speeds(document: dict[str, Any], path: Path) -> Speeds:
    """Images a second of every epoch in the document.

    Other benchmarks in the document are passed over. Raises `UserError` if one is damaged, or if
    none is the published loop's.
    """
    speeds: Speeds = {}
    try:
        for entry in document["benchmarks"]:
            facts, seconds = entry["extra_info"], entry["stats"]["median"]
            if "variant" not in facts:
                continue  # a step of lanes alone: `python -m benchmarks.steps` compares those
            by_sweep = speeds.setdefault(str(facts["variant"]), {})
            by_sweep[int(facts["sweep"])] = facts["images"] / seconds
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise UserError(f"{path} holds other benchmarks than these; {REMEDY}") from None
    if PUBLISHED not in speeds:
        raise UserError(f"{path} has no row for the {PUBLISHED} to compare with; {REMEDY}")
    return speeds


def make_rows(speeds: Speeds) -> list[Row]:
    """One row a variant, in the order of the file."""
    published = speeds[PUBLISHED]
    rows = []
    for variant, by_sweep in speeds.items():
        ratios = [by_sweep[sweep] / published[sweep] for sweep in by_sweep.keys() & published]
        values = by_sweep.values()
        rows.append(
            Row(
                variant, median(values), min(values), max(values),
                median(ratios) if ratios else None, len(values),
            )
        )  # fmt: skip
    return rows


def make_table(rows: list[Row]) -> Table:
    """The rows as a table for the terminal."""
    table = Table(title="Training epochs, images a second")
    table.add_column("variant", no_wrap=True)
    for name in ("median", "min - max", "ratio", "rounds"):
        table.add_column(name, justify="right")
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(
            row.variant, f"{row.median:,.0f}", f"{row.least:,.0f} - {row.most:,.0f}", ratio,
            str(row.rounds),
        )  # fmt: skip
    return table


def facts_line(document: dict[str, Any]) -> str:
    """On what it was measured: design, images, threads, machine and versions."""
    infos = (entry["extra_info"] for entry in document["benchmarks"])
    facts = next(info for info in infos if "variant" in info)
    machine = document.get("machine_info") or {}
    processor = machine.get("cpu") or {}
    return "; ".join(
        (
            f"design {facts.get('design', '?')} ({facts.get('parameters', 0):,} parameters), "
            f"{facts['images']:,} images a round, threads: {facts.get('threads', '?')}",
            f"{processor.get('brand_raw', machine.get('processor') or 'unknown processor')}, "
            f"{processor.get('count', '?')} cores, {machine.get('system', '?')} "
            f"{machine.get('machine', '')}".rstrip(),
            f"Python {machine.get('python_version', '?')}, torch {facts.get('torch', '?')}",
        )
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the table of a file; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.table",
        description="Print epoch throughput from pytest-benchmark's JSON.",
        epilog="example:\n  pytest benchmarks --benchmark-json benchmark.json\n"
        "  python -m benchmarks.table benchmark.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE.json")
    path = parser.parse_args(arguments).file
    try:
        document = read_document(path)
        rows = make_rows(read_speeds(document, path))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    console = Console(highlight=False, markup=False)
    console.print(make_table(rows))
    console.print(facts_line(document), soft_wrap=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
