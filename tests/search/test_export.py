from __future__ import annotations

import csv
import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from mnist_arch.build import build
from mnist_arch.design import Design
from mnist_arch.errors import MachineError, UserError
from mnist_arch.plan import plan
from mnist_arch.references import BASELINE
from mnist_arch.training import evaluate
from search import weights
from search.exporting import exporting, onnx_file
from search.exporting.candidates import confirmed_runs
from search.exporting.folder import FILES, require_ours
from search.exporting.onnx_file import onnx_logits
from search.exporting.predictions import logits
from search.run_config import ExportConfig
from search.tables.files import read_study
from search.task import Result
from tests.search.small_export import (
    SMALL,
    STUDY,
    TEST_DIGITS,
    export_small,
    few_test_digits,
    quick,
    told,
)

export = importlib.import_module("search.export")  # `search.export` is the API's function


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A copy of the committed study, to write into."""
    return Path(shutil.copytree(STUDY, tmp_path / "study"))


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_all_files_are_there_and_nothing_else(exported: Path) -> None:
    assert files_in(exported) == set(FILES)
    assert [p.name for p in exported.parent.iterdir() if p.name.startswith(".")] == []


def test_weights_and_design_belong_together(exported: Path) -> None:
    design = Design.from_json((exported / "design.json").read_text())
    assert design == SMALL
    with safe_open(exported / "weights.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["fingerprint"] == design.fingerprint
    assert (metadata["seed"], metadata["epochs"], metadata["images"]) == ("0", "1", "400")
    network = build(design)
    network.load_state_dict(load_file(exported / "weights.safetensors"))
    _, accuracy = evaluate(network, few_test_digits("test"))
    assert float(metadata["test_accuracy"]) == pytest.approx(accuracy, abs=1 / TEST_DIGITS)


def test_the_onnx_model_gives_torchs_logits_for_any_batch(exported: Path) -> None:
    network, _ = weights.read_weights(exported / "weights.safetensors", SMALL)
    for count in (1, 3, TEST_DIGITS):
        digits = few_test_digits("test").take(torch.arange(count))
        found = onnx_logits(exported / "network.onnx", digits)
        torch.testing.assert_close(found, logits(network, digits), atol=1e-4, rtol=1e-4)


def test_the_onnx_model_says_nothing_of_the_machine(exported: Path) -> None:
    content = (exported / "network.onnx").read_bytes()
    assert b"site-packages" not in content
    assert b"stack_trace" not in content
    assert len(content) < 4 * plan(SMALL).parameters + 10_000


def test_a_model_that_differs_is_counted(exported: Path) -> None:
    digits = few_test_digits("test")
    path = exported / "network.onnx"
    predicted = onnx_logits(path, digits).argmax(1)
    predicted[:3] = (predicted[:3] + 1) % 10
    agree = f"agree on {TEST_DIGITS - 3} of {TEST_DIGITS} test digits, ONNX accuracy "
    assert agree in onnx_file.agreement(path, predicted, digits)


def test_the_cards_numbers_are_those_of_the_plan_and_the_weights(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    walked = plan(SMALL)
    with safe_open(exported / "weights.safetensors", "pt") as file:
        accuracy = float(file.metadata()["test_accuracy"])
    assert f"| parameters | {walked.parameters:,} |" in card
    assert f"| multiply-accumulates an image | {walked.macs:,} |" in card
    assert f"{walked.receptive_field}x{walked.receptive_field} pixels" in card
    assert f"| test accuracy | {accuracy * 100:.2f} % |" in card
    assert f"({round(TEST_DIGITS * (1 - accuracy))} misread)" in card
    head = card.partition("| parameters")[0].splitlines()
    assert [bool(line) for line in head] == [True, False, True, False, True, True]
    assert head[2].startswith("A try-out, not a result")
    assert f"agree on {TEST_DIGITS} of {TEST_DIGITS} test digits" in card
    assert len(card.splitlines()) <= 60
    table = np.loadtxt(exported / "confusion.csv", delimiter=",", skiprows=1, dtype=int)[:, 1:]
    assert table.sum() == TEST_DIGITS
    assert table.trace() == round(TEST_DIGITS * accuracy)


def test_an_export_replaces_an_earlier_one_and_nothing_else(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    quick(monkeypatch)
    target = Path(shutil.copytree(exported, tmp_path / "again"))
    before = (target / "weights.safetensors").read_bytes()
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnx", "no_such_package"))
    export_small(tmp_path, target, "--seed", "5")
    assert "no_such_package was not installed; to get it: pip install" in capsys.readouterr().out
    assert files_in(target) == set(FILES) - {"network.onnx"}  # no model of other weights is left
    assert (target / "weights.safetensors").read_bytes() != before
    (target / "notes.txt").write_text("mine")
    arguments = ("--design", "assignment", "--to", target)
    assert "notes.txt there is not of an earlier export; give another" in told(capsys, *arguments)
    export_small(tmp_path, target, "--force")
    assert (target / "notes.txt").read_text() == "mine"
    assert "seed 0" in (target / "README.md").read_text()


def test_a_failed_export_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx_file, "write_onnx", full)
    with pytest.raises(MachineError, match="No space left on device; free some space"):
        export_small(tmp_path, tmp_path / "best")
    assert files_in(tmp_path) == {"small.json"}


def keep_weights(
    study: Path, index: int, accuracy: float, more: dict[str, str]
) -> dict[str, torch.Tensor]:
    """Write a file as a confirmation of the baseline does; returns its weights."""
    state = build(BASELINE).state_dict()
    metadata = weights.metadata_of(BASELINE, 100 + index, 19, 60_000, accuracy) | more
    (study / "weights").mkdir(exist_ok=True)
    path = study / "weights" / f"{BASELINE.fingerprint}-{index}.safetensors"
    path.write_bytes(save(state, metadata))
    return state


def test_the_first_confirmation_run_is_taken_never_the_best(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick(monkeypatch)
    monkeypatch.setattr(onnx_file, "PACKAGES", ("no_such_package",))
    identity = read_study(study).identity
    states = {}
    for index, accuracy in ((10, 0.999), (2, 0.99), (9, 0.995)):
        states[index] = keep_weights(study, index, accuracy, {"study": identity})
    searched = study / "weights" / f"{BASELINE.fingerprint}-r0123456789ab-0.safetensors"
    searched.write_bytes(b"of another recipe: never read")
    assert export.main([str(study), "--trial", "0"]) == 0
    state = load_file(study / "best" / "weights.safetensors")
    assert all(torch.equal(state[name], states[2][name]) for name in state)
    card = (study / "best" / "README.md").read_text()
    assert "the first of 3 confirmation runs, not the best; seed 102" in card
    assert "All 3 runs of the confirmation: mean 99.47 %, standard deviation 0.451 points" in card
    assert "trial 0 of study first-light, chosen by its number; it passed" in card
    assert "try-out" not in card
    assert card.splitlines()[1:3] == ["", "| | |"]
    assert "Next:  python " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either a study's folder or --design"),
        (("results/mnist", "--design", "assignment"), "give either a study's folder or --design"),
        (("--design", "assignment"), "--design needs --to DIR"),
        (("results/mnist", "--recipe", "default"), "--recipe goes with --design"),
        (("results/mnist", "--rank", "0"), "argument --rank: 0 given, must be at least 1"),
        (("results/mnist", "--rank", "1", "--trial", "1"), "not allowed with argument"),
        (("no-such-study",), "no-such-study holds no study: study.json is missing"),
        (("--design", "resnet", "--to", "x"), "design 'resnet' is neither a name"),
        (("--design", "assignment", "--to", "x", "--epochs", "20"), "epochs: 20, must be fewer"),
    ],
)
def test_mistakes(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in told(capsys, *arguments)


def test_a_target_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    message = told(capsys, "--design", "assignment", "--to", tmp_path / "file")
    assert "is a file; give a folder" in message


def test_a_target_that_cannot_be_written_is_told_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    message = told(capsys, "--design", "assignment", "--to", tmp_path / "file" / "best")
    assert "File exists; give another folder" in message
    assert capsys.readouterr().out == ""


def test_kept_weights_that_are_damaged(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "weights").mkdir()
    path = study / "weights" / f"{BASELINE.fingerprint}-0.safetensors"
    path.write_bytes(b"cut")
    assert f"weights {path} cannot be read" in told(capsys, study, "--trial", "0")


def test_weights_of_another_study_are_not_taken(study: Path) -> None:
    found = read_study(study)
    with (study / "confirmations.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["trial"] == "0"]
    seeds = {"seed": rows[0]["seed"], "test_accuracy": rows[0]["test_accuracy"]}
    keep_weights(study, 0, 0.99, {"study": "0" * 12})  # another study's
    keep_weights(study, 1, 0.99, {})  # of an earlier version, in no table
    keep_weights(study, 2, 0.99, seeds | {"epochs": "3"})
    keep_weights(study, 3, 0.99, {"study": found.identity, "fingerprint": "0" * 12})
    (study / "weights" / f"{BASELINE.fingerprint}-4.safetensors").write_bytes(
        save(build(BASELINE).state_dict(), {"fingerprint": BASELINE.fingerprint})
    )
    runs, others = confirmed_runs(found, BASELINE)
    assert runs == []
    assert [path.stem[-1] for path in others] == ["0", "1", "2", "3", "4"]
    keep_weights(study, 5, 0.99, seeds)  # of an earlier version, in the table
    assert [run.path.stem[-1] for run in confirmed_runs(found, BASELINE)[0]] == ["5"]
    whole, shorter = confirmed_runs(found, BASELINE, 19), confirmed_runs(found, BASELINE, 4)
    assert [len(runs) for runs, _ in (whole, shorter)] == [1, 0]  # those of 4 epochs: -e4-5
    weights = study / "weights"
    path = weights / f"{BASELINE.fingerprint}-5.safetensors"
    path.rename(weights / f"{BASELINE.fingerprint}-e4-5.safetensors")
    assert [len(confirmed_runs(found, BASELINE, epochs)[0]) for epochs in (19, 4)] == [0, 1]
    (study / "confirmations.csv").unlink()
    assert confirmed_runs(read_study(study), BASELINE)[0] == []


def test_weights_of_another_study_are_told_and_the_design_is_trained(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_weights(study, 0, 0.99, {"study": "0" * 12})

    def diverges(*_: object) -> Result:
        return Result("diverged", reason="diverged: the loss became nan")

    monkeypatch.setattr(exporting, "evaluate", diverges)
    with pytest.raises(UserError, match=r"the training diverged: .* nan; give another --seed"):
        export.main([str(study), "--trial", "0"])
    printed = capsys.readouterr().out
    assert "-0.safetensors are not of this study's confirmation: not taken." in printed
    assert "Training it on 60,000 images, seed 0" in printed


def test_a_training_without_memory_is_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        exporting, "evaluate", lambda *_: Result("out of memory", reason="out of memory: 9 GiB")
    )
    with pytest.raises(MachineError, match="the training ended: out of memory: 9 GiB; free some"):
        export_small(tmp_path, tmp_path / "best")


@pytest.mark.parametrize("name", ["network.py", "README.md", "weights.safetensors"])
def test_a_users_own_files_of_an_exports_names_are_not_replaced(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    mine, among = tmp_path / "mine", Path(shutil.copytree(exported, tmp_path / "among"))
    mine.mkdir()
    for folder in (mine, among):
        (folder / name).write_text("mine")
        message = told(capsys, "--design", "assignment", "--to", folder)
        assert "there is not of an earlier export; give another folder, or --force" in message
        assert (folder / name).read_text() == "mine"
    assert f"{mine}: {name} there" in told(capsys, "--design", "assignment", "--to", mine)


def test_the_committed_export_can_be_replaced(tmp_path: Path) -> None:
    require_ours(Path(shutil.copytree(STUDY / "best", tmp_path / "best")), force=False)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "give either a study's folder or a design"),
        ({"study": STUDY, "design": SMALL}, "give either a study's folder or a design"),
        ({"design": SMALL}, "a design needs a folder to write"),
    ],
)
def test_choices_that_clash(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ExportConfig(**choices)


@pytest.mark.parametrize("verb", ["check", "doctor", "export", "predict"])
def test_help_names_examples_and_needs_no_torch(verb: str) -> None:
    script = (
        f"import runpy, sys; sys.argv = ['search.{verb}', '--help']\n"
        f"try: runpy.run_module('search.{verb}', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'optuna', 'pandas', 'PIL'} & sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=STUDY.parents[1], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert f"examples:\n  python -m search.{verb}" in done.stdout


@pytest.mark.slow
def test_onnx_and_torch_agree_on_all_10_000_test_digits(tmp_path: Path) -> None:
    export_small(tmp_path, tmp_path / "small")
    assert "agree on 10,000 of 10,000 test digits" in (tmp_path / "small" / "README.md").read_text()
