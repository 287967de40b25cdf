"""Page: one or several studies as one HTML file that needs nothing else, and their figures.

plotly's script stands in the file; its content policy allows no request to any network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from mnist_arch.references import BASELINE
from search import files
from search.config import StudyConfig
from search.formats import duration, standard_error
from search.pages import answers, leaderboard
from search.pages.compare import comparisons
from search.pages.errors import errors_of
from search.pages.figure import Figure
from search.pages.figures import figures
from search.pages.older import completed, missing
from search.pages.published import published
from search.pages.stills import still
from search.pages.words import rules_in_words, runs_in_words
from search.pictures.drawing import style_rules
from search.tables import trials
from search.tables.files import StudyTables

PAGE, FIGURES = "report.html", "figures"

TEMPLATES = Environment(
    loader=PackageLoader("search.pages"), undefined=StrictUndefined, autoescape=True,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """What was written: the page, and the pictures of its figures."""

    page: Path
    pictures: tuple[Path, ...]


def write_report(studies: Sequence[StudyTables], to: Path, pictures: bool = True) -> Report:
    """Write the page of studies, and `pictures` of its figures, into a folder.

    Raises `MachineError` where the disk refuses.
    """
    drawn = figures(studies[0]) if len(studies) == 1 else comparisons(studies)
    files.make_folder(to)
    files.write_text(to / PAGE, html(studies, drawn))
    return Report(to / PAGE, _pictures(drawn, to / FIGURES) if pictures else ())


def _pictures(drawn: Sequence[Figure], folder: Path) -> tuple[Path, ...]:
    """Write every figure that there is as PNG and SVG."""
    files.make_folder(folder)
    written = []
    for figure in drawn:
        if figure.plot is not None:
            for kind, content in still(figure.plot, figure.title).items():
                path = folder / f"{figure.name}.{kind}"
                files.write_bytes(path, content)
                written.append(path)
    return tuple(written)


def html(studies: Sequence[StudyTables], drawn: Sequence[Figure]) -> str:
    """The page as text."""
    title = ", ".join(study.name for study in studies)
    has_plots = any(figure.plot is not None for figure in drawn)
    page = {
        "title": f"{title}: report",
        "studies": [_study(study) for study in studies],
        "figures": [_figure(figure) for figure in drawn],
        "has_plots": has_plots,
        "published": published() if any(s.config.dataset == "mnist" for s in studies) else (),
    }
    return TEMPLATES.get_template("report.html.jinja").render(
        page=page, css=Markup(_text("report.css") + style_rules()), js=Markup(_text("report.js")),
        plotly=Markup(get_plotlyjs()) if has_plots else "",
    )  # fmt: skip


def _text(name: str) -> str:
    return (resources.files("search.pages") / "templates" / name).read_text(encoding="utf-8")


def _figure(figure: Figure) -> dict[str, Any]:
    """A figure for the template; its JSON can end no script element."""
    text = None if figure.plot is None else str(figure.plot.to_json())
    safe = None if text is None else Markup(text.replace("<", "\\u003c"))
    return {"name": figure.name, "title": figure.title, "says": figure.says, "json": safe}


def _study(found: StudyTables) -> dict[str, Any]:
    """A study for the template."""
    study = completed(found)
    shown, total = leaderboard.lines(study)
    errors, errors_say = errors_of(study)
    baseline = trials.baseline(study.trials)["trial"].tolist()
    return {
        "name": study.name,
        "kind": _kind(study),
        "folder": study.folder.as_posix(),
        "verdict": answers.verdict(study),
        "notes": _notes(found),
        "answers": _answers(study),
        "meaning": _meaning(study.config),
        "lines": [(line, leaderboard.cells(line)) for line in shown],
        "board_says": _board_says(len(shown), study, total),
        "baseline": baseline[0] if baseline else None,
        "errors": errors,
        "errors_say": errors_say,
        "rules": rules_in_words(study.config),
        "runs": runs_in_words(study.document),
    }


def _meaning(config: StudyConfig) -> str:
    said = (
        "proven: with fresh seeds, even the 95 % lower bound of the mean reaches the target, "
        "corrected for the number of designs judged; confirmed: the mean does. passed, one seed: "
        "the search alone says so, and of one accuracy on 10,000 images "
        f"{standard_error(config.rules.target)}."
    )
    if config.selected_on_test:
        return said
    return (
        f"{said} Each answer was chosen on the validation images: on the test images another "
        "design may do better."
    )


def _kind(study: StudyTables) -> str:
    seconds = study.document.get("seconds")
    took = f"; {duration(seconds)} of search" if isinstance(seconds, int | float) else ""
    return f"A search for small networks that read {study.config.data.reads}{took}"


def _notes(study: StudyTables) -> list[str]:
    """What a reader must know before any figure."""
    notes = [*study.config.about_data]
    if study.config.is_shortened:
        notes.append("Shortened trainings: a try-out, not a result.")
    if study.config.origin:
        notes.append(study.config.origin)
    if study.config.selected_on_test:
        notes.append(
            "Validated on the test images, as the class does: every figure is selected on the "
            "test set."
        )
    absent = missing(study)
    if absent:
        notes.append(
            "Made by an older version of the program: its tables lack "
            f"{', '.join(absent)}, so parts of this page are missing."
        )
    return notes


def _answers(study: StudyTables) -> list[dict[str, Any]]:
    found = answers.three_answers(study)
    if all(answer.row is None for answer in found):
        return []
    return [
        {
            "title": answer.title, "row": answer.row, "sure": answer.sure, "note": answer.note,
            "accuracy": "" if answer.accuracy is None else f"{answer.accuracy * 100:.2f}",
            "parameters": f"{answer.row['parameters']:,}" if answer.row else "",
            "epochs": answer.row["epochs"] if answer.row else "",
            "why": _why_no_baseline(study) if answer is found[-1] else "There is none yet.",
        }
        for answer in found
    ]  # fmt: skip


def _why_no_baseline(study: StudyTables) -> str:
    own = study.trials[study.trials["fingerprint"] == BASELINE.fingerprint]
    refused = own[own["state"] == "rejected"]
    if refused.empty:
        return "Not tried in this study."
    return f"Refused by this study's rules: {refused['parameters'].iloc[0]:,} parameters."


def _board_says(shown: int, study: StudyTables, total: int) -> str:
    rest = f" The first {shown:,} of {total:,} are shown; leaderboard.csv has all." * (
        shown < total
    )
    judged = answers.verdicts(study).values()
    unseen = (
        " (of a design judged by folds: of six trainings on images that they never saw)"
        if any(map(answers.is_by_folds, judged))
        else ""
    )
    near = standard_error(study.config.rules.target)
    return (
        f"Green: the mean over fresh seeds on the test images{unseen}, with its 95 % lower bound. "
        f"Blue: one seed on the validation images, with its 95 % interval ({near}). The "
        f"dashed line is the target. Click a heading to sort, a row to open it.{rest}"
    )
