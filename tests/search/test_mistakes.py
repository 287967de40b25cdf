"""Every mistake of a user's: one clear message on stderr, exit status 2, no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from search import doctor, options, run, show, train
from tests.search.commands import ROOT, command, environment

MAINS = {"run": run.main, "train": train.main, "show": show.main, "doctor": doctor.main}


def told(capsys: pytest.CaptureFixture[str], verb: str, *arguments: str | Path) -> str:
    """What a command that ends with status 2 prints on stderr."""
    with pytest.raises(SystemExit) as end:
        options.run_command(MAINS[verb], [str(argument) for argument in arguments])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trials", "0"), "argument --trials: 0 given, must be 1 to 100,000"),
        (("--trials", "many"), "argument --trials: 'many' is not a whole number"),
        (("--workers", "0"), "argument --workers: 0 given, must be 1 to 1,000"),
        (("--engine", "steam"), "argument --engine: invalid choice: 'steam'"),
        (("--device", "tpu"), "argument --device: invalid choice: 'tpu'"),
        (("--recipe", "soup"), "argument --recipe: invalid choice: 'soup'"),
        (("--protocol", "none"), "argument --protocol: invalid choice: 'none'"),
        (("--target", "99.4"), "argument --target: 99.4 given, must be above 0 and at most 1"),
        (("--target", "high"), "argument --target: 'high' is not a number"),
        (("--study", "../up"), "argument --study: '../up' given, must be a plain folder name"),
        (("--seed", "-1"), "argument --seed: -1 given, must be 0 to 4,294,967,295"),
        (("--timeout", "0"), "argument --timeout: 0 given, must be at least 1"),
        (("--frobnicate",), "unrecognized arguments: --frobnicate"),
        (("--epochs", "20"), "error: --epochs 20: must be fewer than the epoch limit 20"),
        (("--train-images", "50001"), "error: --train-images 50,001: --protocol holdout has"),
        (("--train-images", "5"), "argument --train-images: 5 given, must be 10 to 60,000"),
    ],
)
def test_options_of_run(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in told(capsys, "run", *arguments)


def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = told(capsys, "run", "--device", "mps", "--results", tmp_path)
    assert "error: --device mps: not on this machine, which has " in message
    assert list(tmp_path.iterdir()) == []


def test_data_that_are_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = told(capsys, "run", "--data", tmp_path, "--results", tmp_path / "results")
    assert "error: MNIST file train-images-idx3-ubyte (or" in message
    assert "--data DIR" in message
    assert not (tmp_path / "results").exists()


def test_a_results_folder_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    message = told(capsys, "run", "--results", tmp_path / "file")
    assert "error: cannot write to folder" in message


def test_a_damaged_database(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "study.db").write_bytes(b"not a database" * 100)
    message = told(capsys, "run", "--results", tmp_path)
    assert "error: the study's database" in message
    assert "file is not a database" in message


def design_file(folder: Path, document: object) -> Path:
    path = folder / "design.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"type": "conv", "out_channels": -3}], "out_channels must be from 1 to"),
        ([{"type": "conv", "out_channels": 10**16}], "out_channels must be from 1 to"),
        ([{"type": "conv", "out_channels": 8, "colour": 1}], "unknown key 'colour'"),
        ([{"type": "attention"}], "type must be one of conv, depthwise_conv"),
        ([{"type": "max_pool"}] * 5, "layer 5 (max-pool 2x2): leaves nothing of its 1x1"),
        ([{"type": "conv", "out_channels": 10**12}], "parameters: 11,000,000,000,000, must be"),
        ([{"type": "linear", "out_features": 10}], "layer 1 (linear 784 -> 10): fully connected"),
    ],
)
def test_designs_that_cannot_be_trained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, layers: list[object], message: str
) -> None:
    path = design_file(tmp_path, {"layers": layers})
    assert message in told(capsys, "train", "--design", path, "--results", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_design_that_is_not_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "design.json").write_text("{")
    assert "design.json: not JSON: " in told(capsys, "show", "design", tmp_path / "design.json")


def test_a_design_that_is_not_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "design.json").write_bytes(b"\xff\xfe\x00")
    message = told(capsys, "show", "design", tmp_path / "design.json")
    assert "nor a readable JSON file: not a text file in UTF-8" in message


def test_a_design_of_no_such_name(capsys: pytest.CaptureFixture[str]) -> None:
    message = told(capsys, "show", "design", "resnet")
    names = "assignment, published-4392, published-7758"
    assert f"design 'resnet' is neither a name ({names}) nor a readable JSON file" in message


def test_a_folder_without_a_study(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = told(capsys, "show", tmp_path)
    assert f"error: {tmp_path} holds no study: study.json is missing" in message


def test_a_study_whose_files_are_damaged(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "study.json").write_text("[1]")
    assert f"error: the study in {tmp_path} cannot be read" in told(capsys, "show", tmp_path)


def test_one_study_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert "one study's folder at a time, got 2" in told(capsys, "show", "a", "b")
    assert "design takes one name or JSON file" in told(capsys, "show", "design")


def test_a_design_that_is_refused_is_shown_with_status_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert show.main(["design", "assignment", "--parameter-limit", "10000"]) == 1
    assert "parameters: 18,430, must be fewer than 10,000" in capsys.readouterr().out
    assert show.main(["design", "assignment", "--strict"]) == 1


def test_a_known_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def mistaken(_: list[str] | None) -> int:
        raise UserError("what was given, what is allowed")

    with pytest.raises(SystemExit) as end:
        options.run_command(mistaken)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: what was given, what is allowed\n"


def test_ctrl_c_anywhere_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: list[str] | None) -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        options.run_command(interrupted)
    assert end.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("verb", ["run", "train", "show", "confirm", "doctor"])
def test_help_names_examples_and_needs_no_torch(verb: str) -> None:
    script = (
        f"import runpy, sys; sys.argv = ['search.{verb}', '--help']\n"
        f"try: runpy.run_module('search.{verb}', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'optuna', 'pandas'} & sys.modules.keys()"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert f"python -m search.{verb}" in result.stdout
    assert "examples:" in result.stdout


def test_a_huge_design_is_refused_without_torch_or_memory(tmp_path: Path) -> None:
    path = design_file(tmp_path, {"layers": [{"type": "conv", "out_channels": 10**12}]})
    result = subprocess.run(
        command("show", "design", path), env=environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "parameters: 11,000,000,000,000, must be fewer than 20,000" in result.stdout


def test_the_assignments_design_prints_the_published_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert show.main(["design", "assignment", "--csv"]) == 0
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows[:3]] == ["Conv2d-1", "BatchNorm2d-2", "Dropout2d-3"]
    assert rows[-1][0] == "Conv2d-20"
    assert [int(row[3]) for row in rows] == [
        100, 20, 0, 910, 20, 0, 0, 1820, 40, 0, 3620, 40, 0, 0, 0, 3620, 40, 5430, 60, 2710,
    ]  # fmt: skip
    assert show.main(["design", "assignment"]) == 0
    assert "18,430" in capsys.readouterr().out


def test_a_design_written_to_json_shows_the_same_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "same.json").write_text(BASELINE.to_json())
    show.main(["design", "assignment", "--csv"])
    named = capsys.readouterr().out
    show.main(["design", str(tmp_path / "same.json"), "--csv"])
    assert capsys.readouterr().out == named
