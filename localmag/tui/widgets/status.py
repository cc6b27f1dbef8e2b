"""The status line: what is going on, which model, how full the context is, how fast it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget


@dataclass(frozen=True, slots=True)
class Figures:
    """What the line says. `mood` names the colour of `state`: a component class. `tight` tells that little is
    left of the context.
    """

    state: str = "starting"
    mood: str = "busy"
    model: str = ""
    build: str = ""
    backend: str = ""
    context: str = ""
    share: str = ""
    tight: bool = False
    first: str = ""
    speed: str = ""
    aside: str = ""
    menu: str = ""
    keys: str = ""
    stop: str = ""


class StatusLine(Widget):
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "status--busy",
        "status--idle",
        "status--failed",
        "status--model",
        "status--tight",
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
        quiet = self.get_component_rich_style("status--quiet")
        model = self.get_component_rich_style("status--model")
        context = self.get_component_rich_style("status--tight") if self.figures.tight else quiet
        style = {
            "state": self.get_component_rich_style(f"status--{self.figures.mood}"),
            "model": model,
            "build": model,
            "context": context,
            "share": context,
        }
        segments = [Segment(text, style.get(name, quiet)) for name, text in left]
        tail = [Segment(text, style.get(name, quiet)) for name, text in right]
        gap = width - sum(segment.cell_length for segment in (*segments, *tail))
        segments.append(Segment(" " * max(0, gap), base))
        return Strip(segments + tail).crop_extend(0, width, base).apply_style(base)


_LEFT = (("state",), ("model", "build"), ("backend",))
_RIGHT = (("context", "share"), ("first",), ("speed",), ("aside",), ("menu",), ("keys",), ("stop",))
_DROP_FIRST = ("first", "backend", "menu", "speed", "share", "build", "keys", "aside", "model", "context")
_DROP_FIRST_TIGHT = (*(name for name in _DROP_FIRST if name not in ("share", "context")), "share", "context")
_GAP = "   "

Pieces = list[tuple[str, str]]


def fitted(figures: Figures, width: int) -> tuple[Pieces, Pieces]:
    """The pieces that fit into `width` cells, left and right, dropping the least important first.

    How to stop a reply is never dropped, and that little is left of the context goes almost last.
    """
    shown = {name: getattr(figures, name) for group in (*_LEFT, *_RIGHT) for name in group}
    dropped = []
    for name in _DROP_FIRST_TIGHT if figures.tight else _DROP_FIRST:
        if _takes(shown) <= width:
            break
        dropped.append(name)
        shown[name] = ""
    for name in reversed(dropped):  # what is short may fit although what is longer and matters more does not
        with_it = shown | {name: getattr(figures, name)}
        if _takes(with_it) <= width and (name != "share" or shown["context"]):
            shown = with_it
    over = _takes(shown) - width
    if over > 0:
        shown["state"] = chop_cells(shown["state"], max(1, cell_len(shown["state"]) - over))[0]
    return _spaced(shown, _LEFT), _spaced(shown, _RIGHT)


def _takes(shown: dict[str, str]) -> int:
    """Cells, with what keeps left and right apart."""
    return sum(cell_len(text) for _, text in (*_spaced(shown, _LEFT), *_spaced(shown, _RIGHT))) + 2


def _spaced(shown: dict[str, str], groups: tuple[tuple[str, ...], ...]) -> Pieces:
    out: Pieces = []
    for group in groups:
        gap = _GAP
        for name in group:
            if shown[name]:
                if out:
                    out.append(("", gap))
                out.append((name, shown[name]))
                gap = " "
    return out
