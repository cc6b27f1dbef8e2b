"""The Textual application: the chat screen, its help, and what gets a model where there is none yet."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen
from textual.theme import ThemeProvider

from localmag.errors import WrongUsage
from localmag.tui import memory
from localmag.tui.driver import patient
from localmag.tui.getting.offers import GET, Models
from localmag.tui.opening import Label, Opening
from localmag.tui.screens.chat import ChatScreen
from localmag.tui.screens.once import Palette
from localmag.tui.themes import DARK, LIGHT, preferred
from localmag.tui.worker import Opener

if TYPE_CHECKING:
    from localmag.tui.getting.flow import Getting
    from localmag.tui.screens.help import HelpScreen

SAVING_S = 5.0
"""Seconds to wait at the end for a partial reply to be saved."""
NOT_STOPPED = "The engine did not stop in time; the reply is kept up to its last second."


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
        models: Models | None = None,
        first_run: bool = False,
        greeting: str = "",
        theme: str | None = None,
        show_thinking: bool | None = None,
    ) -> None:
        super().__init__()
        self._show_thinking = show_thinking
        self.chat = self._screen_of(Opening(open_conversation, label, greeting))
        self._models = models
        self._first_run = first_run and models is not None
        self.getting: Getting | None = None
        self._help: HelpScreen | None = None
        for ours in (DARK, LIGHT):
            self.register_theme(ours)
        if theme is not None and theme not in self.available_themes:
            names = ", ".join(sorted(self.available_themes))
            raise WrongUsage(
                f"There is no theme {theme!r}.", f"Set `theme` in config.toml to one of {names}."
            )
        self.theme = theme or preferred(os.environ)

    def get_driver_class(self) -> type[Driver]:
        return patient(super().get_driver_class())

    def get_default_screen(self) -> Screen[None]:
        return self.chat

    def _screen_of(self, opening: Opening) -> ChatScreen:
        screen = ChatScreen(opening.open, opening.label, opening.greeting)
        if self._show_thinking is None:
            screen.reasoning_open = memory.reasoning_open()
        elif not self._show_thinking:
            screen.reasoning_open = False
        return screen

    def on_mount(self) -> None:
        if self._first_run:
            self.get_model(first=True)
        else:
            self.chat.start()

    @work(exclusive=True, group="models")
    async def get_model(self, *, first: bool = False) -> None:
        """Let the user choose a model and fetch it, and go on to a conversation with it."""
        from localmag.tui.getting.flow import Getting  # rarely needed, so rarely imported

        assert self._models
        self.getting = self.getting or Getting(self, self._models, self._tell_pull)
        opening = await self.getting.choose(first=first, opened=self.chat.label.model)
        if opening:
            await self._converse(opening)
        elif first:
            self.exit(0)

    async def _converse(self, opening: Opening) -> None:
        """Leave the conversation that is open, if one is, for this one; unsent text comes along."""
        before = self.chat
        await asyncio.to_thread(before.turns.close, SAVING_S)
        if before.turns.closing_error:
            self.notify(str(before.turns.closing_error), severity="error", timeout=30)
        unsent = before.unsent
        self.chat = self._screen_of(opening)
        if before is self.screen_stack[0]:  # which Textual cannot switch
            await self.push_screen(self.chat)
        else:
            await self.switch_screen(self.chat)
        if unsent:
            self.chat.composer.put_back(unsent)
        self.chat.start()

    def _tell_pull(self, news: str) -> None:
        if news != self.chat.aside:
            self.chat.aside = news
            if self.chat.opened:  # else it is drawn with the opening
                self.chat.call_later(self.chat.draw)

    def action_help(self) -> None:
        from localmag.tui.screens.help import CHAT, HelpScreen  # rarely shown, so rarely imported

        if self._help and self._help.is_active:
            self._help.dismiss()
            return
        # What is on top may be the palette: then the keys are those of the screen that it was opened from.
        told = (getattr(screen, "KEYS", None) for screen in reversed(self.screen_stack))
        self._help = HelpScreen(next(filter(None, told), CHAT))
        self.push_screen(self._help)

    async def on_event(self, event: events.Event) -> None:
        """What is written over the help closes it here: the box is to have it before what comes next."""
        if self._help and self._help.is_active and not event.is_forwarded and self._is_writing(event):
            self._help.dismiss()
        await super().on_event(event)

    def _is_writing(self, event: events.Event) -> bool:
        """Whether it is meant for the box, if that is what the help hides. `?` asks for the help itself."""
        if self.screen_stack[-2] is not self.chat or self.chat.focused is not self.chat.composer:
            return False
        if isinstance(event, events.Key):
            return event.is_printable and event.character not in (" ", "?")
        return isinstance(event, events.Paste)

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def search_themes(self) -> None:
        self.push_screen(Palette([ThemeProvider], placeholder="Search for themes…"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Of Textual's own, those that mean something here."""
        yield SystemCommand("Keys", "What they do on this screen", self.action_help)
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand(
            "Quit", "A partial reply is kept, and so is what has been fetched", self.action_quit
        )
        if screen is self.chat:
            if self._models:
                yield SystemCommand(GET, "Fetch another, or open one that is here", self.get_model)
            yield SystemCommand("Reasoning", "Show or hide it", self.chat.action_toggle_reasoning)
            yield SystemCommand("Copy the answer", "To the clipboard", self.chat.action_copy_answer)
            yield SystemCommand("Copy the reasoning", "To the clipboard", self.chat.action_copy_reasoning)
