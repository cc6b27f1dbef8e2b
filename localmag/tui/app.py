"""The Textual application: one chat screen, its help, and a welcome where there are no weights yet."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen

from localmag.errors import WrongUsage
from localmag.tui.bursts import gathering
from localmag.tui.screens.chat import ChatScreen, Label
from localmag.tui.themes import DARK, LIGHT, preferred
from localmag.tui.worker import Opener

SAVING_S = 5.0
"""Seconds to wait at the end for a partial reply to be saved."""


class ChatApp(App[int]):
    TITLE = "localmag"
    CSS_PATH = "screens/chat.tcss"  # the default screen's own would not be read
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", priority=True),
        Binding("f1", "help", "Keys", priority=True),
    ]

    def __init__(
        self,
        open_conversation: Opener,
        label: Label,
        *,
        offer: str | None = None,
        greeting: str = "",
        theme: str | None = None,
        show_thinking: bool = True,
    ) -> None:
        super().__init__()
        self.chat = ChatScreen(open_conversation, label, greeting)
        if not show_thinking:
            self.chat.reasoning_open = False
        self._offer = offer
        for ours in (DARK, LIGHT):
            self.register_theme(ours)
        if theme is not None and theme not in self.available_themes:
            names = ", ".join(sorted(self.available_themes))
            raise WrongUsage(
                f"There is no theme {theme!r}.", f"Set `theme` in config.toml to one of {names}."
            )
        self.theme = theme or preferred(os.environ)

    def get_driver_class(self) -> type[Driver]:
        return gathering(super().get_driver_class())

    def get_default_screen(self) -> Screen[None]:
        return self.chat

    def on_mount(self) -> None:
        if self._offer is None:
            self.chat.start()
        else:
            from localmag.tui.screens.welcome import WelcomeScreen  # rarely shown, so rarely imported

            self.push_screen(WelcomeScreen(self._offer), self._answered)

    def _answered(self, demo: bool | None) -> None:
        if demo:
            self.chat.start()
        else:
            self.exit(0)

    def action_help(self) -> None:
        from localmag.tui.screens.help import HelpScreen  # rarely shown, so rarely imported

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        if screen is self.chat:
            yield SystemCommand("Reasoning", "Show or hide it", self.chat.action_toggle_reasoning)
            yield SystemCommand("Copy the answer", "To the clipboard", self.chat.action_copy_answer)
            yield SystemCommand("Copy the reasoning", "To the clipboard", self.chat.action_copy_reasoning)
