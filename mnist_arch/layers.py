"""Layers: what a design is made of, each a frozen spec that knows nothing of torch.

Every spec is valid once constructed; every fault raises `DesignError` with rule and value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from mnist_arch.values import DesignError, check_boolean, check_integer, check_one_of, short

Shape = tuple[int, int, int]
"""Channels, rows, columns of one image's map."""

Activation = Literal["relu", "silu", "hard_swish", "none"]
"""The function applied to every value: max(x, 0); x / (1 + e^-x) (Elfwing et al.,
arXiv:1702.03118); x min(max(x + 3, 0), 6) / 6 (Howard et al., arXiv:1905.02244); or x itself."""


_UNSAID: Any = object()
"""Default of a field that follows from another one."""


@dataclass(frozen=True, slots=True)
class Conv:
    """A square convolution, with the batch norm and the activation that follow it.

    `padding` is in pixels on each side; `kernel // 2` keeps the size of an odd kernel's map.
    `groups` must divide both numbers of channels. `activation_first` puts the activation before
    the batch norm; it is false where one of them is missing. `relu` says whether the activation
    is ReLU: true stands for "relu", false alone for "none".
    """

    type: ClassVar[str] = "conv"
    out_channels: int
    kernel: int = 3
    padding: int = 1
    batch_norm: bool = True
    relu: bool = _UNSAID
    bias: bool = False
    stride: int = 1
    groups: int = 1
    activation: Activation = _UNSAID
    activation_first: bool = False

    def __post_init__(self) -> None:
        check_integer("conv", "out_channels", self.out_channels, 1)
        check_integer("conv", "groups", self.groups, 1)
        if self.out_channels % self.groups:
            raise DesignError(
                f"conv: groups must divide out_channels ({self.out_channels:,}), "
                f"got {self.groups:,}"
            )
        _settle_activation(self)
        _check_window(self)

    def words(self, shape: Shape) -> str:
        """The layer in a few words, on an input map of `shape`."""
        return f"conv {_window(self)} {shape[0]:,} -> {self.out_channels:,}" + (
            f", {self.groups:,} groups" if self.groups > 1 else ""
        )


@dataclass(frozen=True, slots=True)
class DepthwiseConv:
    """A convolution of each channel by itself: as many groups and outputs as there are channels.

    Fields as in `Conv`; it needs no width, so it may stand anywhere.
    """

    type: ClassVar[str] = "depthwise_conv"
    kernel: int = 3
    padding: int = 1
    batch_norm: bool = True
    bias: bool = False
    stride: int = 1
    activation: Activation = "relu"
    activation_first: bool = False

    def __post_init__(self) -> None:
        _check_window(self)

    def words(self, shape: Shape) -> str:
        """The layer in a few words, on an input map of `shape`."""
        return f"depthwise conv {_window(self)} {shape[0]:,}"


def _window(spec: Conv | DepthwiseConv) -> str:
    stride = f" stride {spec.stride:,}" if spec.stride > 1 else ""
    return f"{spec.kernel}x{spec.kernel}{stride}"


def _settle_activation(spec: Conv) -> None:
    """Set `relu` and `activation` from the one that is given; raises if they contradict."""
    relu, activation = spec.relu, spec.activation
    if activation is _UNSAID:
        activation = "none" if relu is False else "relu"
    if relu is _UNSAID:
        relu = activation == "relu"
    check_boolean("conv", "relu", relu)
    check_one_of("conv", "activation", activation, get_args(Activation))
    if relu != (activation == "relu"):
        raise DesignError(
            f"conv: relu {str(relu).lower()} contradicts activation '{activation}'; give one"
        )
    object.__setattr__(spec, "relu", relu)
    object.__setattr__(spec, "activation", activation)


def _check_window(spec: Conv | DepthwiseConv) -> None:
    """Check the fields that both kinds of convolution have; settle `activation_first`."""
    name = spec.type.replace("_", " ")
    check_integer(name, "kernel", spec.kernel, 1)
    check_integer(name, "padding", spec.padding, 0)
    if spec.padding > spec.kernel // 2:
        raise DesignError(
            f"{name}: padding must be at most half the kernel ({spec.kernel // 2:,}), "
            f"got {spec.padding:,}"
        )
    check_integer(name, "stride", spec.stride, 1)
    check_one_of(name, "activation", spec.activation, get_args(Activation))
    for field in ("batch_norm", "bias", "activation_first"):
        check_boolean(name, field, getattr(spec, field))
    both = spec.batch_norm and spec.activation != "none"
    object.__setattr__(spec, "activation_first", spec.activation_first and both)


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout of whole channels or of single values (`element`), at `rate` in [0, 1)."""

    type: ClassVar[str] = "dropout"
    rate: float
    kind: Literal["channel", "element"] = "channel"

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not isinstance(self.rate, int | float):
            raise DesignError(f"dropout: rate must be a number, got {short(self.rate)}")
        if not 0 <= self.rate < 1:
            raise DesignError(
                f"dropout: rate must be at least 0 and below 1, got {short(self.rate)}"
            )
        object.__setattr__(self, "rate", float(self.rate) + 0.0)  # 0, 0.0 and -0.0 print alike
        check_one_of("dropout", "kind", self.kind, ("channel", "element"))

    def words(self, _shape: Shape) -> str:
        """The layer in a few words."""
        return f"{self.kind} dropout {self.rate:g}"


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Maximum over squares of `size` pixels, moved by `size`; rows and columns left over go."""

    type: ClassVar[str] = "max_pool"
    size: int = 2

    def __post_init__(self) -> None:
        check_integer("max_pool", "size", self.size, 2)

    def words(self, _shape: Shape) -> str:
        """The layer in a few words."""
        return f"max-pool {self.size}x{self.size}"


@dataclass(frozen=True, slots=True)
class LocalAveragePool:
    """Average over squares of `size` pixels, moved by `size`; rows and columns left over go."""

    type: ClassVar[str] = "local_average_pool"
    size: int = 2

    def __post_init__(self) -> None:
        check_integer("local_average_pool", "size", self.size, 2)

    def words(self, _shape: Shape) -> str:
        """The layer in a few words."""
        return f"average-pool {self.size}x{self.size}"


@dataclass(frozen=True, slots=True)
class AveragePool:
    """Average over the whole remaining map, one value a channel."""

    type: ClassVar[str] = "average_pool"

    def words(self, _shape: Shape) -> str:
        """The layer in a few words."""
        return "average-pool"


@dataclass(frozen=True, slots=True)
class Sum:
    """The layer before it plus the output of layer number `layer`, counted from 1; equal shapes.

    Values are added one by one, as in residual networks (He et al., arXiv:1512.03385).
    """

    type: ClassVar[str] = "sum"
    layer: int
    activation: Activation = "none"

    def __post_init__(self) -> None:
        check_integer("sum", "layer", self.layer, 1)
        check_one_of("sum", "activation", self.activation, get_args(Activation))

    def words(self, _shape: Shape) -> str:
        """The layer in a few words."""
        return f"sum with layer {self.layer:,}"


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer over the flattened map; a design may hold it, the rules refuse it."""

    type: ClassVar[str] = "linear"
    out_features: int
    bias: bool = True

    def __post_init__(self) -> None:
        check_integer("linear", "out_features", self.out_features, 1)
        check_boolean("linear", "bias", self.bias)

    def words(self, shape: Shape) -> str:
        """The layer in a few words, on an input map of `shape`."""
        channels, rows, columns = shape
        return f"linear {channels * rows * columns:,} -> {self.out_features:,}"


Layer = (
    Conv | DepthwiseConv | Dropout | MaxPool | LocalAveragePool | AveragePool | Sum | Linear
)  # fmt: skip

LAYER_TYPES: dict[str, type[Layer]] = {spec.type: spec for spec in get_args(Layer)}
"""Every spec by the name that stands for it in JSON."""
