"""How commands end: one table of exit statuses; a mistake is one message, without a traceback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_arch.errors import MachineError, UserError
from mnist_arch.references import BASELINE
from search import cli, run, show, train
from search.verbs import VERBS
from tests.search.commands import ROOT, command, environment
from tests.search.studies import EASY, THREE, study_files, three_designs

MAINS = {"run": run.main, "train": train.main, "show": show.main}


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command changes standard output and the handler of SIGTERM for good: not here."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def told(
    capsys: pytest.CaptureFixture[str], verb: str, *arguments: str | Path, status: int = 2
) -> str:
    """What a command that ends with that status prints on stderr."""
    with pytest.raises(SystemExit) as end:
        cli.run_command(MAINS[verb], [str(argument) for argument in arguments])
    assert end.value.code == status
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
        (("--trails", "5"), "unrecognized arguments: --trails 5; did you mean --trials?"),
        (("--engine", "lane"), "did you mean lanes?"),
        (("--epochs", "20"), "error: --epochs 20: must be fewer than the epoch limit 20"),
        (("--train-images", "50001"), "error: --train-images 50,001: --protocol holdout has"),
        (("--looks", "1,0.5"), "error: --looks 1,0.5: each must be longer than the one before it"),
        (("--looks", "1,20"), "error: --looks 1,20: 20 epochs given, must be above 0 and shorter"),
        (
            ("--looks", "0.0001"),
            "error: --looks 0.0001: 0.0001 of an epoch is fewer than",
        ),
        (("--looks", "nan"), "error: --looks nan: nan epochs given, must be above 0 and shorter"),
        (("--looks", "1,,3"), "argument --looks: '1,,3' given, must be lengths in epochs such as"),
        (
            ("--goal", "smallest", "--goal", "fastest"),
            "argument --goal: smallest and fastest given, must be one of them",
        ),
        (("--warm-start", "nowhere"), "error: --warm-start nowhere: nowhere holds no study: "),
        (("--goal", "smallest,fastest"), "argument --goal: invalid choice: 'smallest,fastest'"),
        (("--goal", "smallest", "fastest"), "unrecognized arguments: fastest"),
        (("--train-images", "5"), "argument --train-images: 5 given, must be 10 to 60,000"),
    ],
)
def test_options_of_run(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in told(capsys, "run", *arguments)


def test_the_same_goal_twice_is_one_goal() -> None:
    twice = ["--goal", "smallest", "--goal", "smallest"]
    assert run.make_parser().parse_args(twice).goal == "smallest"
    assert run.make_parser().parse_args([]).goal == "pareto"


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
    message = told(capsys, "run", "--results", tmp_path, status=3)
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
    assert "design 'resnet' is neither a name (assignment" in message
    assert "nor a readable JSON file" in message


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


@pytest.mark.parametrize(
    ("ending", "status", "message"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (UserError("what was given, what is allowed"), 2, "error: what was given, what is allowed"),
        (MachineError("the disk is full"), 3, "error: the disk is full"),
        (RuntimeError("a bug"), 3, "error: this is a fault of the program; finished trials are"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=["done", "no", "mistake", "machine", "crash", "interrupted"],
)
def test_exit_statuses(
    capsys: pytest.CaptureFixture[str], ending: int | BaseException, status: int, message: str
) -> None:
    def command_that_ends(_: list[str] | None) -> int:
        if isinstance(ending, BaseException):
            raise ending
        return ending

    with pytest.raises(SystemExit) as end:
        cli.run_command(command_that_ends)
    assert end.value.code == status
    errors = capsys.readouterr().err
    assert "".join(errors.splitlines()[-1:]).startswith(message)
    assert bool(errors) == bool(message)
    assert ("Traceback" in errors) == isinstance(ending, RuntimeError)


def test_the_statuses_are_told_apart() -> None:
    statuses = (
        cli.EXIT_DONE, cli.EXIT_NO, cli.EXIT_MISTAKE, cli.EXIT_FAULT,
        cli.EXIT_INTERRUPTED,
    )  # fmt: skip
    assert statuses == (0, 1, 2, 3, 130)


HEAD = """
import sys, time
from search import cli
def talk(_):
    for number in range(2_000):
        print("line", number, flush=number % 100 == 0)
    print("went on to the end", file=sys.stderr)
    return {status}
cli.run_command(talk)
"""


@pytest.mark.parametrize("status", [0, 1])
def test_a_command_whose_reader_leaves_goes_on_and_answers(status: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD.format(status=status)], cwd=ROOT, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == status
    assert errors == "went on to the end\n"


def test_results_without_their_database_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "first-light"
    folder.mkdir()
    written = study_files(folder, runs=[], name="first-light")
    written.load(THREE)
    written.rewrite()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    there = ("--results", tmp_path, "--study", "first-light")
    message = told(capsys, "run", *there, "--trials", "1")
    assert "without their database study.db: a new study would write over them" in message
    assert "Give another --study NAME (or another --results DIR), put study.db back" in message
    message = told(capsys, "train", "--design", "assignment", *there)
    assert "holds results already (study.json): they are never written over; give" in message
    (folder / ".lock").unlink(missing_ok=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_no_single_training_writes_into_a_studys_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    three_designs(tmp_path / "test", EASY)
    message = told(capsys, "train", "--design", "assignment", "--results", tmp_path,
                   "--study", "test")  # fmt: skip
    assert "holds results already (study.db): they are never written over" in message


@pytest.mark.slow
def test_the_verbs_are_listed_and_run(tmp_path: Path) -> None:
    def search(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "search", *words], cwd=tmp_path, env=environment(),
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    listed = search()
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()[2:]] == list(VERBS)
    assert search("--help").stdout == listed.stdout
    wrong = search("dance")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: 'dance' is no verb; choose from doctor, run, show,")
    shown = search("show", "design", "assignment", "--parameter-limit", "10000")
    assert shown.returncode == 1
    assert "parameters: 18,430, must be fewer than 10,000" in shown.stdout
    assert search("show", "nowhere").returncode == 2


@pytest.mark.parametrize("verb", ["run", "train", "show", "confirm"])
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
