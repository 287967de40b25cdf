from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from mnist_arch.build import build
from mnist_arch.data import load
from mnist_arch.design import Design
from mnist_arch.references import BASELINE
from search import cli, handwriting, predict
from search.exporting.predictions import logits
from search.handwriting import load_export, read_digit, shown
from tests.search.small_export import SMALL


@pytest.fixture
def damaged(exported: Path, tmp_path: Path) -> Path:
    """A copy of the export, to damage."""
    return Path(shutil.copytree(exported, tmp_path / "damaged"))


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    """A test digit as a picture, black on white."""
    path = tmp_path / "digit.png"
    Image.fromarray(255 - load("test").images[0].numpy()).resize((280, 280)).save(path)
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a prediction that ends with status 2 prints on stderr."""
    with pytest.raises(SystemExit) as end:
        cli.run_command(predict.main, [str(argument) for argument in arguments])
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_json_and_text_say_the_same(
    exported: Path, digit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main([str(exported), str(digit), str(digit), "--json"]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert one == two
    assert 1 >= one["probability"] >= one["runner_up_probability"] >= 0
    assert one["digit"] != one["runner_up"]
    assert predict.main([str(exported), str(digit), "--show"]) == 0
    *picture, line = capsys.readouterr().out.splitlines()
    assert line == (
        f"{digit}: {one['digit']} ({one['probability'] * 100:.2f} %), "
        f"then {one['runner_up']} ({one['runner_up_probability'] * 100:.2f} %)"
    )
    assert len(picture) == 28
    assert "@@" in "".join(picture)


def test_pictures_of_mnists_digits_read_as_the_digits_themselves(
    exported: Path, tmp_path: Path
) -> None:
    network = load_export(exported)
    digits = load("test").take(torch.arange(60))
    predicted = logits(network, digits).argmax(1).tolist()
    same = []
    for polarity in (0, 255):
        images = []
        for pixels in digits.images.numpy():
            picture = Image.fromarray(pixels ^ np.uint8(polarity)).resize((140, 140))
            picture.save(tmp_path / "digit.png")
            images.append(read_digit(tmp_path / "digit.png"))
        found = handwriting.predict(network, images, [tmp_path] * len(images))
        same += [r.digit == label for r, label in zip(found, predicted, strict=True)]
    assert np.mean(same) >= 0.85  # a network of one epoch; a trained one reads 99.9 % alike


def test_shown_goes_from_white_to_black() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[3, 1], image[4, 0] = 255, 128
    lines = shown(image).split("\n")
    assert lines[3] == "  @@"
    assert lines[4] == "++"
    assert lines[0] == ""


def test_an_empty_folder_is_no_export(
    digit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = told(capsys, tmp_path, digit)
    assert f"{tmp_path} is not an exported network: design.json is missing; make one" in message


def test_nothing_of_the_folder_is_executed(damaged: Path, digit: Path) -> None:
    (damaged / "network.py").write_text("raise SystemExit('executed')")
    assert predict.main([str(damaged), str(digit)]) == 0


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"\xff" * 500], ids=str)
def test_damaged_weights(
    damaged: Path, digit: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (damaged / "weights.safetensors").write_bytes(content)
    assert "weights.safetensors cannot be read" in told(capsys, damaged, digit)


def test_weights_cut_short(damaged: Path, digit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = damaged / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "weights.safetensors cannot be read" in told(capsys, damaged, digit)


def test_weights_of_another_design(
    damaged: Path, digit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (damaged / "design.json").write_text(BASELINE.to_json())
    message = told(capsys, damaged, digit)
    assert f"fingerprint is {SMALL.fingerprint}, the design's is {BASELINE.fingerprint}" in message


def test_weights_of_another_shape(
    damaged: Path, digit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, metadata = damaged / "weights.safetensors", {"fingerprint": SMALL.fingerprint}
    path.write_bytes(save(build(BASELINE).state_dict(), metadata))
    assert "does not fit its design (" in told(capsys, damaged, digit)
    network = build(SMALL)
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] = float("nan")
    path.write_bytes(save(network.state_dict(), metadata))
    assert "weights that are not finite numbers" in told(capsys, damaged, digit)


def test_a_huge_design_is_refused_before_memory_is_spent(
    damaged: Path, digit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        (damaged / "design.json")
        .read_text()
        .replace('"out_channels": 6', '"out_channels": ' + str(10**12))
    )
    (damaged / "design.json").write_text(text)
    fingerprint = Design.from_json(text).fingerprint
    (damaged / "weights.safetensors").write_bytes(
        save(build(SMALL).state_dict(), {"fingerprint": fingerprint})
    )
    assert "weights.safetensors is too short for its design" in told(capsys, damaged, digit)


def test_a_damaged_design(damaged: Path, digit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (damaged / "design.json").write_text("{")
    assert "design.json: not JSON" in told(capsys, damaged, digit)


def test_one_bad_image_among_good_ones(
    exported: Path, digit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = digit.with_name("missing.png")
    assert f"image {missing} does not exist" in told(capsys, exported, digit, missing)
