"""Text wrapped to a width as it grows: an append re-wraps the last row and nothing before it.

Rows keep every character of their text (the spaces at a break hang past the edge), so the rows of a
line joined are the line. Breaks fall after spaces and around wide characters; a word wider than a row is
cut between graphemes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len, split_graphemes

TAB = "    "
FIRST_WIDE = "\u1100"
"""Below it no character is two cells wide (Unicode's East Asian Width)."""
_WORD = re.compile(r"\s+|\S+\s*")


def _units(line: str) -> Iterator[str]:
    """What may not be broken: a word, or in words with wide characters each of those by itself."""
    for word in _WORD.findall(line):
        if word.isascii() or max(word) < FIRST_WIDE:
            yield word
            continue
        narrow = ""
        for start, end, cells in split_graphemes(word)[0]:
            piece = word[start:end]
            if cells == 2:
                if narrow:
                    yield narrow
                    narrow = ""
                yield piece
            else:
                narrow += piece
        if narrow:
            yield narrow


def _cut(unit: str, width: int) -> tuple[str, str]:
    """Split a unit so that the head fills `width` cells at most, and is never empty."""
    if unit.isascii():
        return unit[:width], unit[width:]
    at = used = 0
    for start, end, cells in split_graphemes(unit)[0]:
        if used + cells > width and start:
            break
        used += cells
        at = end
    return unit[:at], unit[at:]


def wrap(line: str, width: int) -> list[str]:
    """Rows of one line without line ends; always at least one row."""
    width = max(1, width)
    if len(line) <= width and line.isascii():
        return [line]
    rows: list[str] = []
    row, used = "", 0
    for unit in _units(line):
        ink = cell_len(unit.rstrip())
        if used + ink > width and row:
            rows.append(row)
            row, used = "", 0
        while ink > width:
            head, rest = _cut(unit, width)
            if not rest:
                break
            rows.append(head)
            unit, ink = rest, cell_len(rest.rstrip())
        row += unit
        used += cell_len(unit)
    rows.append(row)
    return rows


class Wrapped:
    """A growing text and its rows. `wraps` counts the rows ever wrapped: what the flat cost is told by."""

    def __init__(self, width: int) -> None:
        self._width = max(1, width)
        self._lines: list[str] = []
        self._open: list[str] = []
        self.rows: list[str] = []
        self.wraps = 0

    @property
    def width(self) -> int:
        return self._width

    def __len__(self) -> int:
        return len(self.rows)

    def append(self, text: str) -> int:
        """Add text; returns the index of the first row that changed."""
        if not text:
            return len(self.rows)
        first, *more = text.replace("\t", TAB).split("\n")
        changed = max(0, len(self.rows) - 1)
        last = self.rows.pop() if self.rows else ""
        self._open.append(first)
        self._extend(last + first)
        for line in more:
            self._lines.append("".join(self._open))
            self._open = [line]
            self._extend(line)
        return changed

    def rewrap(self, width: int) -> None:
        """Wrap everything again, for another width."""
        width = max(1, width)
        if width == self._width or not self.rows:
            self._width = width
            return
        self._width = width
        self.rows = []
        for line in self._lines:
            self._extend(line)
        self._extend("".join(self._open))

    def _extend(self, line: str) -> None:
        rows = wrap(line, self._width)
        self.wraps += len(rows)
        self.rows.extend(rows)
