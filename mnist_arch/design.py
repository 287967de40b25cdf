"""A design: what a network is, as frozen data that knows nothing of torch.

Every spec is valid once constructed; every fault raises `DesignError` with rule and value.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar, Literal

from mnist_arch.errors import UserError

MAX_INTEGER = 10**15
"""Largest integer a spec takes: far above any network, small enough to print."""
MAX_LAYERS = 1_000
"""Most layers a design holds; more is refused before any of them is read."""

MAX_JSON_CHARACTERS = 1_000_000  # a thousand layers need a tenth of it


class DesignError(UserError):
    """A design, or its JSON, that breaks a rule of the format; says which and with what value."""


def _integer(owner: str, name: str, value: object, minimum: int) -> None:
    """Raise `DesignError` unless `value` is an integer in [minimum, MAX_INTEGER]."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise DesignError(f"{owner}: {name} must be a whole number, got {_short(value)}")
    if not minimum <= value <= MAX_INTEGER:
        raise DesignError(
            f"{owner}: {name} must be from {minimum:,} to {MAX_INTEGER:,}, got {_short(value)}"
        )


def _boolean(owner: str, name: str, value: object) -> None:
    """Raise `DesignError` unless `value` is true or false."""
    if not isinstance(value, bool):
        raise DesignError(f"{owner}: {name} must be true or false, got {_short(value)}")


def _layer_count(count: int) -> None:
    """Raise `DesignError` unless a design may have that many layers."""
    if not 1 <= count <= MAX_LAYERS:
        raise DesignError(f"a design must have from 1 to {MAX_LAYERS:,} layers, got {count:,}")


def _short(value: object) -> str:
    """The start of a value's text, short enough for a one-line message."""
    if isinstance(value, int) and abs(value) > 10**30:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or an integer too long to print
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True, slots=True)
class Conv:
    """A square convolution of stride 1, with the batch norm and the ReLU that follow it.

    `padding` is in pixels on each side; `kernel // 2` keeps the size of an odd kernel's map.
    """

    type: ClassVar[str] = "conv"
    out_channels: int
    kernel: int = 3
    padding: int = 1
    batch_norm: bool = True
    relu: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        _integer("conv", "out_channels", self.out_channels, 1)
        _integer("conv", "kernel", self.kernel, 1)
        _integer("conv", "padding", self.padding, 0)
        if self.padding > self.kernel // 2:
            raise DesignError(
                f"conv: padding must be at most half the kernel ({self.kernel // 2:,}), "
                f"got {self.padding:,}"
            )
        for name in ("batch_norm", "relu", "bias"):
            _boolean("conv", name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout of whole channels or of single values (`element`), at `rate` in [0, 1)."""

    type: ClassVar[str] = "dropout"
    rate: float
    kind: Literal["channel", "element"] = "channel"

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not isinstance(self.rate, int | float):
            raise DesignError(f"dropout: rate must be a number, got {_short(self.rate)}")
        if not 0 <= self.rate < 1:
            raise DesignError(
                f"dropout: rate must be at least 0 and below 1, got {_short(self.rate)}"
            )
        object.__setattr__(self, "rate", float(self.rate) + 0.0)  # 0, 0.0 and -0.0 print alike
        if self.kind not in ("channel", "element"):
            raise DesignError(
                f"dropout: kind must be 'channel' or 'element', got {_short(self.kind)}"
            )


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Maximum over squares of `size` pixels, moved by `size`; a rest at the edge is dropped."""

    type: ClassVar[str] = "max_pool"
    size: int = 2

    def __post_init__(self) -> None:
        _integer("max_pool", "size", self.size, 2)


@dataclass(frozen=True, slots=True)
class AveragePool:
    """Average over the whole remaining map, one value a channel."""

    type: ClassVar[str] = "average_pool"


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer over the flattened map; a design may hold it, the rules refuse it."""

    type: ClassVar[str] = "linear"
    out_features: int
    bias: bool = True

    def __post_init__(self) -> None:
        _integer("linear", "out_features", self.out_features, 1)
        _boolean("linear", "bias", self.bias)


Layer = Conv | Dropout | MaxPool | AveragePool | Linear

LAYER_TYPES: dict[str, type[Layer]] = {
    spec.type: spec for spec in (Conv, Dropout, MaxPool, AveragePool, Linear)
}


@dataclass(frozen=True, slots=True)
class Design:
    """A network for 28x28 grey images: a tuple of 1 to `MAX_LAYERS` layer specs, in order."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        _layer_count(len(self.layers))

    @property
    def fingerprint(self) -> str:
        """The design's identity: 12 hexadecimal digits of the SHA-256 of its canonical JSON."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """The design as plain JSON values."""
        return {"layers": [{"type": layer.type, **asdict(layer)} for layer in self.layers]}

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
                f'a design must be an object {{"layers": [...]}}, got {_short(document)}'
            )
        _only_known_keys("design", document, {"layers"})
        specs = document["layers"]
        _layer_count(len(specs))
        return Design(tuple(_read_layer(index, spec) for index, spec in enumerate(specs, 1)))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of JSON pairs, refusing a key that stands twice."""
    result = dict(pairs)
    if len(result) < len(pairs):
        [(repeated, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise DesignError(f"key {_short(repeated)} stands twice in one object")
    return result


def _only_known_keys(owner: str, document: Mapping[str, Any], known: set[str]) -> None:
    """Raise `DesignError` if `document` has a key that is not in `known`."""
    unknown = sorted(document.keys() - known, key=str)
    if unknown:
        raise DesignError(
            f"{owner}: unknown key {_short(unknown[0])}, allowed are {', '.join(sorted(known))}"
        )


def _read_layer(index: int, spec: object) -> Layer:
    """Read layer number `index` (from 1) of a JSON design; raises `DesignError`."""
    if not isinstance(spec, Mapping):
        raise DesignError(f"layer {index}: must be an object with a type, got {_short(spec)}")
    name = spec.get("type")
    if not isinstance(name, str) or name not in LAYER_TYPES:
        raise DesignError(
            f"layer {index}: type must be one of {', '.join(LAYER_TYPES)}, got {_short(name)}"
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
