"""The status line: what is going on, which model, how full the context is, how fast it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget


@dataclass(frozen=True, slots=True)
class Figures:
    """What the line says. `mood` names the colour of `state`: a component class."""

    state: str = "starting"
    mood: str = "busy"
    model: str = ""
    backend: str = ""
    context: str = ""
    first: str = ""
    speed: str = ""
    hint: str = ""


class StatusLine(Widget):
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "status--busy",
        "status--idle",
        "status--failed",
        "status--model",
        "status--quiet",
    }

    def __init__(self) -> None:
        super().__init__()
        self.figures = Figures()

    def draw(self, figures: Figures) -> None:
        if figures != self.figures:
            self.figures = figures
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        if y:
            return Strip.blank(width, base)
        left, right = fitted(self.figures, width)
        style = {
            "state": self.get_component_rich_style(f"status--{self.figures.mood}"),
            "model": self.get_component_rich_style("status--model"),
        }
        quiet = self.get_component_rich_style("status--quiet")
        segments = [Segment(text, style.get(name, quiet)) for name, text in left]
        tail = [Segment(text, style.get(name, quiet)) for name, text in right]
        gap = width - sum(segment.cell_length for segment in (*segments, *tail))
        segments.append(Segment(" " * max(0, gap), base))
        return Strip(segments + tail).crop_extend(0, width, base).apply_style(base)


_ALL = ("state", "model", "backend", "context", "first", "speed", "hint")
_DROP_FIRST = ("first", "backend", "hint", "model", "speed", "context")

Pieces = list[tuple[str, str]]


def fitted(figures: Figures, width: int) -> tuple[Pieces, Pieces]:
    """The pieces that fit into `width` cells, left and right, dropping the least important first."""
    shown = {name: getattr(figures, name) for name in _ALL}
    for name in ("", *_DROP_FIRST):
        shown[name] = ""
        left = _spaced([(name, shown[name]) for name in ("state", "model", "backend")], "   ")
        right = _spaced([(name, shown[name]) for name in ("context", "first", "speed", "hint")], "   ")
        if sum(cell_len(text) for _, text in (*left, *right)) + 2 <= width:
            break
    return left, right


def _spaced(pieces: Pieces, gap: str) -> Pieces:
    out: Pieces = []
    for name, text in pieces:
        if text:
            if out:
                out.append(("", gap))
            out.append((name, text))
    return out
