"""Network file: a design as the Python source of a stand-alone `network.py`."""

from __future__ import annotations

from importlib import resources

from mnist_arch.design import AveragePool, Conv, Design, Dropout, Linear, MaxPool
from mnist_arch.plan import PlannedLayer, plan
from mnist_arch.references import BASELINE

_END_OF_DOCSTRING = '\n"""\n'
_START_OF_CLASS, _END_OF_BODY = "class Network(nn.Sequential):", "\n\n\ndef load("


def network_source(design: Design, docstring: str) -> str:
    """The text of `network.py`: `docstring`, the design's class, and what loads and judges it.

    The class's state is that of `build(design)`, name by name. The design is one that the rules
    allow.
    """
    template = resources.files("search.exports").joinpath("network_template.py").read_text("utf-8")
    _, after_docstring = template.split(_END_OF_DOCSTRING, 1)
    head, rest = after_docstring.split(_START_OF_CLASS, 1)
    _, functions = rest.split(_END_OF_BODY, 1)
    head = head.replace(BASELINE.fingerprint, design.fingerprint)
    quoted = docstring.replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{quoted}{_END_OF_DOCSTRING}{head}{class_source(design)}{_END_OF_BODY}{functions}'


def class_source(design: Design) -> str:
    """The class `Network` of a design, layer by layer, without a newline at its end."""
    walked = plan(design)
    lines = _CLASS.format(parameters=walked.parameters).splitlines()
    for layer in walked.layers:
        lines.append(f"            {_module(layer)},{_comment(layer)}")
        if layer.relu:
            lines.append("            nn.ReLU(),")
    return "\n".join([*lines, "            nn.Flatten(),  # 10 logits", "        )"])


_CLASS = '''\
class Network(nn.Sequential):
    """Normalised images, float32 [N, 1, 28, 28], to logits [N, 10]; {parameters:,} parameters.

    Each comment names the layer's output for one image, the side of the square of input pixels
    that one value of it sees, and the layer's parameters.
    """

    def __init__(self) -> None:
        super().__init__(
'''


def _comment(layer: PlannedLayer) -> str:
    """What stands behind a layer: its output and what one value of it sees, its parameters."""
    parts = []
    if not (isinstance(layer.spec, Dropout) or layer.module == "BatchNorm2d"):
        parts += ["x".join(map(str, layer.output_shape)), f"sees {layer.receptive_field}"]
    if layer.parameters:
        parts.append(f"{layer.parameters:,} parameters")
    return f"  # {', '.join(parts)}" if parts else ""


def _module(layer: PlannedLayer) -> str:
    """The expression that makes a layer's module, as `build` makes it."""
    channels, side, _ = layer.input_shape
    match layer.spec:
        case Conv() if layer.module == "BatchNorm2d":
            return f"nn.BatchNorm2d({channels})"
        case Conv(out_channels=out, kernel=kernel, padding=padding, bias=bias):
            options = f", padding={padding}" * (padding > 0) + ", bias=False" * (not bias)
            return f"nn.Conv2d({channels}, {out}, {kernel}{options})"
        case Dropout(rate=rate):
            return f"nn.{layer.module}({rate})"
        case MaxPool(size=size):
            return f"nn.MaxPool2d({size})"
        case AveragePool():
            return f"nn.AvgPool2d({side})"
        case Linear():
            raise AssertionError("the rules refuse every fully connected layer")
