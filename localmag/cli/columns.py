"""Rows of text as columns for people; scripts have `--json`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Container, Iterable, Iterator, Sequence

_GAP = "  "


def columns(rows: Iterable[Sequence[str]], *, right: Container[int] = (), cut: bool = False) -> Iterator[str]:
    """Each row as a line, its texts as wide as their column. Widths are a terminal's: some letters take two.

    `right` are the columns whose texts stand at their right edge. The last text of a row is never padded,
    and counts for no width, so a row may end early with one that has the rest of the line. `cut`: on a
    terminal, a line ends where that does.
    """
    from rich.cells import cell_len  # 20 ms

    table = list(rows)
    wide = [
        max((cell_len(row[place]) for row in table if place < len(row) - 1), default=0)
        for place in range(max(map(len, table), default=0))
    ]
    for row in table:
        padded = []
        for place, text in enumerate(row[:-1]):
            room = " " * (wide[place] - cell_len(text))
            padded.append(room + text if place in right else text + room)
        line = _GAP.join((*padded, row[-1])).rstrip()
        yield _cut(line) if cut and sys.stdout.isatty() else line


def headed(names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[Sequence[str]]:
    """The rows, on a terminal under their columns' names."""
    return [tuple(name.upper() for name in names), *rows] if sys.stdout.isatty() else [*rows]


def _cut(line: str) -> str:
    from rich.cells import cell_len, set_cell_size

    width = shutil.get_terminal_size().columns
    return line if cell_len(line) <= width else set_cell_size(line, width - 1) + "…"
