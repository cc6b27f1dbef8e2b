"""The one command that builds llama.cpp anew for this installation, as `tools/bootstrap` would."""

from __future__ import annotations

import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGE = "llama-cpp-python"
_ROOT = Path(__file__).resolve().parents[2]
_CMAKE = {"cuda": "-DGGML_CUDA=on", "rocm": "-DGGML_HIP=on", "vulkan": "-DGGML_VULKAN=on"}
_SYCL = "-DGGML_SYCL=on;-DCMAKE_C_COMPILER=icx;-DCMAKE_CXX_COMPILER=icpx"


def rebuild(kind: str, root: Path = _ROOT, system: str = sys.platform) -> str:
    """A shell command. `kind` is a Device's, or "cpu" to replace a build that does not load.

    In a source checkout (`root`) it is `make install`, which looks at the hardware, builds for it and says
    what is missing; elsewhere it is pip, with the option that llama-cpp-python's README gives for `kind`.
    """
    if kind != "cpu" and (root / "tools" / "bootstrap").is_dir():
        if system == "win32":
            return f"cd {_joined(system, str(root))} && python -m tools.bootstrap install"
        return f"make -C {_joined(system, str(root))} install"
    options = {**_CMAKE, "sycl": _SYCL}.get(kind)  # Metal is on by itself
    return _joined(
        system,
        *(sys.executable, "-m", "pip", "install", "--force-reinstall", "--no-deps", "--no-cache-dir"),
        *(("--no-binary", PACKAGE, "-C", f"cmake.args={options}") if options else ()),
        _pinned(),
    )


def _pinned() -> str:
    """The version that is installed, which localmag is known to work with."""
    try:
        return f"{PACKAGE}=={metadata.version(PACKAGE)}"
    except metadata.PackageNotFoundError:
        return PACKAGE


def _joined(system: str, *words: str) -> str:
    return subprocess.list2cmdline(words) if system == "win32" else shlex.join(words)
