"""Facts about where a study ran: versions, hardware, commit; written beside every result."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from search.verbs import VERBS

PACKAGES = ("mnist-arch", "torch", "torchvision", "optuna", "pandas", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware(device: str) -> dict[str, str | int | None]:
    """The machine: processor, cores, memory in GiB, and the accelerator where one is used."""
    facts: dict[str, str | int | None] = {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device == "cuda":
        import torch

        facts["accelerator"] = torch.cuda.get_device_name()
    return facts


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _memory_gib() -> int | None:
    """The machine's memory, or None where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (AttributeError, OSError, ValueError):
        return None


def commit() -> str:
    """The commit of this source tree, `-dirty` with uncommitted changes, or `unknown`.

    Changes below `results/` do not count: a study that stands there changes it by running. A
    repository that only encloses the program, an environment installed in it, is not ours.
    """
    try:
        _git("ls-files", "--error-unmatch", str(Path(__file__).resolve()))
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{head}-dirty" if changed else head


def _git(*arguments: str) -> str:
    """What git says about the tree that this file stands in."""
    here = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        ["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def command(verb: str) -> str:
    """The command line of this process; or that Python code called for the verb."""
    program = Path(sys.argv[0])
    module = f"search.{program.stem}" if program.parent.name == "search" else program.name
    if module.removeprefix("search.") not in VERBS or not module.startswith("search."):
        return f"search.{verb}, called from Python"
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def run_facts(verb: str, arguments: dict[str, Any], engine: str, device: str) -> dict[str, Any]:
    """What is written down of one run of a command: command, machine, versions, commit."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(verb),
        "arguments": arguments,
        "engine": engine,
        "device": device,
        "hardware": hardware(device),
        "versions": versions(),
        "commit": commit(),
    }
