"""A design: what a network is, as frozen data that knows nothing of torch.

Every spec is valid once constructed; every fault raises `DesignError` with rule and value.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from mnist_arch.layers import (
    LAYER_TYPES,
    AveragePool,
    Conv,
    DepthwiseConv,
    Dropout,
    Layer,
    Linear,
    LocalAveragePool,
    MaxPool,
    Sum,
)
from mnist_arch.values import MAX_INTEGER, DesignError, short

__all__ = [
    "LAYER_TYPES",
    "MAX_INTEGER",
    "MAX_JSON_CHARACTERS",
    "MAX_LAYERS",
    "AveragePool",
    "Conv",
    "DepthwiseConv",
    "Design",
    "DesignError",
    "Dropout",
    "Layer",
    "Linear",
    "LocalAveragePool",
    "MaxPool",
    "Sum",
]

MAX_LAYERS = 1_000
"""Most layers a design holds; more is refused before any of them is read."""

MAX_JSON_CHARACTERS = 1_000_000  # a thousand layers need a tenth of it


def _layer_count(count: int) -> None:
    """Raise `DesignError` unless a design may have that many layers."""
    if not 1 <= count <= MAX_LAYERS:
        raise DesignError(f"a design must have from 1 to {MAX_LAYERS:,} layers, got {count:,}")


@dataclass(frozen=True, slots=True)
class Design:
    """A network for 28x28 grey images: a tuple of 1 to `MAX_LAYERS` layer specs, in order."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        _layer_count(len(self.layers))
        for position, layer in enumerate(self.layers, 1):
            if isinstance(layer, Sum) and layer.layer > position - 2:
                raise DesignError(_no_such_sum(position, layer))

    @property
    def fingerprint(self) -> str:
        """The design's identity: 12 hexadecimal digits of the SHA-256 of its canonical JSON."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """The design as plain JSON values; a field younger than the format only where it tells."""
        return {"layers": [{"type": layer.type, **_told(layer)} for layer in self.layers]}

    def to_json(self) -> str:
        """The design as JSON text, one line a layer, ending in a newline."""
        rows = ",\n".join(f"    {json.dumps(layer)}" for layer in self.to_dict()["layers"])
        return f'{{\n  "layers": [\n{rows}\n  ]\n}}\n'

    @staticmethod
    def from_json(text: str) -> Design:
        """Read a design from JSON text.

        Raises `DesignError` for anything that is not a design: text that is not JSON or too
        long, unknown or missing or repeated keys, values of another type or out of range.
        """
        if len(text) > MAX_JSON_CHARACTERS:
            raise DesignError(
                f"a design's JSON must have at most {MAX_JSON_CHARACTERS:,} characters, "
                f"got {len(text):,}"
            )
        try:
            document = json.loads(text, object_pairs_hook=_without_repeats)
        except DesignError:
            raise
        except (ValueError, RecursionError) as error:
            raise DesignError(f"not JSON: {error}") from None
        return Design.from_dict(document)

    @staticmethod
    def from_dict(document: object) -> Design:
        """Read a design from plain JSON values; raises `DesignError` as `from_json` does."""
        if not isinstance(document, Mapping) or not isinstance(document.get("layers"), list):
            raise DesignError(
                f'a design must be an object {{"layers": [...]}}, got {short(document)}'
            )
        _only_known_keys("design", document, {"layers"})
        specs = document["layers"]
        _layer_count(len(specs))
        return Design(tuple(_read_layer(index, spec) for index, spec in enumerate(specs, 1)))


_FIRST_FIELDS = {
    "conv": {"kernel", "padding", "batch_norm", "relu", "bias"},
    "dropout": {"kind"},
    "max_pool": {"size"},
    "linear": {"bias"},
    "depthwise_conv": {"kernel", "padding", "batch_norm", "bias"},
    "local_average_pool": {"size"},
}
"""Fields with a default that a layer's JSON held from its start: fingerprints were made so."""


@functools.lru_cache(maxsize=4096)  # a search tells the same layers again and again
def _told(layer: Layer) -> Mapping[str, Any]:
    """The fields of a layer that its JSON tells.

    A field that was added later is left out where the others make the same layer, so that a new
    field never changes the fingerprint of an old design.
    """
    values: dict[str, Any] = asdict(layer)
    for name in _optional(type(layer)) - _FIRST_FIELDS.get(layer.type, set()):
        others = {key: value for key, value in values.items() if key != name}
        if type(layer)(**others) == layer:
            values = others
    return values


def _no_such_sum(position: int, layer: Sum) -> str:
    """Why a sum at `position` cannot name the layer that it names."""
    if position < 3:
        return f"layer {position}: sum: two layers must stand before it"
    return (
        f"layer {position}: sum: layer must be from 1 to {position - 2:,} (the layer right before "
        f"it is added anyway), got {layer.layer:,}"
    )


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of JSON pairs, refusing a key that stands twice."""
    result = dict(pairs)
    if len(result) < len(pairs):
        [(repeated, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise DesignError(f"key {short(repeated)} stands twice in one object")
    return result


def _only_known_keys(owner: str, document: Mapping[str, Any], known: set[str]) -> None:
    """Raise `DesignError` if `document` has a key that is not in `known`."""
    unknown = sorted(document.keys() - known, key=str)
    if unknown:
        raise DesignError(
            f"{owner}: unknown key {short(unknown[0])}, allowed are {', '.join(sorted(known))}"
        )


def _read_layer(index: int, spec: object) -> Layer:
    """Read layer number `index` (from 1) of a JSON design; raises `DesignError`."""
    if not isinstance(spec, Mapping):
        raise DesignError(f"layer {index}: must be an object with a type, got {short(spec)}")
    name = spec.get("type")
    if not isinstance(name, str) or name not in LAYER_TYPES:
        raise DesignError(
            f"layer {index}: type must be one of {', '.join(LAYER_TYPES)}, got {short(name)}"
        )
    layer_type = LAYER_TYPES[name]
    known = {field.name for field in fields(layer_type)}
    _only_known_keys(f"layer {index} ({name})", spec, known | {"type"})
    values = {key: value for key, value in spec.items() if key != "type"}
    try:
        return layer_type(**values)
    except DesignError as error:
        raise DesignError(f"layer {index}: {error}") from None
    except TypeError:
        missing = sorted(known - values.keys() - _optional(layer_type))
        raise DesignError(f"layer {index} ({name}): {missing[0]} is missing") from None


def _optional(layer_type: type[Layer]) -> set[str]:
    """Names of a layer type's fields that have a default."""
    return {field.name for field in fields(layer_type) if field.default is not MISSING}
