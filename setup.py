"""Builds the native library of `mnist_arch.lanes`, once for each instruction set.

It is optional: without a C++ compiler the package installs all the same, and trains with PyTorch.
"""

import copy
import os
import platform
import runpy
from pathlib import Path

from setuptools import Extension, setup  # type: ignore[import-untyped]
from setuptools.command.build_ext import build_ext  # type: ignore[import-untyped]

NATIVE = "mnist_arch/lanes/native"
COMMON = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
DIGEST = runpy.run_path("mnist_arch/lanes/sources.py")["digest"]()
COMMON += [f'-DLANES_SOURCES="{DIGEST}"']  # a stale library is known by it
COMMON += ["-fvisibility=hidden", "-pthread"]
COMMON += ["-g0"]  # Python's flags ask for debugging tables: ten times the size, 1.4 times the time
AVX512 = [f"-mavx512{part}" for part in ("f", "dq", "bw", "vl")]
INSTRUCTION_SETS: dict[str, list[str]] = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx512"] = [*AVX512, "-mfma", "-mprefer-vector-width=512"]


class BuildLibraries(build_ext):  # type: ignore[misc]
    """Compiles the one source with each set of flags, side by side; a failure is a line of log."""

    build_temp: str

    def finalize_options(self) -> None:
        """Compile as many at a time as there are processors, unless told otherwise."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extension(self, ext: Extension) -> None:
        """Build one library in a folder of its own, for their object files share a name."""
        own = copy.copy(self)
        own.build_temp = str(Path(self.build_temp) / ext.name)
        try:
            build_ext.build_extension(own, ext)
        except Exception as error:  # noqa: BLE001 - whatever a compiler fails with
            self.warn(f"{ext.name} was not built, PyTorch will be used instead: {error}")


setup(
    ext_modules=[
        Extension(
            f"mnist_arch.lanes._{name}",
            sources=[f"{NATIVE}/lanes.cpp"],
            depends=[str(path) for path in sorted(Path(NATIVE).glob("*.h"))],
            extra_compile_args=COMMON + flags,
            extra_link_args=["-pthread"],
            language="c++",
            optional=True,
            py_limited_api=True,  # it uses nothing of Python: one file serves every version
        )
        for name, flags in INSTRUCTION_SETS.items()
    ],
    cmdclass={"build_ext": BuildLibraries},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
