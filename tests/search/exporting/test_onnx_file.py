from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mnist_arch.build import build
from mnist_arch.data import Digits
from mnist_arch.design import AveragePool, Conv, DepthwiseConv, Design, LocalAveragePool, Sum
from mnist_arch.references import REFERENCE_DESIGNS
from search.exporting.onnx_file import missing_packages, onnx_logits, write_onnx

pytestmark = pytest.mark.skipif(bool(missing_packages()), reason="ONNX is not installed")

GRAPH = Design(
    (
        Conv(8, stride=2, activation="silu"), DepthwiseConv(5, 2, activation_first=True), Sum(1),
        Conv(8, groups=2, activation="hard_swish"), Sum(3, "relu"), LocalAveragePool(),
        Conv(10, 1, 0, batch_norm=False, relu=False), AveragePool(),
    )
)  # fmt: skip


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.parametrize("design", [GRAPH, REFERENCE_DESIGNS["published-4392"]])
def test_onnxruntime_computes_every_layer_as_torch_does(tmp_path: Path, design: Design) -> None:
    torch.manual_seed(0)
    network = build(design)
    network(torch.randn(64, 1, 28, 28))  # moves the running statistics off their start
    network.eval()
    path = tmp_path / "network.onnx"
    write_onnx(network, path)
    images = torch.randint(0, 256, (20, 28, 28), dtype=torch.uint8)
    digits = Digits(images, torch.zeros(20, dtype=torch.int64))
    pixels = (images.float().unsqueeze(1) / 255 - 0.1307) / 0.3081
    with torch.no_grad():
        torch.testing.assert_close(onnx_logits(path, digits), network(pixels), atol=1e-4, rtol=1e-4)
