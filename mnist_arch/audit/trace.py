"""Trace: watch one forward pass, operation by operation, whatever the modules are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mnist_arch.audit import operations
from mnist_arch.audit.constants import unmoved
from mnist_arch.audit.record import Call, Record
from mnist_arch.audit.taint import Taint, memory_of, tensors_in

Follow = Callable[[Record, Call], Taint]


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands every operation of a forward pass to `follow` and enters what comes of it."""

    def __init__(self, record: Record, follow: Follow) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._record, self._follow = record, follow

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:  # fmt: skip
        del types
        named = kwargs or {}
        with self:  # what is made of others, such as linear in inference mode, shows its parts
            out = func.decompose(*args, **named)
        if out is not NotImplemented:
            return out
        with torch._C.DisableTorchFunction():
            ledger = self._record.ledger
            tensors = list(tensors_in([args, named]))
            taints = [ledger.taint_of(tensor) for tensor in tensors]
            out = func(*args, **named)
            self._record.calls += 1
            name = _plain_name(func)
            call = Call(name, func, args, named, tensors, taints, out)
            self._enter(call, unmoved(self._record, call, self._follow(self._record, call)))
        return out

    def _enter(self, call: Call, result: Taint) -> None:
        """Enter in the ledger what the outputs derive from."""
        before = {
            memory_of(each): taint for each, taint in zip(call.tensors, call.taints, strict=True)
        }
        for out in tensors_in(call.out):
            old = before.get(memory_of(out))
            if old is None:
                self._record.ledger.set(out, result)
                if result.image:
                    self._record.labels_of(out)  # before any view of it is seen
            elif call.function._schema.is_mutable:
                self._record.ledger.set(out, self._overwritten(out, old, result))

    def _overwritten(self, out: Tensor, old: Taint, result: Taint) -> Taint:
        """What memory derives from after some of it was written over."""
        image = old.image or result.image
        keeps = self._record.ledger.is_source(out) or not result.image
        sources = result.sources | (old.sources if keeps else frozenset())
        return Taint(image, sources, result.field)


class Escapes(TorchFunctionMode):
    """Notices when values computed from images, or weights, leave torch's sight."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:  # fmt: skip
        del types
        name = getattr(func, "__name__", "")
        ledger = self._record.ledger
        escapes = name in operations.ESCAPES and args and ledger.is_known(args[0])
        if escapes and ledger.taint_of(args[0]).image:
            what = self._record.label(f"Tensor.{name}")
            self._record.find("unknown", f"{what}: takes values of the images out of torch")
        if name not in operations.WORDS:
            return func(*args, **(kwargs or {}))
        self._record.words.append(name)
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self._record.words.pop()


@contextmanager
def scopes(module: nn.Module, record: Record) -> Iterator[None]:
    """Keep track of which module runs; a module that is not part of `module` goes by its class."""
    names = {id(each): name for name, each in module.named_modules()}

    def enter(each: nn.Module, _: Any) -> None:
        inner = f"{record.scopes[-1]}.{type(each).__name__}".lstrip(".")
        record.scopes.append(names.get(id(each), inner))

    def leave(each: nn.Module, _: Any, __: Any) -> None:
        del each
        record.scopes.pop()

    record.scopes.append("")
    hooks = (
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(leave, always_call=True),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _plain_name(function: Any) -> str:
    """`mul` for aten's `mul.Tensor` and `mul_.Tensor`; the full name outside aten."""
    name = str(function.overloadpacket.__name__)
    name = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    return name if function.namespace == "aten" else f"{function.namespace}.{name}"
