"""A made-up layer, added from outside by one entry in each reader that CONTRIBUTING lists."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from mnist_arch import arithmetic, build, layers, plan
from mnist_arch.design import AveragePool, Conv, Design, DesignError
from mnist_arch.engine import Engine, engine_of, prepare
from mnist_arch.rules import Rules
from search.exporting import network_source
from search.tables.describe import describe_widths
from search.terminal.layers import plan_rows

ROOT = Path(__file__).parents[2]

PACKAGE = '''
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from mnist_arch.arithmetic import Part, parts
from mnist_arch.build import module_of
from mnist_arch.layers import LAYER_TYPES
from search.tables.describe import word
from search.exporting.network_source import source_of


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Channels dealt out to groups, as in ShuffleNet (Zhang et al., arXiv:1707.01083)."""

    type: ClassVar[str] = "shuffle"
    groups: int = 2

    def words(self, shape):
        return f"shuffle of {self.groups} groups"


LAYER_TYPES["shuffle"] = Shuffle


@parts.register
def _parts(layer: Shuffle, shape: tuple) -> tuple:
    return (Part(layer, "ChannelShuffle", shape),)


@module_of.register
def _module(operation: Shuffle, node: object) -> nn.Module:
    return nn.ChannelShuffle(operation.groups)


@source_of.register
def _source(operation: Shuffle, node: object) -> str:
    return f"nn.ChannelShuffle({operation.groups})"


@word.register
def _word(layer: Shuffle) -> str:
    return "shuffle"
'''

TOUCHED = {
    ("mnist_arch/layers.py", "LAYER_TYPES"),
    ("mnist_arch/arithmetic.py", "parts"),
    ("mnist_arch/build.py", "module_of"),
    ("search/exporting/network_source.py", "source_of"),
    ("search/tables/describe.py", "word"),
}


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package outside the tree that adds a layer; its JSON name goes again after the test."""
    (tmp_path / "made_up").mkdir()
    (tmp_path / "made_up" / "__init__.py").write_text(PACKAGE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(layers.LAYER_TYPES, "shuffle", Conv)
    monkeypatch.delitem(sys.modules, "made_up", raising=False)
    return importlib.import_module("made_up")


def test_contributing_lists_what_the_package_touches() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("**Add a layer.**")[1].split("**Add a rule.**")[0]
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)` \| [^|]*`([^`]+)` \|$", section, re.M)
    assert len(rows) == 5
    assert set(rows) == TOUCHED
    imported = set(re.findall(r"from (\S+) import (?:Part, )?(\w+)$", PACKAGE, re.M))
    used = {(f"{module.replace('.', '/')}.py", name) for module, name in imported}
    assert used >= TOUCHED
    registered = set(re.findall(r"^(?:@(\w+)\.register|(LAYER_TYPES))", PACKAGE, re.M))
    assert {"".join(names) for names in registered} == {name for _, name in TOUCHED}


def test_every_reader_reads_a_made_up_layer(made_up: ModuleType) -> None:
    logits = Conv(10, 1, 0, batch_norm=False, relu=False)
    design = Design((Conv(8, groups=1), made_up.Shuffle(4), Conv(8), logits, AveragePool()))
    assert Design.from_json(design.to_json()) == design
    walked = Rules().check(design)
    assert walked.nodes[2].label == "layer 2 (shuffle of 4 groups)"
    assert walked.nodes[2].operation == made_up.Shuffle(4)
    assert plan_rows(walked)[2][:3] == ("ChannelShuffle-3", "", "8x28x28")
    assert describe_widths(design) == "8 shuffle 8"
    torch.manual_seed(0)
    network = build.build(design).eval()
    assert isinstance(network[3], nn.ChannelShuffle)
    images = torch.randn(3, 1, 28, 28)
    namespace: dict[str, object] = {"__name__": "network", "__file__": "network.py"}
    exec(network_source.network_source(design, "A network."), namespace)
    written = namespace["Network"]()  # type: ignore[operator]
    written.load_state_dict(network.state_dict())
    assert torch.equal(written.eval()(images), network(images))
    prepared = prepare(network, Engine("lanes", "cpu", ""))  # lanes leaves it to torch
    assert engine_of(prepared) == "torch"


class Unknown:
    type = "unknown"

    def words(self, _shape: plan.Shape) -> str:
        return "unknown"


def test_a_layer_that_a_reader_does_not_know_is_an_error() -> None:
    design = Design((Unknown(),))  # type: ignore[arg-type]
    message = "Unknown has no function in mnist_arch/arithmetic.py"
    with pytest.raises(TypeError, match=f"^{message}$"):
        plan.plan(design)
    node = plan.plan(Design((AveragePool(),))).nodes[0]
    with pytest.raises(TypeError, match=r"^Unknown has no function in mnist_arch/build.py$"):
        build.module_of(Unknown(), node)
    with pytest.raises(TypeError, match=r"^Unknown has no function in network_source.py$"):
        network_source.source_of(Unknown(), node)
    with pytest.raises(DesignError, match="type must be one of"):
        Design.from_dict({"layers": [{"type": "unknown"}]})
    assert arithmetic.parts.dispatch(Unknown) is arithmetic.parts.dispatch(object)
