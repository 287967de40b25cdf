from __future__ import annotations

from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mnist_arch.audit import Audit, AuditError, audit, watch
from mnist_arch.build import build
from mnist_arch.design import AveragePool, Conv, Design, Linear
from mnist_arch.plan import plan
from mnist_arch.references import BASELINE
from mnist_arch.rules import Rules, notes
from tests.mnist_arch.strategies import small_designs
from tests.mnist_arch.zoo import COVERINGS, DISGUISES, INNOCENTS, NETWORKS, ZOO
from tests.mnist_arch.zoo_convolutions import CONVOLUTIONS, UNTOLD
from tests.mnist_arch.zoo_holes import ARITHMETIC, HIDDEN, READINGS, RESIZING
from tests.mnist_arch.zoo_parts import Animal, ByHand

WARNINGS = pytest.mark.filterwarnings("ignore::UserWarning")  # the zoo's own, not ours


def refusals(found: Audit) -> str:
    """The messages that refuse a module."""
    return "; ".join(map(str, found.rejections))


@WARNINGS
@pytest.mark.parametrize("animal", ZOO.values(), ids=ZOO.keys())
def test_the_zoo_gets_every_verdict_right(animal: Animal) -> None:
    torch.manual_seed(1)
    watched = watch(animal.make())
    plainly, strictly = watched.judged_by(Rules()), watched.judged_by(Rules(strict=True))
    assert plainly.passes == animal.allowed, refusals(plainly)
    assert strictly.passes == animal.allowed_strictly, refusals(strictly)
    assert animal.says in refusals(strictly if animal.allowed else plainly)


def test_the_zoo_is_large_enough() -> None:
    assert len(DISGUISES) >= 30
    assert len(COVERINGS) >= 8
    assert len(INNOCENTS) >= 25
    for kind in (ARITHMETIC, HIDDEN, READINGS, RESIZING, CONVOLUTIONS, UNTOLD):
        assert len(kind) >= 6  # what was found first, and five more of its kind
    kinds = (DISGUISES, COVERINGS, INNOCENTS, ARITHMETIC, HIDDEN, READINGS, RESIZING)
    assert len(ZOO) == sum(map(len, (*kinds, CONVOLUTIONS, UNTOLD)))  # no name twice


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_written_by_hand_count_as_published(name: str) -> None:
    make, parameters = NETWORKS[name]
    found = audit(make())
    assert found.passes
    assert found.parameters == found.trainable == parameters
    [note] = found.notes
    assert "computes what a fully connected layer computes" in note
    assert not audit(make(), Rules(strict=True)).passes


def test_the_assignments_network_by_hand_equals_its_plan() -> None:
    found, planned = audit(ByHand()), plan(BASELINE)
    assert (found.macs, found.receptive_field) == (planned.macs, planned.receptive_field)


@settings(max_examples=40)
@given(small_designs(), st.data())
def test_a_built_design_is_audited_as_planned(design: Design, data: st.DataObject) -> None:
    anything = Rules(parameter_limit=None)
    maps = tuple(layer for layer in design.layers if not isinstance(layer, Linear))
    side = plan(Design(maps)).output_shape[1] if maps else 28
    design = Design((*maps, Conv(10, data.draw(st.sampled_from([1, side])), 0), AveragePool()))
    walked = anything.check(design)
    found = audit(build(design, anything), anything)
    assert found.parameters == walked.parameters
    assert found.macs == walked.macs
    assert found.receptive_field == walked.receptive_field
    assert len([note for note in found.notes if "computes what" in note]) == len(notes(walked))
    assert [layer.output_shape for layer in found.layers if "conv" in layer.operation] == [
        layer.output_shape for layer in walked.layers if layer.module == "Conv2d"
    ]


def test_an_average_of_everything_takes_no_steps() -> None:
    layers = (AveragePool(), Conv(1, 2, 1), Conv(10, 1, 0), AveragePool())
    found = audit(build(Design(layers)))
    assert found.receptive_field == plan(Design(layers)).receptive_field == 30


def test_the_assignments_layers_are_the_plans() -> None:
    planned = [
        (layer.output_shape, layer.parameters, layer.macs, layer.receptive_field)
        for layer in plan(BASELINE).layers
        if "Dropout" not in layer.module  # nothing of them runs in evaluation
    ]
    found = audit(build(BASELINE)).layers
    assert [
        (layer.output_shape, layer.parameters, layer.macs, layer.receptive_field) for layer in found
    ] == planned
    assert found[0].name == "layer 0"
    assert found[0].operation == "conv 3x3 1 -> 10"


def test_too_many_parameters_are_refused_in_the_words_of_the_rules() -> None:
    found = audit(build(BASELINE), Rules(parameter_limit=18_430))
    assert refusals(found) == "parameters: 18,430, must be fewer than 18,430"


def test_the_labels_of_disguises_name_the_module_and_the_line() -> None:
    assert refusals(audit(DISGUISES["Linear in a submodule"].make())) == (
        "body.conv.1 (linear 392 -> 10): fully connected layers are not allowed"
    )
    assert "forward (linear 392 -> 10 at zoo.py:" in refusals(audit(DISGUISES["x @ W"].make()))


class Head(nn.Module):
    """A network that averages a convolution over the map and returns `shaped` of it."""

    def __init__(self, channels: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.conv(images)
        return maps.mean((2, 3))


@pytest.mark.parametrize(
    ("channels", "message"), [(12, "output: 12x1x1 for each image"), (1, "output: 1x1x1 for each")]
)
def test_other_than_ten_logits_are_refused(channels: int, message: str) -> None:
    assert message in refusals(audit(Head(channels)))


def test_parameters_count_once_where_shared_and_always_where_frozen() -> None:
    class Twice(Head):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Conv2d(10, 10, 1, bias=False)
            self.same = self.again
            self.conv.requires_grad_(False)

        def forward(self, images: Tensor) -> Tensor:
            maps: Tensor = self.same(self.again(self.conv(images)))
            return maps.mean((2, 3))

    found = audit(Twice())
    assert (found.parameters, found.trainable) == (100 + 100, 100)
    assert sum(layer.parameters for layer in found.layers) == 200


def test_weights_outside_the_parameters_count_and_running_statistics_do_not() -> None:
    class Held(Head):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kernel", torch.randn(10, 10, 3, 3))
            self.norm = nn.BatchNorm2d(10)
            self.plain = [torch.randn(10, 1, 1)]

        def forward(self, images: Tensor) -> Tensor:
            maps = self.norm(self.conv(images)) * self.plain[0]
            maps = nn.functional.conv2d(maps, self.get_buffer("kernel"))
            return maps.mean((2, 3))

    found = audit(Held())
    assert found.outside == 900 + 10
    assert found.parameters == 100 + 20 + 900 + 10
    assert found.notes == (
        "kernel: 900 values in a buffer act as weights; they count",
        "plain: 10 values in a tensor act as weights; they count",
    )


def test_an_unused_linear_counts_and_is_noted() -> None:
    found = audit(INNOCENTS["unused Linear"].make())
    assert found.passes
    assert found.parameters == 80 + 720 + 90
    assert found.notes == (
        "fc.weight, fc.bias: 90 parameters that the forward pass does not use; they count",
    )


def test_a_module_is_left_as_it_was() -> None:
    network = build(BASELINE).train()
    network[0].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    audit(network)
    drawn = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(3))
    assert network.training
    assert not network[0].training
    for name, value in network.state_dict().items():
        assert torch.equal(before[name], value), name


def test_a_receptive_field_that_cannot_be_told_is_none() -> None:
    found = audit(INNOCENTS["group norm"].make())
    assert found.receptive_field is None
    assert found.layers[0].receptive_field == 3


class Returns(Head):
    """A network that returns something else."""

    def __init__(self, what: object) -> None:
        super().__init__()
        self.what = what

    def forward(self, images: Tensor) -> Tensor:
        if isinstance(self.what, BaseException):
            raise self.what
        logits = super().forward(images)
        return cast(Tensor, self.what(logits) if callable(self.what) else self.what)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (None, "returned None; it must return one tensor of logits [batch, 10]"),
        (lambda logits: (logits, logits), "returned a tuple; it must return one tensor"),
        (lambda logits: logits.tolist(), "returned a list; it must return one tensor"),
        (lambda logits: logits.sum(), "returned float32 of shape []; it must return float logits"),
        (lambda logits: logits[:1], "returned float32 of shape [1, 10]; it must return"),
        (lambda logits: logits.T, "returned float32 of shape [10, 2]; it must return"),
        (lambda logits: logits.argmax(1, True), "returned int64 of shape [2, 1]; it must return"),
        (ZeroDivisionError("oh\nno"), "forward raised ZeroDivisionError: oh"),
        (KeyError(), "forward raised KeyError"),
        (NotImplementedError("later"), "forward raised NotImplementedError: later"),
    ],
)
def test_what_cannot_be_audited_is_told(what: object, message: str) -> None:
    with pytest.raises(AuditError) as caught:
        audit(Returns(what))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_without_forward_is_told() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(AuditError, match="Empty has no forward: write one"):
        audit(Empty())


def test_an_error_in_training_only_is_told() -> None:
    class Fails(Head):
        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                raise RuntimeError("not for training")
            return super().forward(images)

    network = Fails().eval()
    with pytest.raises(AuditError, match="forward raised RuntimeError: not for training"):
        audit(network)
    assert not network.training


def test_the_given_images_are_watched_too() -> None:
    class Picky(Head):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(10, 10)

        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return self.fc(logits) if len(images) == 5 else logits

    assert audit(Picky()).passes
    found = audit(Picky(), images=[torch.zeros(5, 1, 28, 28)])
    assert "fc (linear 10 -> 10): fully connected" in refusals(found)
