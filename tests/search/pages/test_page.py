from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from mnist_arch.design import Conv, Design, Dropout
from mnist_arch.errors import MachineError
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rules
from search import ConfirmConfig, RunConfig, StudyConfig, open_study, report, search
from search.pages import after, answers, choices, leaderboard
from search.pages.accuracy import accuracy_against_parameters, front_of
from search.pages.figures import figures
from search.pages.page import html, write_report
from search.pages.published import published
from search.pages.stills import MARKERS
from search.tables.files import StudyTables
from tests.search.commands import ROOT
from tests.search.pages.made import CONFIG, a_study, some_design, states
from tests.search.studies import folds_alone

FIRST_LIGHT = ROOT / "results" / "first-light"


class Reader(HTMLParser):
    """Every element opened is closed; collects texts and the sources that a page names."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "path", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [v or "" for name, v in attrs if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)


def page_of(study: StudyTables) -> tuple[Reader, str]:
    """A study's page, read, and its words."""
    reader = Reader()
    reader.feed(html([study], figures(study)))
    assert not reader.open
    return reader, re.sub(r"\s+", " ", " ".join(reader.texts))


def test_a_page_names_no_address_to_load() -> None:
    reader, _ = page_of(open_study(FIRST_LIGHT))
    assert all(source.startswith("data:image/png;base64,") for source in reader.sources)


def test_the_numbers_of_the_verdict_add_up(tmp_path: Path) -> None:
    study = a_study(tmp_path, states(41), confirmed=(0, 6))
    found = answers.counts(study)
    assert found.proposed == len(study.trials) == 41
    assert found.proposed == (
        found.rejected + found.duplicate + found.screened + found.trained + found.other
    )
    assert found.trained == found.pruned + found.missed + found.passed + found.failed
    told = [int(n) for n in re.findall(r"(?<![\d.])\d+(?![\d.]| %)", answers.verdict(study))]
    assert told == [
        41, found.rejected, found.duplicate, found.trained, found.pruned, found.missed,
        found.passed, 2, 2,
    ]  # fmt: skip


def test_the_verdict_of_the_committed_study() -> None:
    assert answers.verdict(open_study(FIRST_LIGHT)) == (
        "56 designs were tried: 6 were refused by the rules and 50 were trained. Of those trained, "
        "40 were stopped early, 3 missed 99.40 % and 7 reached 99.40 %. 4 designs were trained "
        "again with fresh seeds and judged on the test images: 4 confirmed."
    )


def test_a_design_that_only_the_folds_judged_is_confirmed_by_them(tmp_path: Path) -> None:
    study = open_study(folds_alone(tmp_path / "class-proof"))
    assert answers.verdict(study).endswith(
        " 1 design was trained again six times, each time judged on images that this training "
        "never saw: 1 confirmed."
    )
    assert (answers.counts(study).judged, answers.counts(study).confirmed) == (1, 1)
    found = answers.three_answers(study)[0]
    assert (found.accuracy, found.sure) == (0.9946, "confirmed")
    reader, words = page_of(study)
    assert "of a design judged by folds: of six trainings on images that they never saw" in words
    assert "passed, one seed" not in reader.texts
    assert "Nothing was confirmed on the test images" in words


def test_where_both_judged_the_test_images_count() -> None:
    study = open_study(ROOT / "results" / "class-next")
    assert "judged on the test images: 2 confirmed. 1 design was" in answers.verdict(study)
    assert answers.verdicts(study)[2]["judge"] == "test"
    assert answers.counts(study).judged == 2
    assert "judged by folds:" not in page_of(study)[1]


def test_the_three_answers_come_from_the_confirmed_designs() -> None:
    study = open_study(FIRST_LIGHT)
    accurate, smallest, fastest, baseline = answers.three_answers(study)
    finalists = study.tables["finalists"]
    confirmed = finalists[finalists["confirmed"]]
    assert smallest.row is not None
    assert smallest.row["parameters"] == confirmed["parameters"].min() == 13_748
    assert accurate.row is not None
    assert accurate.row["validation_accuracy"] == confirmed["validation_accuracy"].max()
    assert accurate.accuracy != finalists["test_accuracy"].max()  # never chosen by the test images
    assert fastest.note == "all had as many epochs"
    assert baseline.row is not None
    assert baseline.row["fingerprint"] == BASELINE.fingerprint


def test_without_confirmation_the_answers_are_of_the_search(tmp_path: Path) -> None:
    study = a_study(tmp_path, states(16))
    accurate, smallest, _, _ = answers.three_answers(study)
    assert accurate.row is not None
    assert smallest.row is not None
    assert accurate.row["trial"] == study.leaderboard["trial"].iloc[0]
    assert smallest.row["parameters"] == study.leaderboard["parameters"].min()
    assert accurate.sure == "passed, one seed"


def test_a_confirmed_design_that_missed_in_the_search_is_an_answer() -> None:
    accurate = answers.three_answers(open_study(ROOT / "results" / "under-8000"))[0]
    assert accurate.row is not None
    assert (accurate.row["trial"], accurate.sure) == (64, "confirmed")


@pytest.mark.parametrize("right", [0, 5_000, 9_930, 9_940, 10_000])
def test_the_interval_is_wilsons(right: int) -> None:
    low, high = answers.wilson(right / 10_000)
    z = stats.norm.ppf(0.975)
    share, n = right / 10_000, 10_000
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-12)


def test_the_front_is_what_no_other_beats(tmp_path: Path) -> None:
    whole = answers.full(a_study(tmp_path, states(80)))
    front = front_of(whole)
    for row in whole.itertuples():
        better = whole[
            (whole["parameters"] <= row.parameters)
            & (whole["validation_accuracy"] >= row.validation_accuracy)
        ]
        strictly = better[
            (better["parameters"] < row.parameters)
            | (better["validation_accuracy"] > row.validation_accuracy)
        ]
        if strictly.empty:
            assert row.parameters in set(front["parameters"])
        else:
            same = front["trial"] == row.trial
            assert not same.any()


def test_dropped_finalists_are_hollow_squares() -> None:
    figure = accuracy_against_parameters(open_study(ROOT / "results" / "search-3"))
    assert figure.plot is not None
    squares = {
        mark.marker.symbol: (mark.name, sorted(mark.x))
        for mark in figure.plot.data
        if "square" in str(mark.marker.symbol)
    }
    assert squares == {
        "square": ("confirmed on the test images (mean, lower bound)", [4_099, 17_214, 18_430]),
        "square-open": ("not confirmed on the test images (mean, lower bound)", [3_009]),
    }


def test_a_picture_has_a_mark_for_each_of_a_figures_symbols() -> None:
    for figure in figures(open_study(ROOT / "results" / "search-3")):
        for trace in figure.plot.data if figure.plot else ():
            symbol = getattr(getattr(trace, "marker", None), "symbol", None)
            assert str(symbol or "circle").removesuffix("-open") in MARKERS


def test_every_column_of_the_board_is_the_tables(tmp_path: Path) -> None:
    study = a_study(tmp_path, states(30), confirmed=(0,))
    shown, total = leaderboard.lines(study)
    passing = study.leaderboard["trial"].tolist()
    assert [line.trial for line in shown][: len(passing)] == passing
    assert total == len(shown) == len(passing)
    for line in shown:
        row = study.trials.set_index("trial").loc[line.trial]
        assert line.row["parameters"] == row["parameters"]
        assert line.low <= line.mean <= line.high
        for svg in (line.bar, line.curve, line.picture):
            ElementTree.fromstring(svg)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([], "Nothing was tried yet: the study has no finished trial."),
        (["passed"], "1 design was tried: 0 were refused by the rules and 1 was trained."),
        (["rejected"], "1 design was tried: 1 was refused by the rules and 0 were trained."),
        (["missed"] * 3 + ["pruned"], "3 missed 99.40 % and none reached 99.40 %"),
        (["pruned"] * 20, "Of those trained, 20 were stopped early and none reached 99.40 %."),
        (["rejected"] * 5, "No design was trained to its last epoch yet: there is nothing to rank"),
        (["duplicate", "rejected"], "1 was tried before and 0 were trained."),
    ],
)
def test_poor_studies_have_a_page_that_says_so(tmp_path: Path, ends: list[str], said: str) -> None:
    study = a_study(tmp_path, ends)
    _, words = page_of(study)
    assert said in words
    assert "Nothing was confirmed" in words
    for figure in figures(study):
        assert figure.says
        assert figure.plot is None or any(
            trace.x is not None and len(trace.x) for trace in figure.plot.data
        )


def test_a_study_of_an_older_version_has_a_page_that_says_so(tmp_path: Path) -> None:
    study = a_study(tmp_path, states(20))
    for name in ("design", "widths", "macs", "started", "seconds"):
        if name in study.trials:
            del study.trials[name]
    _, words = page_of(study)
    assert (
        "Made by an older version of the program: its tables lack widths, macs, seconds, design,"
        in words
    )
    assert "do not say when its trials ran" in words


def test_html_in_names_is_text(tmp_path: Path) -> None:
    bad = "<img src=x onerror=alert(1)>&</script><b>"
    study = a_study(tmp_path, states(16), name=bad)
    study.trials["widths"] = bad
    study.trials["worker"] = bad
    text = html([study], figures(study))
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;" in text
    reader = Reader()
    reader.feed(text)
    assert not reader.sources or all(source.startswith("data:") for source in reader.sources)
    several = html([study, study], [])
    assert "<img src=x" not in several


def test_rank_correlations_are_scipys() -> None:
    study = open_study(ROOT / "results" / "curves")
    early = dict(choices.early_measures(study))
    epochs = study.tables["epochs"]
    third = epochs[epochs["epoch"] == 3].set_index("trial")["validation_accuracy"]
    last = epochs[epochs["epoch"] == 19].set_index("trial")["validation_accuracy"]
    rho = stats.spearmanr(third, last.loc[third.index]).statistic
    says = next(f.says for f in figures(study) if f.name == "looks")
    assert f"after epoch 3, in the middle of the training: {rho:.2f} (24 designs)" in says
    assert list(early["after epoch 3, in the middle of the training"]) == list(third)


def test_looks_are_read_from_their_columns(tmp_path: Path) -> None:
    study = a_study(tmp_path, ["missed", "passed"] * 10)
    final = study.trials["validation_accuracy"]
    study.trials["look_0.25_accuracy"] = 0.9 + (final - 0.99) * 2
    study.trials["look_3_accuracy"] = -final
    says = next(f.says for f in figures(study) if f.name == "looks")
    assert "look of 3 epochs: -1.00 (20 designs); look of 0.25 epochs: 1.00 (20 designs)" in says


@pytest.mark.parametrize(
    ("designs", "says"),
    [
        (2, "Fewer than three designs were both judged early and trained in full"),
        (7, "trained in full. Fewer than 8 designs are too few for a rank correlation. Only"),
        (8, "(1: the same order, 0: none): look of 3 epochs: -1.00 (8 designs). Only"),
    ],
)
def test_a_few_designs_are_drawn_without_a_rank_correlation(
    tmp_path: Path, designs: int, says: str
) -> None:
    study = a_study(tmp_path, ["missed"] * designs)
    study.trials["look_3_accuracy"] = -study.trials["validation_accuracy"]
    assert says in next(f.says for f in figures(study) if f.name == "looks")


def test_curves_are_in_sight_however_poor(tmp_path: Path) -> None:
    for folder, scale in (("good", 1.0), ("poor", 0.6)):
        study = a_study(tmp_path / folder, ["missed"] * 6)
        study.tables["epochs"]["validation_accuracy"] *= scale
        figure = next(f for f in figures(study) if f.name == "curves")
        assert figure.plot is not None
        low, high = figure.plot.layout.yaxis.range
        last = study.tables["epochs"].query("epoch == 19")["validation_accuracy"] * 100
        assert low < last.min() < last.max() < high


def test_a_timeline_where_the_tables_say_when(tmp_path: Path) -> None:
    study = a_study(tmp_path, ["missed", "passed"] * 4)
    starts = pd.date_range("2026-01-01", periods=8, freq="1min", tz="UTC")
    study.trials["started"] = starts.astype(str)
    study.trials["ended"] = (starts + pd.Timedelta("30s")).astype(str)
    figure = next(f for f in figures(study) if f.name == "timeline")
    assert figure.plot is not None
    bases = sorted(base for trace in figure.plot.data for base in trace.base)
    assert bases == pytest.approx(range(8))
    assert {length for trace in figure.plot.data for length in trace.x} == {0.5}


def test_dropout_is_compared_where_it_could_stand(tmp_path: Path) -> None:
    assert choices.dropout_places(BASELINE) == {
        "after conv 1", "after conv 2", "after conv 3", "after conv 4", "after pool 2",
    }  # fmt: skip
    assert choices.dropout_places(Design((Dropout(0.1), Conv(10)))) == {"on the image"}
    study = a_study(tmp_path, ["missed", "passed"] * 30)
    table = choices.dropout_effects(study)
    values = study.trials.set_index("trial")["validation_accuracy"]
    designs = choices.designs_of(study.trials)
    row = table[table["place"] == "after conv 1"].iloc[0]
    on = [values[t] for t, d in designs.items() if "after conv 1" in choices.dropout_places(d)]
    off = [values[t] for t, d in designs.items() if "after conv 1" not in choices.dropout_places(d)]
    tested = stats.ttest_ind(on, off, equal_var=False).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx(tuple(tested))
    assert (row["with_dropout"], row["without"]) == (len(on), len(off))


def test_features_of_the_baseline() -> None:
    assert choices.features(BASELINE) | {"head": "convolution"} == {
        "convolutions": 7, "first width": 10, "largest width": 30, "last width": 30, "pools": 2,
        "without padding": 3, "larger kernels": 0, "1x1 convolutions": 0,
        "depthwise convolutions": 0, "sums": 0, "dropout layers": 5, "dropout rate": 0.1,
        "head": "convolution",
    }  # fmt: skip


def test_published_answers_have_a_source_and_figures_in_range() -> None:
    found = published()
    assert [a.parameters for a in found] == sorted(a.parameters for a in found)
    assert {a.parameters for a in found} >= {4_392, 7_758, 18_430}
    for answer in found:
        assert answer.source.startswith("https://github.com/")
        assert 0.98 < answer.accuracy < 1


@pytest.mark.slow
def test_pictures_of_all_figures_are_written_and_equal_each_time(tmp_path: Path) -> None:
    study = open_study(FIRST_LIGHT)
    written = write_report([study], tmp_path / "a")
    again = write_report([study], tmp_path / "b")
    names = {path.name for path in written.pictures}
    assert {"accuracy.png", "accuracy.svg", "curves.png", "luck.svg"} <= names
    for one, two in zip(written.pictures, again.pictures, strict=True):
        assert one.read_bytes() == two.read_bytes()
        if one.suffix == ".png":
            with Image.open(one) as picture:
                assert picture.width > 600
        else:
            ElementTree.parse(one)


def test_the_assignments_own_design_may_be_refused() -> None:
    _, words = page_of(open_study(ROOT / "results" / "class-found"))
    assert "Refused by this study's rules: 18,430 parameters." in words


def test_other_rules_are_everywhere(tmp_path: Path) -> None:
    rules = Rules(parameter_limit=8_000, epoch_limit=16, target=0.99)
    study = a_study(tmp_path, states(16), replace(CONFIG, rules=rules, epochs=None))
    _, words = page_of(study)
    assert "99.40 %" not in words.replace("near 99.4 %", "")
    for text in (
        "99.00 %", "fewer than 8,000 parameters", "fewer than 16 epochs", "(0.25, 1, 3 epochs)",
    ):  # fmt: skip
        assert text in words


def test_several_studies_stand_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(FIRST_LIGHT), str(ROOT / "results" / "under-8000")]
    assert report.main([*folders, "--to", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["verdicts"]) == {"first-light", "under-8000"}
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("<h1>") == 2
    assert {Path(p).name for p in told["pictures"]} == {
        "fronts.png", "fronts.svg", "answers.png", "answers.svg",
    }  # fmt: skip


def test_a_folder_without_a_study_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no study: study\.json is missing"):
        report.main([str(tmp_path)])


def test_a_page_that_cannot_be_made_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    after.report_after(tmp_path, said.append)
    assert said[0].startswith("No page was made (")
    page = importlib.import_module("search.pages.page")

    def full(*_: object) -> None:
        raise MachineError("no space left")

    a_study(tmp_path, states(8))
    monkeypatch.setattr(page, "write_report", full)
    after.report_after(tmp_path, said.append)
    assert said[1] == (
        "No page was made (no space left); the tables are whole. Try again: "
        f"python -m search.report {tmp_path}"
    )


@pytest.mark.ci
@pytest.mark.slow
def test_a_search_leaves_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searching = importlib.import_module("search.searching")
    monkeypatch.setattr(searching, "report_after", after.report_after)
    config = StudyConfig(epochs=1, train_images=100)
    run = RunConfig("small", tmp_path, 1, finalists=0, executor="here", quiet=True)
    search(config, run)
    assert "1 design was tried" in (tmp_path / "small" / "report.html").read_text("utf-8")
    (tmp_path / "small" / "report.html").unlink()
    search(config, replace(run, report=False))
    assert not (tmp_path / "small" / "report.html").exists()
    assert ConfirmConfig(tmp_path).report


def test_random_designs_have_features() -> None:
    import numpy as np

    random = np.random.default_rng(1)
    for _ in range(20):
        design = some_design(random)
        assert choices.features(design)["first width"] == design.layers[0].out_channels  # type: ignore[union-attr]
