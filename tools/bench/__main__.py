"""Runs the benches named on the command line, or all, and prints one table. Numbers are never asserted."""

from __future__ import annotations

import os
import sys
from importlib import import_module

NAMES = ("startup", "paint", "decode", "cancel", "resume", "pull")
"""Each a file beside this one, whose `rows()` measures."""


def main() -> None:
    names = sys.argv[1:] or list(NAMES)
    if unknown := set(names) - set(NAMES):
        sys.exit(f"There is no bench {min(unknown)!r}. Name some of: {', '.join(NAMES)}.")
    if not sys.argv[1:]:
        print(
            "All of it takes several minutes: numbers want a machine that does little else.", file=sys.stderr
        )
    print("| what | ours | beside it | ratio | wanted |\n|---|---|---|---|---|", flush=True)
    for name in names:
        print(f"{name}, load {load()}", file=sys.stderr, flush=True)
        for row in import_module(f"tools.bench.{name}").rows():
            print("| " + " | ".join(row) + " |", flush=True)


def load() -> str:
    """How busy the machine was in the last minute: processes that wanted a core, of how many there are."""
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
