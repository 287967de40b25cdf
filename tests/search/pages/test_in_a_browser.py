"""The page as a reader sees it: in headless Chromium, wide and narrow, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from search import open_study
from search.pages.page import write_report
from tests.search.commands import ROOT
from tests.search.pages.browser import CHROMIUM, Browser, opened
from tests.search.pages.made import a_study, states

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

SCREENS = [(width, scheme) for width in (390, 1440) for scheme in ("light", "dark")]
LARGEST, SLOWEST = 10_000_000, 3.0
"""Bytes of a page of 5,000 trials, and seconds until it is ready on an idle machine."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def first_light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = open_study(ROOT / "results" / "first-light")
    return write_report([study], tmp_path_factory.mktemp("page"), pictures=False).page


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of 50 trained designs with looks, as `make run` left it on a fresh clone."""
    study = open_study(ROOT / "results" / "front")
    return write_report([study], tmp_path_factory.mktemp("front"), pictures=False).page


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    return write_report([a_study(folder, states(70), confirmed=(0, 6))], folder, False).page


def colour_of(browser: Browser, selector: str, name: str = "backgroundColor") -> list[int]:
    text = browser.run(f"getComputedStyle(document.querySelector('{selector}')).{name}")
    return [int(float(part)) for part in text.split("(")[1].rstrip(")").split(",")[:3]]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
@pytest.mark.parametrize(
    "which", ["first_light", "front", pytest.param("made", marks=pytest.mark.ci)]
)
def test_a_page_is_drawn_without_an_error_or_a_request(
    browser: Browser, which: str, width: int, scheme: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(which)
    browser.show(path, width, scheme)
    assert browser.draw_everything() >= 6
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    light = sum(colour_of(browser, "body")) > 3 * 128
    assert light == (scheme == "light")
    assert (sum(colour_of(browser, ".xtick text", "fill")) > 3 * 128) != light


def column(browser: Browser, number: int) -> list[float]:
    return [
        float(value)
        for value in browser.run(
            f"[...document.querySelectorAll('.board tbody')]"
            f".map((b) => b.rows[0].cells[{number}].dataset.value)"
        )
    ]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 8, 9])
def test_rows_are_sorted_by_a_click(browser: Browser, first_light: Path, number: int) -> None:
    browser.show(first_light, 1440)
    assert column(browser, 1) == sorted(column(browser, 1))
    heading = f"document.querySelectorAll('.board th')[{number}].querySelector('button').click()"
    browser.run(heading)
    once = column(browser, number)
    browser.run(heading)
    twice = column(browser, number)
    assert sorted([once, twice]) == sorted([sorted(once), sorted(once, reverse=True)])
    assert browser.run("document.querySelectorAll('.board th[aria-sort]').length") == 1


def test_a_row_opens_to_its_picture_curve_and_dropout(browser: Browser, first_light: Path) -> None:
    browser.show(first_light, 1440)
    assert browser.run("document.querySelectorAll('.more:not([hidden])').length") == 0
    browser.run("document.querySelector('.opener').click()")
    assert browser.run("document.querySelectorAll('.more:not([hidden])').length") == 1
    opened_row = "document.querySelector('.more:not([hidden])')"
    assert browser.run(f"{opened_row}.querySelectorAll('.drawing .d-conv').length") > 3
    assert browser.run(f"{opened_row}.querySelectorAll('.drawing .l-drop').length") == 6
    assert browser.run(f"{opened_row}.querySelector('.curve polyline').points.length") == 19
    assert browser.run("document.querySelector('.opener').getAttribute('aria-expanded')") == "true"
    browser.run("document.querySelector('.opener').click()")
    assert browser.run("document.querySelectorAll('.more:not([hidden])').length") == 0


def test_in_print_the_page_is_light_and_whole(browser: Browser, first_light: Path) -> None:
    browser.show(first_light, 1440, "dark")
    found = browser.call("Page.printToPDF", printBackground=True)
    assert len(found["data"]) > 50_000
    assert browser.problems == []
    assert browser.run("[...document.querySelectorAll('.plot')].every((p) => p._fullLayout)")


def test_html_in_a_name_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    name = "<img src=x onerror=\"document.title='bad'\">"
    path = write_report([a_study(tmp_path, states(20), name=name)], tmp_path, False).page
    browser.show(path, 1440)
    browser.draw_everything()
    assert browser.run("document.querySelector('h1').textContent") == name
    assert browser.run("document.title") == f"{name}: report"
    assert browser.problems == []


@pytest.mark.slow
def test_a_page_of_5_000_trials_is_small_and_soon_ready(browser: Browser, tmp_path: Path) -> None:
    path = write_report([a_study(tmp_path, states(5_000), confirmed=(0,))], tmp_path, False).page
    assert path.stat().st_size < LARGEST
    seconds = min(browser.show(path, 1440) for _ in range(3))
    print(f"{path.stat().st_size / 1e6:.1f} MB, ready in {seconds:.2f} s")
    browser.draw_everything()
    assert browser.problems == []
    assert browser.run("document.querySelectorAll('.board tbody').length") in (100, 101)
