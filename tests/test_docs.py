"""README and docs: each command they show is one that runs, each link leads somewhere."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.passing import found, read_random
from mnist_arch.data import load
from search import open_study
from search.tables.trials import rows_of
from tests.search.commands import ROOT, environment

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "results" / "README.md",
    ROOT / "results" / "NOTES.md",
]

LONG = re.compile(
    r"--device cuda|env:STUDIES|--executor ray|--warm-start|--dataset fashion|-m benchmarks\."
)
"""Commands that need a GPU, a server, a cluster, a study of many trained designs, other data or
hours; their options are read, no more."""

SMALL = {
    "run": "--trials 1 --epochs 1 --train-images 200 --finalists 0 --workers 1 --no-report",
    "confirm": "--seeds 1 --workers 1 --no-report",
    "check": "--epochs 1 --train-images 200 --seeds 1",
}
"""What makes a verb's command quick; the last of two equal options counts."""


def commands_of(page: Path) -> list[str]:
    """The commands of a page: indented lines and `python -m` between backquotes."""
    text = page.read_text(encoding="utf-8")
    lines = [line[4:].partition("  #")[0].strip() for line in text.splitlines()
             if line.startswith("    ")]  # fmt: skip
    shown = [line for line in lines if re.match(r"(taskset -c 0 )?python -m ", line)]
    inline = re.findall(r"`((?:taskset -c 0 )?python -m [^`]+)`", text.replace("\n", " "))
    return [*shown, *(command for command in inline if len(command.split()) > 2)]


OURS = sorted({command for page in PAGES for command in commands_of(page)})
README = commands_of(ROOT / "README.md")


def words_of(command: str) -> tuple[str, list[str]]:
    """The module that a command runs and its arguments."""
    words = shlex.split(command.removeprefix("taskset -c 0 "))
    assert words[:2] == ["python", "-m"], command
    return words[2], words[3:]


def test_there_are_commands() -> None:
    assert len(OURS) > 20
    for verb in ("run", "confirm", "show", "report", "check", "export", "predict", "doctor"):
        assert any(f"search.{verb}" in command for command in OURS), verb


@pytest.mark.parametrize("command", OURS)
def test_every_command_is_one(command: str) -> None:
    module, arguments = words_of(command)
    assert find_spec(module) is not None
    if module.startswith("search."):
        importlib.import_module(module).make_parser().parse_args(arguments)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader's: committed results, a study of one's own, a network, an image."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("first-light", "under-8000"):
        shutil.copytree(ROOT / "results" / name, folder / "results" / name)
    (folder / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        head = nn.Conv2d(4, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "        super().__init__(nn.Conv2d(1, 4, 3), nn.ReLU(), *head)\n"
    )
    Image.fromarray(load("test").images[0].numpy()).save(folder / "digit.png")
    made = shlex.split("--study mnist --trials 1 --epochs 1 --train-images 300 --target 0.01")
    done = run("run", [*made, "--finalists", "0", "--no-report", "--workers", "1"], folder)
    assert done.returncode == 0, done.stderr
    return folder


def run(verb: str, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"search.{verb}", *arguments], cwd=folder, env=environment(),
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.ci] if command in README else [])
        for command in OURS
        if not LONG.search(command)
    ],
)
def test_every_command_runs(command: str, place: Path) -> None:
    module, arguments = words_of(command)
    verb = module.partition(".")[2]
    if not verb:
        subprocess.run([sys.executable, "-m", module], env=environment(), check=True)
        return
    if verb == "predict" and not (place / "best").exists():
        export = "results/mnist --rank 1 --to best --epochs 1 --train-images 200"
        assert run("export", export.split(), place).returncode == 0
    small = SMALL.get(verb, "").split()
    if (verb == "check" and "--train" not in arguments) or "--compare" in arguments:
        small = []
    if "--looks" in arguments:  # they are shorter than a full training
        small[small.index("--epochs") + 1] = "4"
    if "folds" in arguments:
        small = small[2:]  # folds have their own number of trainings
    done = run(verb, [*arguments, *small], place)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), f"{target} does not exist"
        assert found.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors_of(found), f"{target}: no such heading"


def test_readme_is_short_and_every_page_has_a_figure() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120
    for page in PAGES:
        if page.stem in ("scale", "reliability"):
            continue
        assert re.search(r"^!\[[^\]]{10,}\]\(\S+\)$", page.read_text(encoding="utf-8"), re.M), page


def test_the_numbers_of_readme_are_those_of_the_committed_study() -> None:
    study = open_study(ROOT / "results" / "again-0")
    runs = study.tables["confirmations"].groupby("trial")["test_accuracy"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    finalists = study.tables["finalists"]
    for row in rows_of(finalists[finalists["confirmed"]]):
        mean = runs.mean()[row["trial"]] * 100
        deviation = runs.std(ddof=1)[row["trial"]] * 100
        bound = f"{row['lower_bound'] * 100:.2f}"
        told = f"| {row['parameters']:,} | {mean:.3f} ± {deviation:.3f} | {bound} |"
        assert told in text, told
    states = study.trials["state"].value_counts()
    assert f"of {len(study.trials)} proposals" in text
    assert f"{states['screened']} were dropped after a look of a quarter of an epoch" in text
    assert (
        f"{states['passed'] + states['missed']} were trained in full, {states['passed']} passed"
        in (text)
    )


def test_the_page_of_the_search_says_how_many_designs_pass() -> None:
    searches = [found(open_study(ROOT / "results" / f"again-{seed}")) for seed in range(5)]
    rate = sum(search.rate for search in searches) / len(searches)
    random = read_random(ROOT / "results" / "table", 0.994)
    text = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    assert f"found {rate:.1f} designs that pass for every 1,000 epochs" in text
    assert f"{random.passing} passed: {random.rate:.1f} for every 1,000 epochs" in text
    assert f"finds {rate / random.rate:.1f} times as many" in text


def test_readme_says_the_answers_of_five_searches() -> None:
    smallest, accurate, own = [], [], []
    for seed in range(5):
        finalists = open_study(ROOT / "results" / f"again-{seed}").tables["finalists"]
        found = finalists[finalists["confirmed"] & ~finalists["baseline"]]
        smallest.append(f"{found['parameters'].min():,}")
        is_most_accurate = found["answers"].fillna("").str.contains("most accurate")
        accurate.append(f"{found[is_most_accurate]['test_accuracy'].item() * 100:.3f}")
        own.append(f"{finalists[finalists['baseline']]['test_accuracy'].item() * 100:.3f}")
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    for values in (smallest, accurate, own):
        assert f"{', '.join(values[:-1])} and {values[-1]}" in text, values
