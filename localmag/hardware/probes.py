"""What this machine says of itself, as it says it. Nothing here understands what it hears: `reading` does.

Tools may be missing, broken, or hang for ever (nvidia-smi on a wedged driver does). Each gets so much time,
and may say so much, and no more.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import localmag
from localmag.hardware import cores, limits

SECONDS = 10.0  # nvidia-smi takes up to 5 on a machine whose driver has to wake up first
_MOST = 2**20  # bytes that anything could sensibly say
_T = TypeVar("_T")

NVIDIA_QUERY = ("--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader,nounits")
SYSCTL_NAMES = ("machdep.cpu.brand_string", "iogpu.wired_limit_mb", "sysctl.proc_translated")


@dataclass(frozen=True, slots=True)
class Output:
    """What a command wrote on stdout, and why it is not to be trusted, if it is not."""

    text: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Everything that was heard; None where there is nobody to ask. Memory and disk are bytes."""

    system: str
    """`platform.system()`: Linux, Darwin, Windows."""
    machine: str
    """`platform.machine()`: x86_64, AMD64, arm64, aarch64."""
    cpu: str = ""
    cores: int = 1
    threads: int = 1
    memory_total: int = 0
    memory_free: int = 0
    limit: limits.Limit | None = None
    """Of this process's control group, where it has one."""
    disk_free: int = 0
    ggml: Output
    """Of engines/devices.py: JSON."""
    nvidia_smi: Output | None = None
    """Of NVIDIA_QUERY."""
    vulkaninfo: Output | None = None
    """Of --summary."""
    sysctl: Output | None = None
    """Of SYSCTL_NAMES, on a Mac."""
    mlx: bool = False


def ask(ggml: Callable[[], Output], weights: Path) -> Probes:
    """Ask this machine, all at once; it takes as long as the slowest answer.

    `ggml` asks llama.cpp for its devices. `weights` is the folder that weights go to, there or not yet.
    """
    devices = _Later(ggml)
    nvidia = _Later(lambda: tool("nvidia-smi", *NVIDIA_QUERY))
    vulkan = _Later(lambda: tool("vulkaninfo", "--summary"))
    sysctl = _Later(lambda: tool("sysctl", *SYSCTL_NAMES) if sys.platform == "darwin" else None)
    total, free = memory()
    return Probes(
        system=platform.system(),
        machine=platform.machine(),
        cpu=cpu(),
        cores=cores.physical_cores(),
        threads=os.cpu_count() or 1,
        memory_total=total,
        memory_free=free,
        limit=limits.memory_limit(),
        disk_free=disk_free(weights),
        ggml=devices.result(),
        nvidia_smi=nvidia.result(),
        vulkaninfo=vulkan.result(),
        sysctl=sysctl.result(),
        mlx=all(find_spec(name) for name in ("mlx", "mlx_lm")),
    )


class _Later(threading.Thread, Generic[_T]):
    """A question under way. Not of an executor, whose threads a program waits for when Ctrl+C ends it."""

    def __init__(self, ask: Callable[[], _T]) -> None:
        super().__init__(name="probe", daemon=True)
        self._ask = ask
        self._answer: list[_T] = []
        self.start()

    def run(self) -> None:
        self._answer.append(self._ask())

    def result(self) -> _T:
        self.join()
        return self._answer[0]


def memory() -> tuple[int, int]:
    """The machine's memory in bytes: all of it, and what can be had without swapping."""
    import psutil

    said = psutil.virtual_memory()
    return said.total, said.available


def disk_free(folder: Path) -> int:
    """Bytes free on the disk that holds `folder`, or would if it were made; 0 if nobody can tell."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return 0


def cpu() -> str:
    """The processor's name, empty where the system has none for it (on a Mac, sysctl knows)."""
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(
                winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
            ) as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
        except OSError:
            return platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")


# ── Asking a program ──────────────────────────────────────────────────────────────────────────────


def tool(name: str, *args: str) -> Output | None:
    """What a tool of the system says; None if it is not here."""
    path = _find(name)
    return run([path, *args], SECONDS) if path else None


def _find(name: str) -> str | None:
    """Where a tool is: first where the system keeps it, so that a stray file of its name is not started."""
    root = os.environ.get("SYSTEMROOT", r"C:\Windows")
    homes = {
        "win32": (rf"{root}\System32\{name}.exe",),
        "linux": (f"/usr/bin/{name}", f"/usr/lib/wsl/lib/{name}"),
        "darwin": (f"/usr/sbin/{name}",),
    }
    return next(filter(None, map(shutil.which, (*homes.get(sys.platform, ()), name))), None)


def python(code: str, seconds: float) -> Output:
    """What `code` says, in a new process of this Python that finds this very localmag, and no stray module in
    the working directory.
    """
    find = "import sys; sys.path.insert(0, sys.argv.pop()); "
    home = str(Path(localmag.__file__).parent.parent)
    return run([sys.executable, "-P", "-X", "utf8", "-c", find + code, home], seconds)


def run(command: Sequence[str], seconds: float) -> Output:
    """Run it, for at most `seconds`. Never raises and never waits longer, whatever the program does."""
    end = time.monotonic() + seconds
    apart: dict[str, Any] = {}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NO_WINDOW}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **apart,
        )
    except OSError as exc:
        return Output(problem=f"it does not start: {exc.strerror or exc}")
    assert process.stdout and process.stderr
    heard = [_Listener(process.stdout), _Listener(process.stderr)]
    for listener in heard:
        listener.join(max(0.0, end - time.monotonic()))
    try:
        status = process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # a process inside a wedged driver cannot be ended
            process.wait(1)
        return Output(problem=f"it did not end within {seconds:.0f} s")
    said, complained = (listener.text for listener in heard)
    return Output(said, _reason(said, complained, status) if status else "")


class _Listener(threading.Thread):
    """Reads a pipe to its end or to `_MOST` bytes, apart from who waits: a grandchild may hold it open."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(name="probe", daemon=True)
        self.text = ""
        self._pipe = pipe
        self.start()

    def run(self) -> None:
        with self._pipe:
            self.text = self._pipe.read(_MOST).decode("utf-8", "replace")


def _reason(said: str, complained: str, status: int) -> str:
    """Why it failed, in its own last words: those on stderr, else those on stdout."""
    lines = [line for text in (said, complained) for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else f"exit code {status}"
