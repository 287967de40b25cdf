from __future__ import annotations

import pytest
import torch
from torch import nn

from mnist_arch.build import build
from mnist_arch.plan import plan
from mnist_arch.references import BASELINE, REFERENCE_DESIGNS
from mnist_arch.rules import Rules


@pytest.mark.parametrize(
    ("name", "parameters", "sides", "receptive_field"),
    [
        # sides behind each convolution and pool, as the sources' comments give them
        ("assignment", 18_430, [28, 28, 14, 14, 14, 7, 5, 3, 1], 40),
        ("published-4392", 4_392, [26, 24, 24, 22, 22, 11, 11, 9, 9, 7, 7, 5, 5, 5, 1], 28),
        ("published-7758", 7_758, [28, 28, 14, 12, 10, 8, 6, 4, 1, 1], 32),
    ],
)
def test_a_published_network_is_counted_as_published(
    name: str, parameters: int, sides: list[int], receptive_field: int
) -> None:
    walked = Rules(strict=False).check(REFERENCE_DESIGNS[name])
    assert walked.parameters == parameters
    assert walked.receptive_field == receptive_field
    counted = [
        node.output_shape[1]
        for node in walked.nodes
        if "Conv" in node.module or "Pool" in node.module
    ]
    assert counted == sides
    network = build(REFERENCE_DESIGNS[name]).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_published_4392_has_relu_before_each_batch_norm_and_no_bias() -> None:
    modules = list(build(REFERENCE_DESIGNS["published-4392"]))
    norms = [place for place, each in enumerate(modules) if isinstance(each, nn.BatchNorm2d)]
    assert len(norms) == 11
    assert all(isinstance(modules[place - 1], nn.ReLU) for place in norms)
    convolutions = [each for each in modules if isinstance(each, nn.Conv2d)]
    assert all(each.bias is None for each in convolutions)
    depthwise = [each for each in convolutions if each.groups > 1]
    assert [each.groups for each in depthwise] == [16, 16, 16, 16, 24]
    followed = [type(modules[modules.index(each) + 1]) for each in convolutions]
    assert followed.count(nn.ReLU) == 11
    assert [type(each) for each in modules[-3:]] == [nn.Conv2d, nn.AvgPool2d, nn.Flatten]


def test_published_7758_has_six_dropouts_of_values() -> None:
    modules = list(build(REFERENCE_DESIGNS["published-7758"]))
    assert [each.p for each in modules if isinstance(each, nn.Dropout)] == [0.04] * 6
    norms = [place for place, each in enumerate(modules) if isinstance(each, nn.BatchNorm2d)]
    assert all(isinstance(modules[place + 1], nn.ReLU) for place in norms)


def test_fingerprints_of_references_never_change() -> None:
    assert {name: design.fingerprint for name, design in REFERENCE_DESIGNS.items()} == {
        "assignment": "59aea58c103e",
        "published-4392": "4222d06d4269",
        "published-7758": "3e2bab176e8f",
    }
    assert BASELINE is REFERENCE_DESIGNS["assignment"]
    assert plan(BASELINE).parameters == 18_430
