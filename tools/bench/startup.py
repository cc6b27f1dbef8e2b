"""Starting: `localmag --version` beside `python -c pass`, and a command through make beside itself.

Wall seconds, the median of runs taken in turn.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROUNDS = 15


def rows() -> Iterator[tuple[str, ...]]:
    program = str(Path(sys.executable).with_name("localmag"))
    commands = {
        "version": [program, "--version"],
        "help": [program, "--help"],
        "pass": [sys.executable, "-c", "pass"],
        "ask": [program, "ask", "--help"],
    }
    if shutil.which("make"):
        commands["make"] = ["make", "-C", str(ROOT), "ask", "ARGS=--help"]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    took = {name: statistics.median(s) for name, s in seconds.items()}
    yield row(
        "localmag --version / python -c pass",
        took["version"],
        took["pass"],
        "≤ 12.5, which is 0.15 s / 0.012 s",
    )
    yield row("localmag --help / python -c pass", took["help"], took["pass"], "")
    if "make" in took:
        yield row("make ask ARGS=--help / localmag ask --help", took["make"], took["ask"], "≤ 2 s more")


def row(what: str, ours: float, theirs: float, wanted: str) -> tuple[str, ...]:
    return (f"start-up: {what}", f"{ours:.3f} s", f"{theirs:.3f} s", f"{ours / theirs:.1f}", wanted)
