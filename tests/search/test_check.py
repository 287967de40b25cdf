"""`search.check`: verdicts, messages, exit statuses; foreign code that misbehaves."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mnist_arch.build import build
from mnist_arch.errors import UserError
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rules
from search import cli
from search.config import StudyConfig
from search.foreign import contained
from search.foreign.checking import check as check_target
from search.foreign.checking import statistics_of
from search.foreign.contained import Event
from search.foreign.inspection import inspect
from search.foreign.targets import CheckConfig
from tests.search.commands import QUICK, command, environment, run

check = importlib.import_module("search.check")  # `search.check` is the API's function

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.head = nn.Conv2d(8, 10, 3)

    def forward(self, images):
        print("noise")
        return self.head(self.conv(images).relu()).mean((2, 3))

class Dense(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(10, 10)

    def forward(self, images):
        return self.fc(super().forward(images))

class Raises(Net):
    def forward(self, images):
        raise ValueError("no images, please")

class Leaves(Net):
    def forward(self, images):
        raise SystemExit(3)

class Distances(Net):
    def __init__(self):
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(10, 10))

    def forward(self, images):
        return torch.cdist(super().forward(images), self.kernels)

class Pair(Net):
    def forward(self, images):
        return super().forward(images), None

class NoForward(nn.Module):
    pass

class Wide(Net):
    def __init__(self, width, depth, name="x"):
        super().__init__()

class Faulty(Net):
    def __init__(self):
        raise KeyError("width")

class Grows(Net):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2**45))

class Turns(Net):
    made = 0
    def __init__(self):
        super().__init__()
        Turns.made += 1
        self.fc = nn.Linear(10, 10) if Turns.made > 1 else nn.Identity()

    def forward(self, images):
        return self.fc(super().forward(images))

class Explodes(Net):
    def forward(self, images):
        return super().forward(images) * (1e30 if len(images) > 128 or self.training else 1) ** 2

def number():
    return 7

made = Net()
constant = 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `net.py`, which is the current one."""
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def inspected(*arguments: str) -> list[Event]:
    """What an inspection sends, without another process."""
    events: list[Event] = []
    inspect(parsed(*arguments), events.append)
    return [event for event in events if "phase" not in event]


def parsed(*arguments: str) -> CheckConfig:
    found: CheckConfig = check.config_of(
        check.make_parser().parse_args([*arguments, "--threads", "1"])
    )
    return found


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a check that ends with status 2 prints on stderr."""
    with pytest.raises(SystemExit) as end:
        cli.run_command(check.main, list(arguments))
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("net.py:Raises", "forward raised ValueError: no images, please"),
        ("net.py:Leaves", "forward raised SystemExit: 3"),
        ("net.py:Pair", "forward returned a tuple; it must return one tensor of logits"),
        ("net.py:NoForward", "NoForward has no forward"),
        ("net.py:Wide", "net.py:Wide needs arguments (width, depth); name a function that takes"),
        ("net.py:Faulty", "net.py:Faulty: making it raised KeyError: 'width'"),
        ("net.py:Grows", "making it raised RuntimeError: it takes more memory than a check allows"),
        ("net.py:number", "net.py:number makes a int, not a torch.nn.Module"),
        ("net.py:made", "net.py:made is a network made already; name its class"),
        ("net.py:constant", "net.py:constant is a int, no class and no function"),
        ("net.py:Other", "net.py has no 'Other'; it has: Net, Dense, Raises"),
        ("nowhere.inside:Net", "no module 'nowhere' here ("),
        ("search.nowhere:Net", "no module 'search.nowhere' in package search"),
        ("broken.py:Net", "broken.py: syntax error at broken.py:2: "),
        ("raising.py:Net", "raising.py: importing it raised ZeroDivisionError: division by zero"),
        ("leaving.py:Net", "leaving.py: importing it raised SystemExit: 0"),
    ],
)
def test_what_cannot_be_inspected_is_told(folder: Path, target: str, message: str) -> None:
    (folder / "broken.py").write_text("import torch\nclass Net(:\n")
    (folder / "raising.py").write_text("1 / 0")
    (folder / "leaving.py").write_text("raise SystemExit(0)")
    with pytest.raises(UserError) as caught:
        inspected(target)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.py"], "say what in the file makes the network, net.py:NAME; it has net.py:Net, net"),
        (["Net"], "target 'Net': give FILE.py:Class, package.module:factory, or a design"),
        (["net.py:"], "target 'net.py': say what in the file makes the network"),
        (["a b:Net"], "'a b' is no file ending in .py and no module"),
        (["nat.py:Net"], "nat.py: no such file; in . there is: net.py"),
        (["no/net.py:Net"], "no/net.py: there is no folder no"),
        (["w.safetensors"], "is a state: name what makes its network"),
        (["no.json"], "design 'no.json' is neither a name (assignment, published-4392, "),
        (["bad.json"], "bad.json: not JSON: "),
        (["net.py:Net", "--seeds", "2"], "--seeds 2: only trainings have seeds; add --train"),
        (["net.py:Net", "--train", "--weights", "w"], "--train starts from fresh weights"),
        (["net.py:Net", "--train", "--engine", "lanes"], "--engine lanes: trains designs only"),
        (["net.py:Net", "--train", "--epochs", "20"], "--epochs 20: must be fewer than the epoch"),
        (["net.py:Net", "--time-limit", "0"], "argument --time-limit: 0 given, must be at least 1"),
    ],
)
def test_mistakes_that_run_no_code(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (folder / "bad.json").write_text('{"layers": [')
    assert message in told(capsys, *arguments)
    assert message in told(capsys, *arguments, "--json")


def test_weights_are_read_and_what_does_not_fit_is_told(folder: Path) -> None:
    state = build(BASELINE).state_dict()
    save_file(state, folder / "good.safetensors")
    torch.save({"state_dict": state}, folder / "good.pt")
    for name in ("good.safetensors", "good.pt"):
        [event] = inspected("assignment", "--weights", name)
        assert event["report"]["parameters"] == 18_430
    net = {name: torch.zeros(2) for name in ("a", "b", "c", "d")}
    save_file(net, folder / "other.safetensors")
    save_file({**state, "0.weight": torch.zeros(3)}, folder / "sized.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "good.safetensors").read_bytes()[:1000])
    (folder / "cut.pt").write_bytes((folder / "good.pt").read_bytes()[:1000])
    (folder / "evil.pt").write_bytes(pickle.dumps(print))
    torch.save([1, 2], folder / "list.pt")
    for name, message in {
        "other.safetensors": "missing 0.weight, 0.bias, 1.weight, ... (38); unexpected a, b, c",
        "sized.safetensors": "does not fit the network: size mismatch for 0.weight",
        "cut.safetensors": "cut.safetensors: damaged or no file of weights",
        "cut.pt": "cut.pt: damaged or no file of weights",
        "evil.pt": "evil.pt: holds more than tensors, or is damaged; loading it could run code",
        "list.pt": "list.pt: must hold a state_dict, names and tensors",
        "none.pt": "none.pt: no such file",
    }.items():
        with pytest.raises(UserError) as caught:
            inspected("assignment", "--weights", name)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_each_seed_trains_another_network_of_the_same_kind() -> None:
    events = inspected("net.py:Net", "--train", "--seeds", "2", "--seed", "5", *QUICK)
    runs = [event["run"] for event in events if "run" in event]
    assert [run["seed"] for run in runs] == [5, 6]
    assert all(0 < run["accuracy"] < 0.9 for run in runs)
    assert runs[0]["accuracy"] != runs[1]["accuracy"]
    again = inspected("net.py:Net", "--train", "--seed", "6", *QUICK)
    assert again[-1]["run"]["accuracy"] == runs[1]["accuracy"]


@pytest.mark.usefixtures("folder")
def test_a_factory_that_changes_its_mind_is_found_out() -> None:
    events = inspected("net.py:Turns", "--train", *QUICK)
    assert events[0]["report"]["rejections"] == []
    assert "fully connected" in events[-1]["run"]["rejections"][0]


@pytest.mark.usefixtures("folder")
def test_a_training_that_diverges_is_a_run_without_accuracy() -> None:
    events = inspected("net.py:Explodes", "--train", *QUICK)
    assert "loss became" in events[-1]["run"]["diverged"]


@pytest.mark.usefixtures("folder")
def test_what_breaks_a_rule_is_not_trained() -> None:
    [event] = inspected("net.py:Dense", "--train", *QUICK)
    assert event["report"]["rejections"][0]["limit"] == "fully connected layers"


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_judged_is_said_and_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["net.py:Distances", "--json"]) == 1
    printed = capsys.readouterr()
    verdicts = {each["rule"]: each["verdict"] for each in json.loads(printed.out)["rules"]}
    assert verdicts["operations"] == "cannot tell"
    assert verdicts["fully connected layers"] == "kept"
    assert "cannot tell forward (operation _euclidean_dist at net.py:" in printed.err
    assert "Cannot tell whether it is allowed." in printed.err


def test_a_design_is_checked_without_running_anything(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.json").write_text(BASELINE.to_json())
    assert check.main(["mine.json"]) == 0
    printed = capsys.readouterr().out
    assert "kept    parameters: 18,430, fewer than 20,000" in printed
    assert "it computes what a fully connected layer computes; refused under --strict" in printed
    assert "Allowed by the rules. Its accuracy is not judged: add --train." in printed
    assert check.main(["mine.json", "--strict", "--parameter-limit", "18000"]) == 1
    printed = capsys.readouterr().out
    assert "broken  parameters: 18,430, must be fewer than 18,000" in printed
    assert "Refused: 2 rules are broken." in printed


def test_a_design_that_shrinks_to_nothing_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "small.json").write_text('{"layers": [{"type": "max_pool", "size": 29}]}')
    assert check.main(["small.json", "--train"]) == 1
    printed = capsys.readouterr().out
    assert "broken  layer 1 (max-pool 29x29): leaves nothing of its 28x28 input map" in printed
    assert "not trained" in printed


def test_one_json_object_says_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["assignment", "--strict", "--json"]) == 1
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert not answer["passes"]
    assert not answer["code_was_run"]
    assert answer["macs"] == 1_975_860
    assert answer["layers"][0]["output_shape"] == [10, 28, 28]
    verdicts = {each["rule"]: each["verdict"] for each in answer["rules"]}
    assert verdicts == {
        "parameters": "kept", "fully connected layers": "kept", "logits": "kept",
        "fully connected layers in disguise": "broken",
    }  # fmt: skip
    assert "Refused" in printed.err


def test_a_check_without_a_command_line() -> None:
    report = check_target(CheckConfig("assignment"))
    assert report.passes
    assert (report.code_was_run, report.training) == (False, None)
    assert report.to_dict()["parameters"] == 18_430
    strict = StudyConfig(rules=Rules(parameter_limit=18_430, strict=True))
    assert check_target(CheckConfig("assignment", training=strict)).broken == 2


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_the_status_is_the_answer_though_nobody_reads_it(tmp_path: Path, more: list[str]) -> None:
    arguments = command("check", "assignment", "--parameter-limit", "18000", *more)
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` that has left
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(
            arguments, cwd=tmp_path, env=environment(), stdout=pipe, stderr=subprocess.PIPE,
            text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_statistics_of_worked_cases() -> None:
    runs: list[Event] = [{"accuracy": 0.993}, {"accuracy": 0.995}, {"accuracy": 0.997}]
    found = statistics_of(runs, 0.995)
    assert found["mean"] == pytest.approx(0.995)
    assert found["standard_deviation"] == pytest.approx(0.002)
    assert found["minimum"] == 0.993
    assert found["share_passed"] == pytest.approx(2 / 3)
    assert statistics_of(runs[1:], 0.995)["passes"]
    assert not statistics_of([*runs[1:], {"diverged": "nan"}], 0.995)["passes"]
    assert statistics_of([*runs[1:], {"diverged": "nan"}], 0.995)["share_passed"] == 2 / 3
    assert statistics_of([{"accuracy": 1.0}], 0.995)["standard_deviation"] is None
    assert statistics_of([{"diverged": "nan"}], 0.995)["mean"] is None


@pytest.mark.parametrize(
    "accuracies",
    [[0.994] * 11, [0.9923, 0.9913, 0.9963, 0.997, 0.9964, 0.9907]],  # both 0.9939999... as floats
)
def test_runs_whose_mean_is_exactly_the_target_pass(accuracies: list[float]) -> None:
    assert statistics_of([{"accuracy": each} for each in accuracies], 0.994)["passes"]


WORK = """
import os, sys, time
from mnist_arch.errors import UserError

def sends(request, send):
    print("noise", file=sys.stderr)
    os.write(1, b"noise")
    send({"phase": "sending"})
    send({"number": request})
    time.sleep(0.2)
    send({"number": request + 1})

def hangs(request, send):
    send({"phase": "hanging"})
    time.sleep(request)

def dies(request, send):
    send({"phase": "dying"})
    os._exit(7)

def crashes(request, send):
    send({"phase": "crashing"})
    os.abort()

def mistakes(request, send):
    raise UserError("as you like")

def fails(request, send):
    raise KeyError("ours")

def hogs(request, send):
    send({"grown": len(bytearray(request))})
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with works for another process."""
    (tmp_path / "checked_work.py").write_text(WORK)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return "checked_work"


def events_of(work: str, request: Any = 1, seconds: float = 60) -> list[Event]:
    return list(contained.contained(work, request, seconds))


def test_another_process_sends_what_it_finds(work: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert events_of(f"{work}:sends") == [{"number": 1}, {"number": 2}]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dies", r"dying ended the process \(exit status 7\)"),
        ("crashes", r"crashing ended the process \(signal SIGABRT\)"),
        ("mistakes", "^as you like$"),
    ],
)
def test_what_ends_another_process_is_told(work: str, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        events_of(f"{work}:{name}")


def test_what_hangs_is_stopped(work: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match="took longer than 3 seconds and was stopped"):
        events_of(f"{work}:hangs", 300, 3)
    assert time.monotonic() - start < 30


def test_an_error_of_ours_stays_one(work: str) -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'ours'"):
        events_of(f"{work}:fails")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_memory_is_limited(work: str) -> None:
    with pytest.raises(RuntimeError, match="MemoryError"):
        events_of(f"{work}:hogs", contained.MEMORY_LIMIT + 1)


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_code_is_checked_in_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["net.py:Dense", "--json"]) == 1
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert answer["code_was_run"]
    assert answer["rules"][1]["says"] == [
        "fc (linear 10 -> 10): fully connected layers are not allowed"
    ]
    assert "Checking code runs it" in printed.err


@pytest.mark.slow
def test_the_command_line_end_to_end(folder: Path) -> None:
    (folder / "loops.py").write_text("while True: pass")
    (folder / "exits.py").write_text("import os; os._exit(0)")
    (folder / "crashes.py").write_text("import ctypes; ctypes.string_at(0)")
    done = run(folder, "check", "net:Net", "--train", "--seeds", "2", *QUICK)
    assert done.returncode == 1
    assert "Misses: it keeps the rules, and misses the accuracy." in done.stdout
    assert "minimum" in done.stdout
    assert "a try-out, not a result" in done.stdout
    assert "noise" not in done.stdout + done.stderr
    done = run(folder, "check", "net.py:Net", "--train", "--target", "0.01", *QUICK, "--json")
    assert done.returncode == 0
    training = json.loads(done.stdout)["training"]
    assert training["engine"] == "torch on cpu"
    assert training["shortened"]
    done = run(folder, "check", "assignment", "--train", "--engine", "torch", *QUICK)
    assert done.returncode == 1
    for target, message in (
        ("loops.py:Net", "importing it took longer than 20 seconds and was stopped"),
        ("exits.py:Net", "importing it ended the process (exit status 0)"),
        ("crashes.py:Net", "importing it ended the process (signal SIGSEGV)"),
        ("net.py:Raises", "forward raised ValueError: no images, please"),
    ):
        done = run(folder, "check", target, "--time-limit", "20")
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
