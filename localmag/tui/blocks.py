"""Growing Markdown cut into blocks that can be drawn once and kept.

A block is closed when what follows cannot change how it is drawn. Lists are cut between their top-level
items, fences and displayed maths are never cut, and the blocks' sources joined are the text. So the work
per token is bounded by the open block, whatever the length of the reply.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"\s*(`{3,}|~{3,})(.*)$")
_ITEM = re.compile(r"(?P<bullet>[-*+])(?:\s|$)|(?P<number>\d{1,9})[.)](?:\s|$)")
_HEADING = re.compile(r"#{1,6}(\s|$)")
_MATHS = {"$$": "$$", "\\[": "\\]"}


@dataclass(frozen=True, slots=True)
class Block:
    """`source` as written. `number` is what an ordered item counts to, `joined` that no gap precedes it."""

    source: str
    number: int | None = None
    joined: bool = False


class Blocks:
    """Feed it text; it returns the blocks that closed. `tail` is the block still open."""

    def __init__(self) -> None:
        self._line: list[str] = []
        self._lines: list[str] = []
        self._fence = ""
        self._maths = ""
        self._list = False
        self._gap = False
        self._number: int | None = None
        self._joined = False

    def feed(self, text: str) -> list[Block]:
        closed: list[Block] = []
        first, *more = text.split("\n")
        self._line.append(first)
        for rest in more:
            closed += self._feed_line("".join(self._line) + "\n")
            self._line = [rest]
        return closed

    def finish(self) -> list[Block]:
        """Close whatever is open; the text has ended."""
        closed = self._feed_line("".join(self._line)) if any(self._line) else []
        self._line = []
        closed += self._close()
        self._list = False
        return closed

    @property
    def tail(self) -> Block:
        """The open block, its last line perhaps incomplete: it may still be drawn as something else."""
        return Block("".join((*self._lines, *self._line)), self._number, self._joined)

    @property
    def in_fence(self) -> bool:
        return bool(self._fence)

    # ── one complete line at a time ───────────────────────────────────────────────────────────────

    def _feed_line(self, line: str) -> list[Block]:
        if self._fence:
            self._lines.append(line)
            fence = _FENCE.match(line.rstrip("\n"))
            if fence and fence[1].startswith(self._fence) and not fence[2].strip():
                self._fence = ""
                return [] if self._list else self._close()
            return []
        if self._maths:
            self._lines.append(line)
            if self._maths in line:
                self._maths = ""
                return [] if self._list else self._close()
            return []
        if not line.strip():
            self._lines.append(line)
            self._gap = True
            return []
        closed = self._before(line)
        self._gap = False
        self._lines.append(line)
        return closed + self._after(line)

    def _before(self, line: str) -> list[Block]:
        """Close the open block if `line` starts another one."""
        item = _ITEM.match(line)
        has_ink = any(part.strip() for part in self._lines)
        if self._list:
            if item:
                same = bool(item["bullet"]) == (self._number is None)
                number = self._number + 1 if self._number is not None else None
                closed = self._close()
                self._start_item(item, number if same else None, joined=same)
                return closed
            if line[0] in " \t" or not (self._gap or _HEADING.match(line) or _FENCE.match(line)):
                return []
            return self._close_list()
        if item and (not has_ink or self._gap or item["bullet"] or item["number"] == "1"):
            closed = self._close() if has_ink else []
            self._start_item(item, None, joined=False)
            return closed
        if has_ink and (self._gap or _HEADING.match(line) or _FENCE.match(line) or _opens_maths(line)):
            return self._close()
        return []

    def _after(self, line: str) -> list[Block]:
        fence = _FENCE.match(line.rstrip("\n"))
        if fence and not (fence[1][0] == "`" and "`" in fence[2]):
            self._fence = fence[1]
            return []
        if _HEADING.match(line) and not self._list:
            return self._close()
        if opened := _opens_maths(line):
            if _MATHS[opened] not in line.strip()[2:]:
                self._maths = _MATHS[opened]
            elif not self._list:
                return self._close()
        return []

    def _start_item(self, item: re.Match[str], number: int | None, *, joined: bool) -> None:
        self._list = True
        self._joined = joined
        self._number = None if item["bullet"] else number if number is not None else int(item["number"])

    def _close_list(self) -> list[Block]:
        closed = self._close()
        self._list = False
        self._number = None
        return closed

    def _close(self) -> list[Block]:
        if not self._lines:
            return []
        block = Block("".join(self._lines), self._number, self._joined)
        self._lines = []
        self._joined = False
        if not self._list:
            self._number = None
        return [block]


def _opens_maths(line: str) -> str:
    start = line.lstrip()[:2]
    return start if start in _MATHS else ""
