"""Fashion-MNIST through every command, with Debian's package where that is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from mnist_arch.data import load
from mnist_arch.errors import UserError
from search import StudyConfig, options
from search import run as run_verb
from search.exporting.network_source import network_source
from search.handwriting import read_as_it_is
from tests.mnist_arch.test_datasets import needs_fashion
from tests.search.commands import ROOT, environment, run
from tests.search.small_export import SMALL

QUICK = ("--dataset", "fashion", "--epochs", "1", "--train-images", "500")


# --- without its files ---


def config_of(*arguments: str) -> StudyConfig:
    return options.config_of(run_verb.make_parser().parse_args(arguments))


def test_the_data_set_gives_the_target_unless_the_user_does() -> None:
    assert config_of().rules.target == 0.994
    assert config_of("--dataset", "fashion").rules.target == 0.92
    assert config_of("--dataset", "fashion", "--target", "0.9").rules.target == 0.9


def test_a_study_of_mnist_is_written_as_ever() -> None:
    assert "dataset" not in StudyConfig().to_dict()
    committed = json.loads((ROOT / "results" / "first-light" / "study.json").read_text())
    config = StudyConfig.from_dict(committed["settings"])
    assert config.dataset == "mnist"
    assert config.identity("first-light") == committed["id"]


def test_a_study_of_another_data_set_says_so_and_is_read_back() -> None:
    config = StudyConfig(dataset="fashion")
    assert config.to_dict()["dataset"] == "fashion"
    assert StudyConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.identity("a") != StudyConfig().identity("a")
    assert StudyConfig().differences(config) == ["dataset was 'mnist', now 'fashion'"]
    assert config.differences(StudyConfig()) == ["dataset was 'fashion', now 'mnist'"]
    with pytest.raises(UserError, match="--dataset letters: must be one of mnist, fashion"):
        StudyConfig(dataset="letters")


@pytest.mark.slow
def test_without_its_files_nothing_is_started(tmp_path: Path) -> None:
    done = run(tmp_path, "run", "--dataset", "fashion", "--data", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: Fashion-MNIST file train-images-idx3-ubyte")
    assert "download=True" in done.stderr
    assert "dataset-fashion-mnist" in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_photograph_is_refused_and_an_image_of_its_size_is_read(tmp_path: Path) -> None:
    pixels = np.arange(784, dtype=np.uint8).reshape(28, 28)
    Image.fromarray(pixels).save(tmp_path / "small.png")
    Image.fromarray(pixels).resize((280, 280)).save(tmp_path / "large.png")
    np.save(tmp_path / "array.npy", pixels)
    np.save(tmp_path / "shares.npy", pixels / 255)
    (tmp_path / "text.npy").write_text("none")
    for name in ("small.png", "array.npy"):
        assert (read_as_it_is(tmp_path / name, "Fashion-MNIST") == pixels).all()
    for name, words in (
        ("large.png", r"large.png is uint8 \[280, 280\]: a network of Fashion-MNIST is shown"),
        ("shares.npy", r"shares.npy is float64 \[28, 28\]: .* prepared for digits only. Give an"),
        ("text.npy", "text.npy cannot be read: .*; give a .npy file"),
        ("none.npy", "none.npy cannot be read: No such file or directory; give a .npy file"),
    ):
        with pytest.raises(UserError, match=words):
            read_as_it_is(tmp_path / name, "Fashion-MNIST")


def test_the_exported_network_of_mnist_names_no_other_data() -> None:
    source = network_source(SMALL, "A network.")
    assert "MEAN, STANDARD_DEVIATION = 0.1307, 0.3081" in source
    assert "ashion" not in source


# --- with its files ---


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a study of Fashion-MNIST, confirmed."""
    folder = tmp_path_factory.mktemp("fashion")
    few = ("--trials", "2", "--looks", "none", "--workers", "1", "--target", "0.05")
    done = run(folder, "run", *QUICK, *few, "--finalists", "1", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert "Trained and judged on Fashion-MNIST, not on MNIST." in done.stdout
    return folder


@needs_fashion
@pytest.mark.ci
@pytest.mark.slow
def test_one_training(tmp_path: Path) -> None:
    done = run(tmp_path, "train", "--design", "assignment", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "misses 92.00 % (one seed; near 92 % the standard error is 0.27 points)" in done.stdout
    written = (tmp_path / "results" / "train-assignment" / "training.json").read_text()
    assert json.loads(written)["settings"]["dataset"] == "fashion"


@needs_fashion
@pytest.mark.slow
def test_a_study_is_shown_and_does_not_go_on_with_other_data(searched: Path) -> None:
    shown = run(searched, "show", "results/fashion")
    assert "Trained and judged on Fashion-MNIST, not on MNIST." in shown.stdout
    refused = run(searched, "run", "--study", "fashion", *QUICK[2:], "--looks", "none")
    assert refused.returncode == 2
    assert "dataset was 'fashion', now 'mnist'; rules.target was 0.05, now 0.994" in refused.stderr


@needs_fashion
@pytest.mark.slow
def test_a_page_says_what_was_read_and_names_no_answers_to_another_task(searched: Path) -> None:
    done = run(searched, "report", "results/fashion", "--to", "page")
    assert done.returncode == 0, done.stderr
    page = (searched / "page" / "report.html").read_text()
    assert "small networks that read images of clothes (Fashion-MNIST)" in page
    assert "The test images that the first confirmation run of trial" in page
    assert "Published answers" not in page


@pytest.fixture(scope="module")
def export(searched: Path) -> str:
    """What the export of that study to the folder `best` prints."""
    done = run(searched, "export", "results/fashion", "--to", "best")
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_fashion
@pytest.mark.slow
def test_an_export_normalises_and_names_its_classes(searched: Path, export: str) -> None:
    assert "classes: 0 T-shirt/top, 1 Trouser" in export
    best = searched / "best"
    assert not (best / "mnist").exists()
    card, source = (best / "README.md").read_text(), (best / "network.py").read_text()
    assert "(p - 0.286) / 0.353. Output: ten logits: T-shirt/top, Trouser" in card
    assert "census" not in card
    assert "MEAN, STANDARD_DEVIATION = 0.286, 0.353" in source
    with safe_open(best / "weights.safetensors", "pt") as file:
        assert file.metadata()["dataset"] == "fashion"


@needs_fashion
@pytest.mark.slow
def test_an_exported_network_judges_itself_and_reads_images_as_they_are(
    searched: Path, export: str
) -> None:
    judged = subprocess.run(
        [sys.executable, "best/network.py"], cwd=searched, env=environment(), capture_output=True,
        text=True, check=True, timeout=300,
    ).stdout  # fmt: skip
    own = r"Test:  (.*?) of Fashion-MNIST's 10,000 test images \((.*?) misread"
    [(accuracy, misread)] = re.findall(own, export)
    assert f"test accuracy {accuracy}: {misread.replace(',', '')} of 10,000 images" in judged
    assert "\nAnkle boot" in judged
    test = load("test", dataset="fashion")
    np.save(searched / "one.npy", test.images[0].numpy())
    Image.fromarray(test.images[0].numpy()).save(searched / "one.png")
    done = run(searched, "predict", "best", "one.npy", "one.png", "--json")
    first, second = json.loads(done.stdout)
    assert first == second | {"image": "one.npy"}
    assert first["name"] in ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal",
                             "Shirt", "Sneaker", "Bag", "Ankle boot")  # fmt: skip
