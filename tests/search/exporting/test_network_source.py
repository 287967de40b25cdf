from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from mnist_arch.build import build
from mnist_arch.design import (
    AveragePool,
    Conv,
    DepthwiseConv,
    Design,
    Linear,
    LocalAveragePool,
    Sum,
)
from mnist_arch.plan import plan
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rules
from search.exporting.network_source import network_source
from tests.mnist_arch.strategies import can_be_walked, small_graphs

LOGITS = Conv(10, 1, 0, batch_norm=False, relu=False, bias=True)


def network_of(source: str) -> nn.Module:
    """The network that a file's text makes."""
    namespace: dict[str, Any] = {"__name__": "network", "__file__": "network.py"}
    exec(compile(source, "network.py", "exec", dont_inherit=True), namespace)
    network = namespace["Network"]()
    assert isinstance(network, nn.Module)
    return network


def ending_in_logits(design: Design) -> Design:
    """The design without fully connected layers, with a head that makes ten logits."""
    kept = tuple(layer for layer in design.layers if not isinstance(layer, Linear))
    return Design((*kept, AveragePool(), LOGITS))


def described(layer: nn.Module) -> str:
    """A layer's own text; an average pool over 5x5 may say 5 for (5, 5)."""
    return re.sub(r"\((\d+), \1\)", r"\1", repr(layer))


@settings(max_examples=40, deadline=None)
@given(small_graphs().map(ending_in_logits).filter(can_be_walked))
def test_the_file_is_the_network_that_build_makes(design: Design) -> None:
    built = build(design, Rules(None, None)).eval()
    written = network_of(network_source(design, "A network.")).eval()
    written.load_state_dict(built.state_dict())
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(built(images), written(images))
    ours, theirs = map(described, built), map(described, written.children())
    assert list(ours) == list(theirs)


def test_the_comments_add_up_to_the_plan() -> None:
    source = network_source(BASELINE, "A network.")
    lines = [line for line in source.splitlines() if "),  # " in line]
    counts = [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) parameters$", source, re.M)]
    assert sum(counts) == plan(BASELINE).parameters == 18_430
    assert lines[0].strip() == (
        "nn.Conv2d(1, 10, 3, padding=1),  # 10x28x28, sees 3, 100 parameters"
    )


def test_a_docstring_cannot_end_itself() -> None:
    network_of(network_source(BASELINE, 'A name with """ and \\ in it'))


RESIDUAL = Design(
    (
        Conv(8, stride=2, activation="silu"), DepthwiseConv(5, 2, activation_first=True), Sum(1),
        Conv(8, groups=2), Sum(3, "hard_swish"), LocalAveragePool(), LOGITS, AveragePool(),
    )
)  # fmt: skip


def test_the_file_of_a_graph_adds_what_the_plan_adds() -> None:
    source = network_source(RESIDUAL, "A network.")
    assert "self.sums = {6: 2, 10: 6}" in source
    assert plan(RESIDUAL).sums == {6: 2, 10: 6}


@pytest.mark.parametrize("design", [BASELINE, RESIDUAL], ids=["chain", "sums"])
def test_the_file_is_formatted_and_linted(tmp_path: Path, design: Design) -> None:
    pytest.importorskip("ruff")
    path = tmp_path / "network.py"
    path.write_text(network_source(design, "A network.\n\nIt reads."), encoding="utf-8")
    for verb in (["format", "--check"], ["check"]):
        command = [sys.executable, "-m", "ruff", *verb, "--isolated", "--line-length", "100"]
        done = subprocess.run([*command, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
