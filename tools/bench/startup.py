"""`localmag --version` beside `python -c pass`: wall seconds, the median of runs taken in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROUNDS = 15


def rows() -> Iterator[tuple[str, ...]]:
    program = Path(sys.executable).with_name("localmag")
    commands = {
        "version": [str(program), "--version"],
        "help": [str(program), "--help"],
        "pass": [sys.executable, "-c", "pass"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    took = {name: statistics.median(s) for name, s in seconds.items()}
    for name, wanted in (("version", "≤ 0.15 s where pass takes 0.012 s"), ("help", "")):
        yield (
            f"start-up: localmag --{name} / python -c pass",
            f"{took[name]:.3f} s",
            f"{took['pass']:.3f} s",
            f"{took[name] / took['pass']:.1f}",
            wanted,
        )
