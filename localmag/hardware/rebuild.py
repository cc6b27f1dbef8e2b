"""The one command that builds llama.cpp anew for this installation, or brings what is missing of what runs
models, as `tools/bootstrap` would.
"""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

from localmag import shell

PACKAGE = "llama-cpp-python"
_ROOT = Path(__file__).resolve().parents[2]
_CMAKE = {"cuda": "-DGGML_CUDA=on", "rocm": "-DGGML_HIP=on", "vulkan": "-DGGML_VULKAN=on"}
_SYCL = "-DGGML_SYCL=on;-DCMAKE_C_COMPILER=icx;-DCMAKE_CXX_COMPILER=icpx"


def rebuild(kind: str, root: Path = _ROOT, system: str = sys.platform) -> str:
    """A shell command. `kind` is a Device's, or "cpu" to replace a build that does not load.

    In a source checkout (`root`) it is `make install`, which looks at the hardware, builds for it and says
    what is missing; elsewhere it is pip, with the option that llama-cpp-python's README gives for `kind`.
    """
    if kind != "cpu" and _is_checkout(root):
        return _make_install(root, system, "metal" if kind == "metal" else "")
    options = {**_CMAKE, "sycl": _SYCL}.get(kind)  # Metal is on by itself
    return shell.joined(
        *(sys.executable, "-m", "pip", "install", "--force-reinstall", "--no-deps", "--no-cache-dir"),
        *(("--no-binary", PACKAGE, "-C", f"cmake.args={options}") if options else ()),
        _pinned(),
        system=system,
    )


def llama_cpp(root: Path = _ROOT, system: str = sys.platform, arch: str | None = None) -> str:
    """The shell command that brings llama.cpp where it is missing, which on Apple silicon it is by itself."""
    apple = system == "darwin" and (arch or platform.machine()) == "arm64"
    if _is_checkout(root):
        return _make_install(root, system, "metal" if apple else "")
    return pip_install(PACKAGE, system=system)


def mlx(
    root: Path = _ROOT,
    system: str = sys.platform,
    arch: str | None = None,
    libc: tuple[str, str] | None = None,
) -> str:
    """The same for MLX; "" where there are no wheels of it: they are for Apple silicon and, for tests, for
    Linux with glibc 2.35 or newer. `libc` is its name and version.
    """
    machine = system, arch or platform.machine()
    if machine == ("darwin", "arm64"):
        package = "mlx-lm"
    elif machine in (("linux", "x86_64"), ("linux", "aarch64")) and _is_new(*(libc or platform.libc_ver())):
        package = "mlx-lm[cpu]"
    else:
        return ""
    return _make_install(root, system) if _is_checkout(root) else pip_install(package, system=system)


def _is_new(libc: str, version: str) -> bool:
    """As tools/bootstrap/install.py has it, which cannot be imported from here."""
    return libc == "glibc" and [int(part) for part in version.split(".")[:2]] >= [2, 35]


def pip_install(name: str, *options: str, system: str = sys.platform) -> str:
    """A shell command for this very Python, of a version that localmag goes with."""
    return shell.joined(sys.executable, "-m", "pip", "install", *options, requirement(name), system=system)


def requirement(name: str) -> str:
    """What localmag asks of a package, without the machines that it asks it on: `textual<9,>=8.2.6`."""
    from importlib import metadata  # takes as long as all of the command line's own modules

    try:
        asked = metadata.requires("localmag") or []
    except metadata.PackageNotFoundError:  # run from its source, not installed
        asked = []
    this = re.compile(rf"{re.escape(name)}(?![\w.\[-])")
    return next((line.partition(";")[0].strip() for line in asked if this.match(line)), name)


def _is_checkout(root: Path) -> bool:
    return (root / "tools" / "bootstrap").is_dir()


def _make_install(root: Path, system: str, backend: str = "") -> str:
    """`backend` is what LOCALMAG_BACKEND must ask for, which is never needed on Windows.

    A Mac has no make before it has a compiler. On Windows `python` may be what opens a shop, and `cd` with
    `&&` neither changes drives nor is known to every shell.
    """
    if system == "linux":
        words = ["make", "-C", str(root), "install"]
    else:
        words = ["py" if system == "win32" else "python3", str(root / "tools" / "bootstrap"), "install"]
    asked = f"LOCALMAG_BACKEND={backend} " if backend else ""
    return asked + shell.joined(*words, system=system)


def _pinned() -> str:
    """The version that is installed, which localmag is known to work with."""
    from importlib import metadata

    try:
        return f"{PACKAGE}=={metadata.version(PACKAGE)}"
    except metadata.PackageNotFoundError:
        return PACKAGE
