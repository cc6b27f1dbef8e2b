"""What the terminal says it can show."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

Colours = Literal["none", "16", "256", "16 million"]
_NARROW, _LOW = 60, 16  # columns and rows under which the screen works, but shows little at once


@dataclass(frozen=True, slots=True)
class Terminal:
    """`size` is columns and rows, None where there is none; `unicode`, whether text leaves as UTF-8."""

    interactive: bool
    """Whether stdin, stdout and stderr all are one: what the screen needs."""
    size: tuple[int, int] | None
    kind: str
    """TERM; empty on Windows."""
    colours: Colours
    unicode: bool

    @classmethod
    def of(cls, streams: Sequence[TextIO | None], environment: Mapping[str, str]) -> Terminal:
        out = streams[1]
        interactive = all(stream is not None and stream.isatty() for stream in streams)
        return cls(
            interactive=interactive,
            size=_size(out),
            kind=environment.get("TERM", ""),
            colours=_colours(environment),
            unicode=(getattr(out, "encoding", None) or "").lower().replace("-", "") == "utf8",
        )

    def remarks(self, system: str = sys.platform) -> Iterator[tuple[str, str]]:
        """What its owner may want to know, and what to do about it. Nothing here keeps chat from working."""
        if not self.interactive:
            yield "This is no terminal, so chat reads one message per line instead of drawing its screen.", ""
            return
        if self.size and (self.size[0] < _NARROW or self.size[1] < _LOW):
            columns, rows = self.size
            yield f"The terminal is small ({columns} × {rows}).", f"Make it {_NARROW} × {_LOW} or larger."
        if self.kind in ("dumb", "unknown") or (not self.kind and system != "win32"):
            yield (
                f"TERM is {self.kind or 'not set'}, which does not say what the terminal can do.",
                "Run `export TERM=xterm-256color`, or use another terminal.",
            )
        if not self.unicode:
            mend = "chcp 65001" if system == "win32" else "export LANG=C.UTF-8"
            yield "Text does not leave as UTF-8, so some letters will be lost.", f"Run `{mend}`."


def _size(stream: TextIO | None) -> tuple[int, int] | None:
    try:
        columns, rows = os.get_terminal_size(stream.fileno() if stream else 1)
    except (OSError, ValueError):  # a pipe, or closed
        return None
    return columns, rows


def _colours(environment: Mapping[str, str]) -> Colours:
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return "none"
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit") or "WT_SESSION" in environment:
        return "16 million"
    return "256" if "256" in environment.get("TERM", "") else "16"
