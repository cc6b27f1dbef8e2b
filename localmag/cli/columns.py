"""Rows of text as columns for people; scripts have `--json`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Container, Iterable, Iterator, Sequence

_GAP = "  "


def columns(rows: Iterable[Sequence[str]], *, right: Container[int] = (), cut: bool = False) -> Iterator[str]:
    """Each row as a line, its cells as wide as their column.

    `right` are the columns whose cells stand at their right edge. The last cell of a row is never padded,
    and counts for no width, so a row may end early with a text that has the rest of the line. `cut`: on a
    terminal, a line ends where that does.
    """
    cells = list(rows)
    wide = [
        max((len(row[place]) for row in cells if place < len(row) - 1), default=0)
        for place in range(max(map(len, cells), default=0))
    ]
    for row in cells:
        padded = (
            cell.rjust(wide[place]) if place in right else cell.ljust(wide[place])
            for place, cell in enumerate(row[:-1])
        )
        line = _GAP.join((*padded, row[-1])).rstrip()
        yield _cut(line) if cut and sys.stdout.isatty() else line


def headed(names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[Sequence[str]]:
    """The rows, on a terminal under their columns' names."""
    return [tuple(name.upper() for name in names), *rows] if sys.stdout.isatty() else [*rows]


def _cut(line: str) -> str:
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width else line[: width - 1] + "…"
