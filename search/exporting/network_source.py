"""Network source: a design as the text of a stand-alone `network.py`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch

from jinja2 import Environment, PackageLoader, StrictUndefined

from mnist_arch.datasets import DATASETS, DataSet
from mnist_arch.design import AveragePool, Design, Dropout, LocalAveragePool, MaxPool, Sum
from mnist_arch.plan import BatchNorm, Convolution, Node, plan

TEMPLATES = Environment(
    loader=PackageLoader("search.exporting"), undefined=StrictUndefined, autoescape=False,
    trim_blocks=True, keep_trailing_newline=True,
)  # fmt: skip  # they make Python and Markdown, not HTML


def network_source(design: Design, docstring: str, data: DataSet = DATASETS["mnist"]) -> str:
    """The text of `network.py`: `docstring`, the design's class, and what loads and judges it.

    It normalises, reads and names images as those of `data`.

    The class's state is that of `build(design)`, name by name. The design is one that the rules
    allow.
    """
    walked = plan(design)
    return TEMPLATES.get_template("network.py.jinja").render(
        docstring=docstring.replace("\\", "\\\\").replace('"""', "'''"),
        parameters=f"{walked.parameters:,}",
        fingerprint=design.fingerprint,
        layers=[line for node in walked.nodes for line in _lines(node)],
        sums=walked.sums,
        data=data,
    )


def _lines(node: Node) -> Iterator[str]:
    """The expressions that make a node; behind one, its output, what it sees, its parameters."""
    parts = []
    if not isinstance(node.operation, Dropout | BatchNorm):
        parts += ["x".join(map(str, node.output_shape)), f"sees {node.receptive_field}"]
    if node.parameters:
        parts.append(f"{node.parameters:,} parameters")
    yield f"{source_of(node.operation, node)}," + (f"  # {', '.join(parts)}" if parts else "")
    if node.activation_module:
        yield f"nn.{node.activation_module}(),"


@singledispatch
def source_of(operation: object, _node: Node) -> str:
    """The expression that makes a node's module, as `build` makes it.

    Raises `TypeError` for an operation that has none.
    """
    raise TypeError(f"{type(operation).__name__} has no function in network_source.py")


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
