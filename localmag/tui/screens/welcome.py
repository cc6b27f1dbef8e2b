"""The first screen where no weights are there: the demo now, and how to get Magistral."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static


class WelcomeScreen(ModalScreen[bool]):
    """Dismissed with True for the demo, False to quit."""

    CSS_PATH = "welcome.tcss"
    AUTO_FOCUS = "#demo"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "answer(False)", "Quit"),
        Binding("left,right", "app.focus_next", show=False),
    ]

    def __init__(self, how_to: str) -> None:
        super().__init__()
        self._how_to = how_to

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="welcome"):
            yield Static("Welcome to localmag", id="welcome-title")
            yield Static(self._how_to, id="welcome-text", markup=False)
            with Horizontal(id="welcome-buttons"):
                yield Button("Try the demo", variant="primary", id="demo")
                yield Button("Quit", id="quit")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "demo")

    def action_answer(self, demo: bool) -> None:
        self.dismiss(demo)
