"""One pull from the question to the end: what would be fetched, how far it is, what went wrong.

The screen holds nothing: it draws the state of a `Pull`, which goes on without it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Button, Footer, Static

from localmag.tui.getting.pulls import Failed, Finished, Going, Pull, Ready, State, Stopped
from localmag.tui.getting.telling import button, told
from localmag.tui.screens.help import Keys
from localmag.tui.screens.once import Once

FRAME_S = 0.1
"""Seconds between two looks at the pull."""


class Left(Enum):
    """How the user left, or the pull ended."""

    HERE = auto()  # all of it is here, verified
    BACK = auto()
    DEMO = auto()  # the chat (the demo, where nothing else is here), while the pull goes on if it is going


class PullScreen(Once, Screen[Left]):
    KEYS: ClassVar[Keys] = (
        ("Enter", "yes; go on; try again: what the button says"),
        ("Esc", "stop and keep what has arrived; then back to the table"),
        ("D, B", "chat meanwhile (with the demo, where nothing else is here)"),
        ("R", "try again, where it failed"),
        ("Up, Down", "scroll"),
        ("Ctrl+P", "all commands, themes"),
        ("Ctrl+Q", "quit; what has arrived is kept"),
    )
    CSS_PATH = ["pulling.tcss", "keys.tcss"]  # noqa: RUF012 - as Textual has it
    AUTO_FOCUS = "#pull-yes"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop"),
        Binding("escape", "back", "Back"),
        Binding("d", "meanwhile(True)", "Try the demo"),
        Binding("b", "meanwhile(True)", show=False),
        Binding("b", "meanwhile(False)", "Chat meanwhile"),
        Binding("d", "meanwhile(False)", show=False),
        Binding("r", "retry", "Try again"),
        Binding("up", "scroll(-1)", show=False),
        Binding("down", "scroll(1)", show=False),
    ]

    def __init__(self, pull: Pull, *, first: bool) -> None:
        """`first`: there is no conversation yet, so that the demo is what to do meanwhile."""
        super().__init__()
        self.pull = pull
        self._first = first
        self._drawn: tuple[State, int] | None = None

    def compose(self) -> ComposeResult:
        yield Static("", id="pull-title", markup=False)
        with VerticalScroll(id="pull-body", can_focus=False):
            yield Static("", id="pull-told", markup=False)
        yield Button("", id="pull-yes", variant="primary", compact=True)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.set_interval(FRAME_S, self.draw)
        self.draw()

    def on_resize(self) -> None:
        self._drawn = None

    # ── drawing ───────────────────────────────────────────────────────────────────────────────────

    def draw(self) -> None:
        """Bring the screen up to date with the pull."""
        state, width = self.pull.state, self.app.size.width
        if (state, width) == self._drawn or not self.is_current:
            return
        other = self._drawn is None or _phase(state) != _phase(self._drawn[0])
        self._drawn = state, width
        if isinstance(state, Finished):
            self.dismiss(Left.HERE)
            return
        title, body = told(self.pull.title, state, min(width, 100) - 4)
        self.query_one("#pull-title", Static).update(title)
        self.query_one("#pull-told", Static).update(body)
        if other:
            self._offer(state)

    def _offer(self, state: State) -> None:
        yes = self.query_one("#pull-yes", Button)
        label = button(state)
        yes.display = bool(label)
        yes.label = label
        if label:
            yes.focus()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        going = isinstance(self.pull.state, Going) and not self.pull.state.stopping
        match action:
            case "stop":
                return going
            case "back":
                return not going
            case "meanwhile":
                return parameters == (self._first,)
            case "retry":
                return isinstance(self.pull.state, Failed)
            case _:
                return True

    # ── what the user does ────────────────────────────────────────────────────────────────────────

    def on_button_pressed(self) -> None:
        match self.pull.state:
            case Ready(plan):
                self.pull.fetch(plan)
            case Stopped() | Failed():
                self.action_retry()
            case _:
                return
        self.draw()

    def action_retry(self) -> None:
        """Ask anew what there is and what of it is here, and go on at once if that was agreed to already."""
        self.pull.again()
        self.draw()

    def action_stop(self) -> None:
        self.pull.stop()
        self.draw()

    def action_back(self) -> None:
        self.pull.stop()
        self.dismiss(Left.BACK)

    def action_meanwhile(self, first: bool) -> None:
        if not self.pull.active:
            self.pull.stop()
        self.dismiss(Left.DEMO)

    def action_scroll(self, lines: int) -> None:
        self.query_one("#pull-body", VerticalScroll).scroll_relative(y=lines, animate=False)


def _phase(state: State) -> tuple[type[State], bool]:
    """What keys and button depend on."""
    return type(state), isinstance(state, Going) and state.stopping
