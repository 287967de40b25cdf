"""Load a module of anybody's: import, construct, fill with weights. This runs foreign code."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pickle
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from mnist_arch.build import build
from mnist_arch.errors import UserError
from mnist_arch.rules import Rules
from mnist_arch.training import is_out_of_memory
from search.foreign.targets import Target
from search.names import read_design

Factory = Callable[[], nn.Module]


def factory_of(target: Target, rules: Rules) -> Factory:
    """What makes the target's network anew each time; raises `UserError`."""
    if target.kind == "design":
        design = read_design(target.place)
        return lambda: build(design, rules)
    home = _imported(target)
    made_by = getattr(home, target.attribute, None)
    if made_by is None:
        there = ", ".join(_makers(home)) or "no classes or functions"
        raise UserError(f"{target.place} has no {target.attribute!r}; it has: {there}")
    if isinstance(made_by, nn.Module):
        raise UserError(
            f"{target.text} is a network made already; name its class, or a function that makes it"
        )
    if not callable(made_by):
        raise UserError(f"{target.text} is a {type(made_by).__name__}, no class and no function")
    _require_no_arguments(target, made_by)
    return lambda: _made(target, made_by)


def _imported(target: Target) -> ModuleType:
    """Import the file or module that a target names."""
    try:
        if target.kind == "file":
            return _from_file(Path(target.place))
        _require_module(target)
        return importlib.import_module(target.place)
    except UserError:
        raise
    except SyntaxError as error:
        where = f"{Path(error.filename or target.place).name}:{error.lineno}"
        raise UserError(f"{target.place}: syntax error at {where}: {error.msg}") from None
    except BaseException as error:  # noqa: BLE001 - foreign code may raise anything
        raise UserError(f"{target.place}: importing it raised {told(error)}") from None


def _from_file(path: Path) -> ModuleType:
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(f"checked_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _require_module(target: Target) -> None:
    """Raise `UserError` unless the module can be found from here."""
    parts = target.place.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        if importlib.util.find_spec(name) is None:
            where = ".".join(parts[: count - 1])
            place = f"in package {where}" if where else f"here ({Path.cwd()}) or installed"
            raise UserError(f"target {target.text!r}: no module {name!r} {place}")


def _makers(home: ModuleType) -> list[str]:
    """What a module itself defines that could make a network."""
    return [
        name
        for name, value in vars(home).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == home.__name__
        and not name.startswith("_")
    ]


def _require_no_arguments(target: Target, made_by: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(made_by)
    except (TypeError, ValueError):
        return
    needed = [
        name
        for name, each in signature.parameters.items()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if needed:
        raise UserError(
            f"{target.text} needs arguments ({', '.join(needed)}); name a function that takes none "
            "and returns the network"
        )


def _made(target: Target, made_by: Callable[[], object]) -> nn.Module:
    try:
        made = made_by()
    except BaseException as error:  # noqa: BLE001 - foreign code may raise anything
        raise UserError(f"{target.text}: making it raised {told(error)}") from None
    if not isinstance(made, nn.Module):
        raise UserError(f"{target.text} makes a {type(made).__name__}, not a torch.nn.Module")
    return made


def told(error: BaseException) -> str:
    """An error of foreign code in one line."""
    if is_out_of_memory(error):
        return f"{type(error).__name__}: it takes more memory than a check allows"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module with a saved state, without unpickling code; raises `UserError`."""
    state = _read_state(path)
    try:
        found = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        told_lines = lines[0] if lines else str(error)
        raise UserError(f"{path} does not fit the network: {told_lines[:300]}") from None
    parts = [
        f"{kind} {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''} ({len(keys)})"
        for kind, keys in (("missing", found.missing_keys), ("unexpected", found.unexpected_keys))
        if keys
    ]
    if parts:
        raise UserError(f"{path} does not fit the network: {'; '.join(parts)}")


def _read_state(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of weights, by name."""
    if not path.is_file():
        raise UserError(f"--weights {path}: no such file")
    try:
        state = _read_file(path)
    except pickle.UnpicklingError:
        raise UserError(
            f"--weights {path}: holds more than tensors, or is damaged; loading it could run code, "
            "so it is refused: save model.state_dict(), best as safetensors"
        ) from None
    except Exception as error:  # noqa: BLE001 - readers of damaged files raise anything
        raise UserError(
            f"--weights {path}: damaged or no file of weights ({told(error)})"
        ) from None
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(
        isinstance(each, Tensor) for each in state.values()
    ):
        raise UserError(f"--weights {path}: must hold a state_dict, names and tensors")
    return dict(state)


def _read_file(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old files
        return torch.load(path, map_location="cpu", weights_only=True)
