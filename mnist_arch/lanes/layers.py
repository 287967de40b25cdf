"""Reading a flat `nn.Sequential` as stages: a convolution and what follows it up to the next."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from mnist_arch.lanes.library import MAX_CHANNEL_DROPOUTS
from mnist_arch.lanes.stage import AVERAGE_POOL, IMAGE, MAX_POOL, Stage


class Unsupported(ValueError):
    """A layer that lanes cannot train, named by its position and type, with the reason."""

    def __init__(self, index: int, layer: nn.Module, reason: str) -> None:
        """Name the layer at `index` and say why."""
        super().__init__(f"layer {index} ({type(layer).__name__}): {reason}")


def read(network: nn.Sequential) -> list[Stage]:
    """The stages of a network of 28x28 images; raises `Unsupported`, naming the layer."""
    if not isinstance(network, nn.Sequential):
        raise TypeError(f"lanes takes a flat nn.Sequential, not a {type(network).__name__}")
    stages: list[Stage] = []
    layers = list(network)
    for index, layer in enumerate(layers):
        reason = _used_twice(layers[:index], layer) or _add(stages, layer, index, len(layers))
        if reason:
            raise Unsupported(index, layer, reason)
    if not layers or type(layers[-1]) is not nn.Flatten:
        raise Unsupported(len(layers), network, "the last layer must be Flatten(1)")
    return stages


def supports(network: nn.Module) -> str | None:
    """Why lanes cannot train this network, or None where it can."""
    try:
        read(network)  # type: ignore[arg-type]
    except (TypeError, Unsupported) as error:
        return str(error)
    return None


def _used_twice(earlier: list[nn.Module], layer: nn.Module) -> str | None:
    shared = any(layer is other for other in earlier) and any(True for _ in layer.parameters())
    return "used twice" if shared else None


def _add(stages: list[Stage], layer: nn.Module, index: int, count: int) -> str | None:
    """Put one layer into the stages, or say why that cannot be."""
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks:
        return "has hooks, which lanes would not call"
    if type(layer) is nn.Conv2d:
        return _add_convolution(stages, layer)
    if type(layer) is nn.Flatten:
        return _flatten(stages, layer, index + 1 == count)
    known = _FOLLOWERS.get(type(layer))
    if known is None:
        return "not a layer that lanes knows"
    why_not, add = known
    shape = _output(stages)
    if reason := why_not(layer, shape):
        return reason
    if not stages or not add(stages[-1], layer, index):
        stages.append(Stage(None, shape))  # a stage that only passes its input on
        add(stages[-1], layer, index)
    return None


def _output(stages: list[Stage]) -> tuple[int, int, int]:
    return stages[-1].output if stages else IMAGE


def _add_convolution(stages: list[Stage], layer: nn.Conv2d) -> str | None:
    channels, height, width = _output(stages)
    kernel, padding = layer.kernel_size[0], layer.padding[0]
    if (*layer.stride, *layer.dilation, layer.groups) != (1, 1, 1, 1, 1):
        return "stride, dilation and groups must be 1"
    if layer.kernel_size != (kernel, kernel):
        return f"the kernel must be square, not {layer.kernel_size}"
    if isinstance(padding, str) or layer.padding != (padding, padding):
        return f"padding must be one integer, not {layer.padding!r}"
    if not 0 <= padding <= kernel // 2 or layer.padding_mode != "zeros":
        return f"padding must be zeros, from 0 to {kernel // 2} wide"
    if layer.in_channels != channels:
        return f"takes {layer.in_channels} channels, but is given {channels}"
    if min(height, width) + 2 * padding < kernel:
        return f"its kernel of {kernel} is larger than its map of {height}x{width}"
    stages.append(Stage(layer, (channels, height, width)))
    return None


def _flatten(stages: list[Stage], layer: nn.Flatten, last: bool) -> str | None:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        return "must flatten everything but the batch: Flatten(1)"
    if not stages:
        stages.append(Stage(None, IMAGE))
    return None if last else "must be the last layer"


# ---- what follows a convolution: is it one that lanes knows, and does it fit the stage? ----


def _batch_norm_why_not(layer: nn.BatchNorm2d, shape: tuple[int, int, int]) -> str | None:
    if not layer.affine or layer.running_mean is None or layer.num_batches_tracked is None:
        return "must be affine and keep running statistics"
    if layer.num_features != shape[0]:
        return f"takes {layer.num_features} channels, but is given {shape[0]}"
    return None


def _add_batch_norm(stage: Stage, layer: nn.BatchNorm2d, index: int) -> bool:
    if stage.batch_norm or stage.pool or stage.has_dropout():
        return False
    stage.batch_norm = layer
    return True


def _relu_why_not(layer: nn.ReLU, shape: tuple[int, int, int]) -> str | None:
    return None


def _add_relu(stage: Stage, layer: nn.ReLU, index: int) -> bool:
    """ReLU commutes with dropout and with a maximum, so it may also follow these."""
    if stage.pool == AVERAGE_POOL:
        return False
    if stage.batch_norm:
        stage.relu_after = True
    else:
        stage.relu_before = True
    return True


def _dropout_why_not(layer: nn.Dropout | nn.Dropout2d, shape: tuple[int, int, int]) -> str | None:
    fits = 0 <= layer.p < 1
    return None if fits else f"its probability must be at least 0 and less than 1, not {layer.p}"


def _add_dropout(stage: Stage, layer: nn.Dropout, index: int) -> bool:
    if layer.p == 0:
        return True
    if stage.after_pool or (stage.before_pool and not stage.pool):
        return False
    if stage.pool:
        stage.after_pool = (index, layer.p)
    else:
        stage.before_pool = (index, layer.p)
    return True


def _add_channel_dropout(stage: Stage, layer: nn.Dropout2d, index: int) -> bool:
    if layer.p == 0:
        return True
    if len(stage.channel_dropouts) == MAX_CHANNEL_DROPOUTS:
        return False
    stage.channel_dropouts.append((index, layer.p))
    return True


def _max_pool_why_not(layer: nn.MaxPool2d, shape: tuple[int, int, int]) -> str | None:
    two = (2, (2, 2))
    if layer.kernel_size not in two or layer.stride not in two:
        return "must be 2x2 with a stride of 2"
    if layer.padding not in (0, (0, 0)) or layer.dilation not in (1, (1, 1)) or layer.ceil_mode:
        return "must have no padding, no dilation and no ceil_mode"
    if layer.return_indices:
        return "must not return indices"
    return "its map is smaller than 2x2" if min(shape[1:]) < 2 else None


def _add_max_pool(stage: Stage, layer: nn.MaxPool2d, index: int) -> bool:
    if stage.pool:
        return False
    stage.pool = MAX_POOL
    return True


def _average_why_not(layer: nn.AvgPool2d, shape: tuple[int, int, int]) -> str | None:
    kernel = layer.kernel_size
    square = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
    plain = layer.padding in (0, (0, 0)) and layer.divisor_override is None
    if square == shape[1:] and plain and not layer.ceil_mode:
        return None
    return f"must average the whole map of {shape[1]}x{shape[2]}, without padding or divisor"


def _adaptive_why_not(layer: nn.AdaptiveAvgPool2d, shape: tuple[int, int, int]) -> str | None:
    return None if layer.output_size in (1, (1, 1)) else "must average the whole map"


def _add_average_pool(stage: Stage, layer: nn.Module, index: int) -> bool:
    if stage.output[1:] == (1, 1):
        return True
    if stage.pool:
        return False
    stage.pool = AVERAGE_POOL
    return True


_Follower = tuple[Callable[..., str | None], Callable[..., bool]]
_FOLLOWERS: dict[type[nn.Module], _Follower] = {
    nn.BatchNorm2d: (_batch_norm_why_not, _add_batch_norm),
    nn.ReLU: (_relu_why_not, _add_relu),
    nn.Dropout: (_dropout_why_not, _add_dropout),
    nn.Dropout2d: (_dropout_why_not, _add_channel_dropout),
    nn.MaxPool2d: (_max_pool_why_not, _add_max_pool),
    nn.AvgPool2d: (_average_why_not, _add_average_pool),
    nn.AdaptiveAvgPool2d: (_adaptive_why_not, _add_average_pool),
}
