"""Draw the figures of README and docs from committed results (`-m benchmarks.doc_figures`)."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from mnist_arch.plan import plan
from mnist_arch.references import REFERENCE_DESIGNS
from search import open_study
from search.pages.figure import BLUE, ORANGE, Figure, plain
from search.pages.figures import figures
from search.pages.stills import still
from search.pictures.architecture import save

ROOT = Path(__file__).parents[1]
RESULTS, TO = ROOT / "results", ROOT / "docs" / "figures"

OF_STUDIES = {"accuracy": "first-light", "luck": "first-light", "looks": "curves"}
"""Figures of the report, and the study that each is drawn from."""

DESIGNS = ("assignment", "published-4392")


def engines(folder: Path) -> Figure:
    """The last epoch's validation accuracy of each seed's training on each engine."""
    figure = plain("validation accuracy after the last epoch, %", "")
    for engine, colour in (("torch", ORANGE), ("lanes", BLUE)):
        logs = sorted(folder.glob(f"{engine}-*/epochs.csv"))
        last = [float(pd.read_csv(log)["validation_accuracy"].iloc[-1]) * 100 for log in logs]
        figure.add_trace(
            go.Scatter(
                x=last, y=[engine] * len(last), mode="markers", name=f"{engine}, {len(last)} seeds",
                marker={"color": colour, "size": 12, "opacity": 0.7},
            )
        )  # fmt: skip
    return Figure("engines", "The same design on both engines", "", figure)


def main() -> int:
    """Write all of them as SVG; returns the exit status."""
    TO.mkdir(parents=True, exist_ok=True)
    found = [engines(RESULTS / "engines")]
    for name, study in OF_STUDIES.items():
        found += [f for f in figures(open_study(RESULTS / study)) if f.name == name]
    for figure in found:
        assert figure.plot is not None
        path = TO / f"{figure.name}.svg"
        path.write_bytes(still(figure.plot, figure.title)["svg"])
        print(path.relative_to(ROOT))
    for design in DESIGNS:
        save(plan(REFERENCE_DESIGNS[design]), TO / f"{design}.svg")
        print((TO / f"{design}.svg").relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
