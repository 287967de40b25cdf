from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.table import PUBLISHED, REMEDY, main, make_rows, read_speeds

OURS = "ours, assignment recipe"


def entry(variant: str, sweep: int, seconds: float) -> dict[str, Any]:
    facts = {
        "variant": variant, "sweep": sweep, "images": 6_400, "threads": 1,
        "design": "assignment", "parameters": 18_430, "torch": "2.14.1",
    }  # fmt: skip
    return {"extra_info": facts, "stats": {"median": seconds, "data": [seconds]}}


def document(*entries: dict[str, Any]) -> dict[str, Any]:
    machine = {
        "cpu": {"brand_raw": "Abacus 3000", "count": 2}, "system": "Linux", "machine": "x86_64",
        "python_version": "3.11.7",
    }  # fmt: skip
    return {"machine_info": machine, "benchmarks": list(entries)}


THREE_SWEEPS = document(
    entry(PUBLISHED, 1, 4.0), entry(OURS, 1, 2.0),
    entry(PUBLISHED, 2, 8.0), entry(OURS, 2, 4.0),  # the machine slowed down
    entry(PUBLISHED, 3, 4.0), entry(OURS, 3, 1.6),
)  # fmt: skip


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "benchmark.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def mistake(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr that refuses a file."""
    assert main([str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.removesuffix("\n")


def test_the_ratio_is_taken_within_sweeps() -> None:
    published, ours = make_rows(read_speeds(THREE_SWEEPS, Path()))
    assert (published.median, published.least, published.most) == (1_600, 800, 1_600)
    assert (ours.median, ours.least, ours.most) == (3_200, 1_600, 4_000)
    assert (published.ratio, ours.ratio) == (1, 2)  # of 2, 2 and 2.5
    assert (published.rounds, ours.rounds) == (3, 3)


def test_without_a_common_sweep_there_is_no_ratio() -> None:
    speeds = read_speeds(document(entry(PUBLISHED, 1, 4), entry(OURS, 2, 2)), Path())
    assert [row.ratio for row in make_rows(speeds)] == [1, None]


def test_the_table_names_speeds_machine_and_versions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(written(tmp_path, THREE_SWEEPS))]) == 0
    printed = capsys.readouterr()
    lines = [" ".join(line.replace("│", " ").split()) for line in printed.out.splitlines()]
    assert "published loop 1,600 800 - 1,600 1.00 3" in lines
    assert "ours, assignment recipe 3,200 1,600 - 4,000 2.00 3" in lines
    assert lines[-1] == (
        "design assignment (18,430 parameters), 6,400 images a round, threads: 1; "
        "Abacus 3000, 2 cores, Linux x86_64; Python 3.11.7, torch 2.14.1"
    )
    assert printed.err == ""


def test_an_unknown_machine_is_no_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = {"benchmarks": [entry(PUBLISHED, 1, 4.0)]}
    assert main([str(written(tmp_path, bare))]) == 0
    assert "unknown processor, ? cores, ?; Python ?" in capsys.readouterr().out


def test_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nothing.json"
    assert mistake(path, capsys) == (
        f"error: {path} cannot be read: No such file or directory; {REMEDY}"
    )


def test_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        mistake(tmp_path, capsys) == f"error: {tmp_path} cannot be read: Is a directory; {REMEDY}"
    )


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000])
def test_a_file_that_is_not_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path = written(tmp_path, content)
    assert mistake(path, capsys) == f"error: {path} is not JSON; {REMEDY}"


def test_a_file_that_is_not_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "benchmark.json"
    path.write_bytes(b"\xff\xfe\x00")
    assert mistake(path, capsys) == f"error: {path} is not JSON; {REMEDY}"


@pytest.mark.parametrize("content", [[], {}, 3, {"benchmarks": 3}])
def test_json_that_is_not_pytest_benchmarks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any
) -> None:
    path = written(tmp_path, content)
    assert mistake(path, capsys) == f"error: {path} is not a file of pytest-benchmark's; {REMEDY}"


@pytest.mark.parametrize(
    "other",
    [
        3, {}, entry(OURS, 1, 0),
        {**entry(OURS, 1, 1), "stats": None},
    ],
)  # fmt: skip
def test_other_benchmarks(tmp_path: Path, capsys: pytest.CaptureFixture[str], other: Any) -> None:
    path = written(tmp_path, {"benchmarks": [entry(PUBLISHED, 1, 4.0), other]})
    assert mistake(path, capsys) == f"error: {path} holds other benchmarks than these; {REMEDY}"


def test_benchmarks_of_something_else_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = {"extra_info": {}, "stats": {"median": 0.01}}
    path = written(tmp_path, {"benchmarks": [entry(PUBLISHED, 1, 4.0), step]})
    assert main([str(path)]) == 0
    assert PUBLISHED in capsys.readouterr().out


@pytest.mark.parametrize("entries", [[], [entry(OURS, 1, 2.0)]])
def test_no_row_of_the_published_loop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], entries: list[dict[str, Any]]
) -> None:
    path = written(tmp_path, {"benchmarks": entries})
    assert mistake(path, capsys) == (
        f"error: {path} has no row for the published loop to compare with; {REMEDY}"
    )
