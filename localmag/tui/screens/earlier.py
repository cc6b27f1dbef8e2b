"""Earlier conversations, the last one first: what is typed leaves those whose titles hold it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from localmag.errors import LocalmagError
from localmag.sanitize import sanitize
from localmag.tui.screens.help import Keys
from localmag.tui.screens.once import Once

if TYPE_CHECKING:  # a database is no part of this
    from localmag.sessions import Session

NARROW = 50
"""Columns under which the day has to do, without the time."""


class Sieve(Input):
    """Holds what titles are to hold; the keys that move in a list move in the one below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.open", "Open it"),
        Binding("up", "screen.move('cursor_up')", show=False),
        Binding("down", "screen.move('cursor_down')", show=False),
        Binding("pageup", "screen.move('page_up')", show=False),
        Binding("pagedown", "screen.move('page_down')", show=False),
    ]

    def replace(self, text: str, start: int, end: int) -> None:
        """What is typed or pasted is made safe to show."""
        super().replace(sanitize(text), start, end)


class EarlierScreen(Once, Screen["Session | None"]):
    """Dismissed with the conversation that was chosen, or None to go on with the one that is open."""

    KEYS: ClassVar[Keys] = (
        ("Up, Down, PgUp, PgDn", "another conversation"),
        ("Letters", "only those whose titles hold what you type"),
        ("Enter", "open it; the one that is open now is kept"),
        ("Esc", "back to the chat"),
        ("Ctrl+P", "all commands, themes"),
        ("Ctrl+Q", "quit"),
    )
    CSS_PATH = ["earlier.tcss", "../getting/keys.tcss"]  # noqa: RUF012 - as Textual has it
    AUTO_FOCUS = "Sieve"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back")]

    def __init__(self, look: Callable[[], tuple[Session, ...]], present: str | None) -> None:
        """`look` is called in a thread, and may raise LocalmagError; `present` is the id of the open one."""
        super().__init__()
        self._look = look
        self._present = present
        self._found: tuple[Session, ...] | None = None
        self._sifted: tuple[str, bool] | None = None

    def compose(self) -> ComposeResult:
        yield Static("Earlier conversations", id="earlier-title", markup=False)
        yield Sieve(placeholder="Type what the title holds.", compact=True)
        yield OptionList(compact=True)
        yield Static("Looking…", id="earlier-note", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._list = self.query_one(OptionList)
        self._list.can_focus = False  # a mouse will do, and what is typed goes to the sieve
        self._take_a_look()

    @work(thread=True)
    def _take_a_look(self) -> None:
        try:
            found, note = self._look(), ""
        except LocalmagError as exc:
            found, note = (), str(exc)
        self.app.call_from_thread(self._show, found, note)

    def _show(self, found: tuple[Session, ...], note: str) -> None:
        self._found = found
        self._sift()
        if note:
            self._note(note)

    # ── the list ──────────────────────────────────────────────────────────────────────────────────

    def _sift(self) -> None:
        """List what holds all words that are typed, unless that is what is listed."""
        wanted, narrow = self.query_one(Sieve).value.casefold(), self.app.size.width < NARROW
        if self._found is None or self._sifted == (wanted, narrow):
            return
        self._sifted = (wanted, narrow)
        chosen = self.highlighted
        left = [s for s in self._found if all(word in s.title.casefold() for word in wanted.split())]
        self._list.clear_options()
        self._list.add_options(Option(self._row(session, narrow), id=session.id) for session in left)
        if left:
            ids = [session.id for session in left]
            others = [n for n, id in enumerate(ids) if id != self._present]
            kept = not wanted and chosen and chosen.id in ids
            self._list.highlighted = ids.index(chosen.id) if kept and chosen else next(iter(others), 0)
        self._note("" if left else "No title holds that." if self._found else "There are none yet.")

    def _row(self, session: Session, narrow: bool) -> Content:
        when = datetime.fromtimestamp(session.updated).strftime("%Y-%m-%d" if narrow else "%Y-%m-%d %H:%M")
        title = sanitize(session.title).replace("\n", "␊")
        mark = ("● ", "$success") if session.id == self._present else "  "
        return Content.assemble(
            mark, (when, "$foreground 55%"), f"  {title}", (f"  {sanitize(session.model)}", "$foreground 45%")
        )

    def _note(self, text: str) -> None:
        note = self.query_one("#earlier-note", Static)
        note.update(sanitize(text))
        note.display = bool(text)

    @property
    def highlighted(self) -> Session | None:
        option = self._list.highlighted_option
        return next((s for s in self._found or () if option and s.id == option.id), None)

    # ── what the user does ────────────────────────────────────────────────────────────────────────

    def on_resize(self) -> None:
        self._sift()

    @on(Input.Changed)
    def _typed(self) -> None:
        self._sift()

    def action_move(self, how: str) -> None:
        self._sift()  # of keys that arrive together, what the earlier ones typed
        getattr(self._list, f"action_{how}")()

    @on(OptionList.OptionSelected)
    def action_open(self) -> None:
        self._sift()
        if chosen := self.highlighted:
            self.dismiss(None if chosen.id == self._present else chosen)

    def action_leave(self) -> None:
        self.dismiss(None)
