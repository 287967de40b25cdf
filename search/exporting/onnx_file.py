"""ONNX file: a network as one ONNX model, checked by onnxruntime on every test digit."""

from __future__ import annotations

import contextlib
import io
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mnist_arch.augment import gather
from mnist_arch.data import Digits
from mnist_arch.datasets import DATASETS
from mnist_arch.training import EVALUATION_BATCH
from search.formats import percent

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def missing_packages() -> list[str]:
    """Which of the packages that ONNX needs are not installed."""
    return [package for package in PACKAGES if find_spec(package) is None]


def write_onnx(network: nn.Module, path: Path) -> None:
    """Write a network in evaluation mode: `images` float32 [N, 1, 28, 28] to `logits` [N, 10].

    N is free. Batch norms are folded into their convolutions; what the exporter notes of this
    machine (stack traces with its paths) is left out.
    """
    import onnx

    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(
            network, (torch.zeros(2, 1, 28, 28),), path, dynamo=True, external_data=False,
            input_names=["images"], output_names=["logits"], verbose=False,
            dynamic_shapes=({0: torch.export.Dim("N")},),
        )  # fmt: skip
    model = onnx.load(path)
    graph = model.graph
    for noted in chain([graph], graph.node, graph.value_info, graph.input, graph.output):
        del noted.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def onnx_logits(path: Path, digits: Digits) -> Tensor:
    """A model's logits for digits under onnxruntime, float32 [count, 10]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    parts = [
        session.run(None, {"images": gather(digits.images, part, None, digits.dataset).numpy()})[0]
        for part in torch.split(torch.arange(len(digits)), EVALUATION_BATCH)
    ]
    return torch.from_numpy(np.concatenate(parts))


def agreement(path: Path, predicted: Tensor, digits: Digits) -> str:
    """How a model compares with the classes, int64 [count], that torch predicts for digits."""
    found = onnx_logits(path, digits).argmax(1)
    noun = DATASETS[digits.dataset].noun
    return (
        f"onnxruntime and torch agree on {(found == predicted).sum():,} of {len(digits):,} test "
        f"{noun}s, ONNX accuracy {percent(float((found == digits.labels).float().mean()))}"
    )
