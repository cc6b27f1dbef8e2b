"""What the keys of a screen do."""

from __future__ import annotations

import textwrap
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from localmag.tui.screens.once import Once

Keys = tuple[tuple[str, str], ...]
"""Keys, and what they do, a line each."""

CHAT: Keys = (
    ("Enter", "send; while a reply comes in, send next"),
    ("Ctrl+J, Shift+Enter", "new line"),
    ("Up, Down", "what you sent before"),
    ("Esc", "stop the reply and keep what has arrived"),
    ("Ctrl+T", "show or hide the reasoning"),
    ("Alt+Up, Alt+Down", "an earlier or later reply's reasoning"),
    ("PgUp, PgDn", "scroll the answers"),
    ("Shift+PgUp, Shift+PgDn", "scroll the reasoning (Alt too)"),
    ("F2, F3", "copy the answer, the reasoning"),
    ("Ctrl+N, Ctrl+O", "a new conversation, an earlier one"),
    ("Ctrl+P", "all commands, themes"),
    ("Ctrl+C", "copy; stop; clear the box; twice: quit"),
    ("Ctrl+Q", "quit; a partial reply is kept"),
)


_FRAME = 10  # cells: border, padding and scrollbar
_LEAST = 24  # cells in which a sentence can be read
_INDENT = "  "


def folded(keys: Keys, width: int) -> str:
    """What keys do stands beside them, folded where the screen is narrow; where it is more so, below them."""
    left = max(len(names) for names, _ in keys) + 3
    if width - left < _LEAST:
        return "\n".join(
            f"{_wrapped(names, width)}\n{_wrapped(what, width, _INDENT)}" for names, what in keys
        )
    lines = []
    for names, what in keys:
        first, *more = textwrap.wrap(what, width - left)
        lines += [f"{names:<{left}}{first}", *(" " * left + line for line in more)]
    return "\n".join(lines)


def _wrapped(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(text, max(width, 8), initial_indent=indent, subsequent_indent=indent)


class HelpScreen(Once, ModalScreen[None]):
    CSS_PATH = "help.tcss"
    SCROLLS: ClassVar[set[str]] = {"up", "down", "pageup", "pagedown", "home", "end"}

    def __init__(self, keys: Keys = CHAT) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Static("Keys", id="help-title")
            yield Static(self._table, id="help-keys", markup=False)
            yield Static(self._foot, id="help-foot", markup=False)

    @property
    def _width(self) -> int:
        return int(self.app.size.width * 0.96) - _FRAME

    @property
    def _table(self) -> str:
        return folded(self._keys, self._width)

    @property
    def _foot(self) -> str:
        told = "Click an answer to see its reasoning. " if self._keys is CHAT else ""
        return _wrapped(f"{told}Any key closes this.", self._width)

    def on_resize(self) -> None:
        self.query_one("#help-keys", Static).update(self._table)
        self.query_one("#help-foot", Static).update(self._foot)

    def on_key(self, event: events.Key) -> None:
        if event.key not in self.SCROLLS:
            event.stop()
            self.dismiss()

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss()
