"""Runs the benches named on the command line, or all, and prints one table. Numbers are never asserted."""

from __future__ import annotations

import sys

from tools.bench import cancel, decode, paint, pull, startup

BENCHES = {
    "startup": startup.rows,
    "paint": paint.rows,
    "decode": decode.rows,
    "cancel": cancel.rows,
    "pull": pull.rows,
}


def main() -> None:
    names = sys.argv[1:] or list(BENCHES)
    if unknown := set(names) - BENCHES.keys():
        sys.exit(f"There is no bench {min(unknown)!r}. Name some of: {', '.join(BENCHES)}.")
    print("| what | ours | beside it | ratio | wanted |\n|---|---|---|---|---|")
    for name in names:
        for row in BENCHES[name]():
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
