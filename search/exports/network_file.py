"""Network file: a design as the Python source of a stand-alone `network.py`."""

from __future__ import annotations

from functools import singledispatch
from importlib import resources

from mnist_arch.design import AveragePool, Design, Dropout, LocalAveragePool, MaxPool, Sum
from mnist_arch.plan import BatchNorm, Convolution, Node, plan
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
    for node in walked.nodes:
        lines.append(f"            {source_of(node.operation, node)},{_comment(node)}")
        if node.activation_module:
            lines.append(f"            nn.{node.activation_module}(),")
    lines += ["            nn.Flatten(),  # 10 logits", "        )"]
    if not walked.sums:
        return "\n".join(lines)
    sums = ", ".join(f"{place}: {added}" for place, added in walked.sums.items())
    return "\n".join([*lines, *_FORWARD.format(sums=f"{{{sums}}}").splitlines()]) + _ADD


_CLASS = '''\
class Network(nn.Sequential):
    """Normalised images, float32 [N, 1, 28, 28], to logits [N, 10]; {parameters:,} parameters.

    Each comment names the layer's output for one image, the side of the square of input pixels
    that one value of it sees, and the layer's parameters.
    """

    def __init__(self) -> None:
        super().__init__(
'''


_FORWARD = '''\
        self.sums = {sums}  # a sum's module: the module whose output it adds

    def forward(self, images: Tensor) -> Tensor:
        """Run the modules in order; a sum adds an earlier output."""
        kept: dict[int, Tensor] = {{}}
        maps = images
        for place, module in enumerate(self):
            adds = place in self.sums
            maps = module(maps, kept[self.sums[place]]) if adds else module(maps)
            if place in self.sums.values():
                kept[place] = maps
        return maps
'''

_ADD = '''


class Add(nn.Module):
    """The sum of two maps of one shape."""

    def forward(self, maps: Tensor, earlier: Tensor) -> Tensor:
        """Add value by value."""
        return maps + earlier'''


def _comment(node: Node) -> str:
    """What stands behind a layer: its output and what one value of it sees, its parameters."""
    parts = []
    if not isinstance(node.operation, Dropout | BatchNorm):
        parts += ["x".join(map(str, node.output_shape)), f"sees {node.receptive_field}"]
    if node.parameters:
        parts.append(f"{node.parameters:,} parameters")
    return f"  # {', '.join(parts)}" if parts else ""


@singledispatch
def source_of(operation: object, _node: Node) -> str:
    """The expression that makes a node's module, as `build` makes it.

    Raises `TypeError` for an operation that has none.
    """
    raise TypeError(f"{type(operation).__name__} has no function in network_file.py")


@source_of.register
def _convolution(operation: Convolution, node: Node) -> str:
    values = [node.input_shape[0], node.output_shape[0], operation.kernel]
    options = {
        "stride": (operation.stride, 1),
        "padding": (operation.padding, 0),
        "groups": (operation.groups, 1),
        "bias": (operation.bias, True),
    }
    told = [f"{name}={value}" for name, (value, default) in options.items() if value != default]
    return f"nn.Conv2d({', '.join([*map(str, values), *told])})"


@source_of.register
def _batch_norm(_operation: BatchNorm, node: Node) -> str:
    return f"nn.BatchNorm2d({node.input_shape[0]})"


@source_of.register
def _dropout(operation: Dropout, node: Node) -> str:
    return f"nn.{node.module}({operation.rate})"


@source_of.register
def _pool(operation: MaxPool | LocalAveragePool, node: Node) -> str:
    return f"nn.{node.module}({operation.size})"


@source_of.register
def _average_pool(_operation: AveragePool, node: Node) -> str:
    return f"nn.AvgPool2d({node.input_shape[1]})"


@source_of.register
def _sum(_operation: Sum, _node: Node) -> str:
    return "Add()"
