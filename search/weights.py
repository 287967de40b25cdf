"""Weights: a design's trained network as a safetensors file, which never unpickles anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from mnist_arch.design import Design
from mnist_arch.errors import UserError
from mnist_arch.plan import plan
from mnist_arch.rules import Rules

if TYPE_CHECKING:
    from torch import Tensor, nn

UNLIMITED = Rules(parameter_limit=None, epoch_limit=None)
"""An exported network may come from a study with looser rules than the assignment's."""

_BYTES_PER_PARAMETER = 4


def with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
    """A safetensors file's content with what it says of itself; see `metadata_of`."""
    return save(load(content), metadata)


def metadata_of(
    design: Design,
    seed: int,
    epochs: int,
    images: int,
    test_accuracy: float,
    dataset: str = "mnist",
) -> dict[str, str]:
    """What a file of weights says of itself: its design, and how that was trained and judged.

    Files did not always say what they were trained on: those of MNIST still do not.
    """
    return {
        "fingerprint": design.fingerprint,
        "seed": str(seed),
        "epochs": str(epochs),
        "images": str(images),
        "test_accuracy": str(test_accuracy),
        **({} if dataset == "mnist" else {"dataset": dataset}),
    }


def read_weights(path: Path, design: Design) -> tuple[nn.Sequential, dict[str, str]]:
    """A design's network with the weights of a file, ready to judge, and the file's metadata.

    Raises `UserError` for a file that is missing, damaged, or belongs to another design; before
    a network is allocated that the file cannot fill.
    """
    from mnist_arch.build import build

    metadata, state = _read(path)
    found = metadata.get("fingerprint", "none")
    if found != design.fingerprint:
        raise UserError(
            f"{path} belongs to another design: its fingerprint is {found}, the design's is "
            f"{design.fingerprint}; keep the files of one export together"
        )
    if plan(design).parameters * _BYTES_PER_PARAMETER > path.stat().st_size:
        raise UserError(f"{path} is too short for its design; {_REMEDY}")
    network = build(design, UNLIMITED)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip().rstrip(".")
        raise UserError(f"{path} does not fit its design ({first}); {_REMEDY}") from None
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise UserError(f"{path} holds weights that are not finite numbers; {_REMEDY}")
    return network.eval(), metadata


def read_metadata(path: Path) -> dict[str, str]:
    """What a file of weights says of itself; raises `UserError` for a damaged one."""
    return _read(path)[0]


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {
                name: file.get_tensor(name) for name in file.offset_keys()
            }
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"weights {path} cannot be read ({reason}); {_REMEDY}") from None


_REMEDY = "export the network again: python -m search.export --help"
