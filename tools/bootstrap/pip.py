"""Running pip: its output goes to the log, what it is doing to stderr, and a failure is explained."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tools.bootstrap.environment import SetupError, clock, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tools.bootstrap.environment import Environment

PLAIN = ("-v", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")  # -v: Ninja's [54/193]
NOT_FOR_COMPILERS = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")  # the job server of our own make
EVERY_S = 30.0
"""Seconds between two lines of progress where stderr is no terminal."""


def pip(environment: Environment, command: str, *args: str, **variables: str) -> None:
    """Run a pip command with the user's own configuration, and `variables` in its environment.

    Raises SetupError with what the log says of the failure and what to do about it.
    """
    line = [str(environment.python), "-m", "pip", command, *PLAIN, *args]
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_FOR_COMPILERS}
    environment.log.parent.mkdir(exist_ok=True)
    with environment.log.open("a", encoding="utf-8") as log:
        start = log.tell()
        print(f"\n$ {shlex.join(line)}", file=log, flush=True)
        child = subprocess.Popen(
            line,
            cwd=environment.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # PIP_USER: a configured `user = true` is meant for pip outside of environments
            env={**inherited, **variables, "PIP_USER": "0", "PYTHONUNBUFFERED": "1"},
        )
    try:
        watch(child, environment.log, start)
    except BaseException:
        child.terminate()
        child.wait()
        raise
    if child.returncode:
        with environment.log.open(encoding="utf-8", errors="replace") as log:
            log.seek(start)
            raise SetupError(failure(log.read().splitlines(), environment.log))


def watch(child: subprocess.Popen[bytes], path: Path, start: int) -> None:
    """Say what pip is doing until it ends: in place on a terminal, else a line every `EVERY_S`."""
    terminal = sys.stderr.isatty()
    began = time.monotonic()
    doing, told = "resolving the packages", 0.0
    with path.open(encoding="utf-8", errors="replace") as log:
        log.seek(start)
        while child.poll() is None:
            for line in log:
                doing = stage(line) or doing
            elapsed = time.monotonic() - began
            if terminal:
                width = shutil.get_terminal_size().columns
                sys.stderr.write(f"\r\x1b[2K{f'  {clock(elapsed)}  {doing}'[: width - 1]}")
                sys.stderr.flush()
            elif elapsed - told >= EVERY_S:
                say(f"  {clock(elapsed)}  {doing}")
                told = elapsed
            time.sleep(0.2)
    if terminal:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


def stage(line: str) -> str:
    """What a line of pip's log says is going on now; empty if nothing."""
    line = line.strip()
    compiling = re.match(r"\[(\d+)/(\d+)\] ", line)
    if compiling:
        return f"compiling llama.cpp: {compiling[1]} of {compiling[2]} steps"
    if line.startswith("Building wheel for llama-cpp-python"):
        return "compiling llama.cpp (once per machine; about 7 minutes on 2 cores)"
    fetching = re.match(r"Collecting ([\w.-]+)|Downloading (\S+)", line)
    if fetching:
        return f"fetching {fetching[1] or fetching[2].rpartition('/')[2]}"
    if line.startswith("Installing collected packages"):
        return "putting the packages in place"
    return ""


OLD_MACOS = "No matching distribution found for mlx"
HINTS = (
    (
        r"No CMAKE_\w+_COMPILER|CMAKE_\w+_COMPILER not set|could not be found|find compiler|Visual Studio",
        "A C++ compiler is missing. Install one (Debian and Ubuntu: sudo apt install build-essential; Fedora:"
        " sudo dnf install gcc-c++; macOS: xcode-select --install; Windows: the Visual Studio Build Tools"
        " with C++) and run this again.",
    ),
    (
        r"No space left|disk full",
        "The disk is full. Free about 2 GB and run this again.",
    ),
    (
        r"Killed|out of memory|[Cc]annot allocate",
        "The compiler ran out of memory. Close other programs, set CMAKE_BUILD_PARALLEL_LEVEL=1 and run this"
        " again.",
    ),
    (
        OLD_MACOS,
        "MLX takes macOS 14 or newer. Update macOS, then run this again.",
    ),
    (
        r"[Cc]onnect|name resolution|No matching distribution|[Tt]ime(d )?out|SSL|[Pp]roxy|Max retries",
        "The package index did not answer, or lacks a package. Check the network and what `pip config list`"
        " says, then run this again; what was fetched is kept.",
    ),
)


def failure(lines: Sequence[str], log: Path, system: str = sys.platform) -> str:
    """What pip's log says went wrong and, where the cause is a known one, what to do.

    The first errors name the cause and the last lines the consequence; thousands may lie between.
    """
    lines = [line.strip()[:160] for line in lines if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b|\bfatal\b|No space left", line, re.I)]
    shown = list(dict.fromkeys((*errors[:8], *lines[-4:])))
    hints = (hint for hint in HINTS if hint[0] != OLD_MACOS or system == "darwin")
    known = (hint for pattern, hint in hints if re.search(pattern, "\n".join(errors)))
    todo = next(known, "Once its cause is gone, run this again: it goes on from here.")
    return "\n    ".join(("installing failed:", *shown)) + f"\n{todo}\nThe full log is {log}"
