"""What the keys of a screen do."""

from __future__ import annotations

import textwrap
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

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
    ("Ctrl+P", "all commands, themes"),
    ("Ctrl+C", "copy the selection, or stop; twice: quit"),
    ("Ctrl+Q", "quit; a partial reply is kept"),
)


_FRAME = 10  # cells: border, padding and scrollbar


def folded(keys: Keys, width: int) -> str:
    """What keys do stands beside them, folded where the screen is narrow."""
    left = max(len(names) for names, _ in keys) + 3
    lines = []
    for names, what in keys:
        first, *more = textwrap.wrap(what, max(10, width - left))
        lines += [f"{names:<{left}}{first}", *(" " * left + line for line in more)]
    return "\n".join(lines)


class HelpScreen(ModalScreen[None]):
    CSS_PATH = "help.tcss"
    SCROLLS: ClassVar[set[str]] = {"up", "down", "pageup", "pagedown", "home", "end"}

    def __init__(self, keys: Keys = CHAT) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        foot = "Click an answer to see its reasoning. " if self._keys is CHAT else ""
        with VerticalScroll(id="help"):
            yield Static("Keys", id="help-title")
            yield Static(self._table, id="help-keys", markup=False)
            yield Static(f"{foot}Any key closes this.", id="help-foot")

    @property
    def _table(self) -> str:
        return folded(self._keys, int(self.app.size.width * 0.96) - _FRAME)

    def on_resize(self) -> None:
        self.query_one("#help-keys", Static).update(self._table)

    def on_key(self, event: events.Key) -> None:
        if event.key not in self.SCROLLS:
            event.stop()
            self.dismiss()

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss()
