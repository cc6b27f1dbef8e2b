"""Holds the README's `--help` blocks to what the program prints; `--write` brings them up to date.

A block that opens with ```` ```text localmag ask --help ```` shows the output of that command.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(r"^```text (localmag [^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WIDTH = 100


def output(command: str) -> str:
    """What `command` prints on a plain terminal of WIDTH columns.

    Raises CalledProcessError, its output shown, if the command fails.
    """
    plain = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=README.parent,
        env={**os.environ, **plain},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines()) + "\n"


def renewed(text: str) -> str:
    """`text` with every marked block as the program prints it now."""
    return BLOCK.sub(lambda block: f"```text {block[1]}\n{output(block[1])}```", text)


def main(argv: list[str]) -> int:
    before = README.read_text("utf-8")
    if not BLOCK.search(before):
        print("README.md shows no --help block; has its form changed?", file=sys.stderr)
        return 1
    after = renewed(before)
    if before == after:
        return 0
    if "--write" in argv:
        README.write_text(after, "utf-8", newline="\n")
        return 0
    sys.stderr.writelines(
        difflib.unified_diff(before.splitlines(True), after.splitlines(True), "README.md", "what it prints")
    )
    print("README.md is behind the program: python -m tools.check_readme --write", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
