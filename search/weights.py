"""Weights: a design's trained network as a safetensors file, which never unpickles anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mnist_arch.build import build
from mnist_arch.design import Design
from mnist_arch.errors import UserError
from mnist_arch.plan import plan
from mnist_arch.rules import Rules

UNLIMITED = Rules(parameter_limit=None, epoch_limit=None)
"""An exported network may come from a study with looser rules than the assignment's."""

_BYTES_PER_PARAMETER = 4


def write_weights(path: Path, network: nn.Module, metadata: dict[str, str]) -> None:
    """Write a network's state; `metadata` holds the design's `fingerprint` and what else is known.

    Raises `OSError` where it cannot.
    """
    path.write_bytes(save(dict(network.state_dict()), metadata))


def read_weights(path: Path, design: Design) -> tuple[nn.Sequential, dict[str, str]]:
    """A design's network with the weights of a file, ready to judge, and the file's metadata.

    Raises `UserError` for a file that is missing, damaged, or belongs to another design; before
    a network is allocated that the file cannot fill.
    """
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


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A final run whose weights a confirmation kept; `test_accuracy` is a share in [0, 1]."""

    path: Path
    seed: int
    epochs: int
    images: int
    test_accuracy: float


def kept_runs(folder: Path, design: Design) -> list[KeptRun]:
    """The runs of a design whose weights a confirmation kept, in order of their seed indices.

    The files are `<fingerprint>-<seed index>.safetensors`; those of a searched recipe have
    another name and are not taken, for the name does not tell which recipe. Raises `UserError`
    for a damaged one.
    """
    indices = {}
    for path in folder.glob(f"{design.fingerprint}-*.safetensors"):
        if match := re.fullmatch(r"[0-9a-f]+-(\d+)", path.stem):
            indices[int(match[1])] = path
    return [_kept_run(path) for _, path in sorted(indices.items())]


def _kept_run(path: Path) -> KeptRun:
    metadata = _read(path)[0]
    try:
        seed, epochs, images = (int(metadata[name]) for name in ("seed", "epochs", "images"))
        return KeptRun(path, seed, epochs, images, float(metadata["test_accuracy"]))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"weights {path} do not say how they were trained ({error}); remove the file, or give "
            "--seed N to train anew"
        ) from None
