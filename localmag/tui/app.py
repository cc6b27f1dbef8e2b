"""The Textual application: the chat screen, its help, and what gets a model where there is none yet."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.theme import ThemeProvider

from localmag.errors import LocalmagError, WrongUsage
from localmag.sanitize import sanitize
from localmag.tui import memory
from localmag.tui.driver import patient
from localmag.tui.getting.offers import GET, Models
from localmag.tui.opening import INVITATION, Chats, Label, Opening
from localmag.tui.screens.chat import QUIT_S, ChatScreen
from localmag.tui.screens.once import Palette
from localmag.tui.themes import DARK, LIGHT, preferred
from localmag.tui.worker import Opener

if TYPE_CHECKING:
    from localmag.sessions import Session
    from localmag.tui.getting.flow import Getting
    from localmag.tui.screens.help import HelpScreen

SAVING_S = 5.0
"""Seconds to wait at the end for a partial reply to be saved."""
LEAVING_S = 15.0
"""Seconds to wait for what another conversation takes the place of: longer than an engine that hangs gets."""
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
        chats: Chats | None = None,
        first_run: bool = False,
        greeting: str = "",
        invitation: str = INVITATION,
        theme: str | None = None,
        show_thinking: bool | None = None,
    ) -> None:
        super().__init__()
        self._show_thinking = show_thinking
        self.chat = self._screen_of(Opening(open_conversation, label, greeting, invitation))
        self._models = models
        self._chats = chats
        self._leaving = False
        self._new_asked = -QUIT_S
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
        screen = ChatScreen(opening.open, opening.label, opening.greeting, opening.invitation)
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

    # ── from one conversation to another ──────────────────────────────────────────────────────────

    def get_model(self, *, first: bool = False) -> None:
        """Let the user choose a model and fetch it, and go on to a conversation with it."""
        self._leave_for(partial(self._choose_model, first=first), along=True, quits=first)

    def new_conversation(self) -> None:
        if self.chat.is_new:
            self.notify("This conversation is a new one.", timeout=3)
        else:
            self._leave_for(self._opening)

    def earlier_conversations(self) -> None:
        """Let the user choose another conversation, and go on with that."""
        self._leave_for(self._choose_earlier)

    @work
    async def _leave_for(
        self, choose: Callable[[], Awaitable[Opening | None]], *, along: bool = False, quits: bool = False
    ) -> None:
        """Go on with what the user chooses; where that is nothing, as before, or `quits`."""
        if self._leaving:
            return
        self._leaving = True
        try:
            if opening := await choose():
                await self._converse(opening, along=along)
            elif quits:
                self.exit(0)
        finally:
            self._leaving = False

    async def _choose_model(self, *, first: bool) -> Opening | None:
        from localmag.tui.getting.flow import Getting  # rarely needed, so rarely imported

        assert self._models
        self.getting = self.getting or Getting(self, self._models, self._tell_pull)
        return await self.getting.choose(first=first, opened=self.chat.label.model)

    async def _choose_earlier(self) -> Opening | None:
        from localmag.tui.screens.earlier import EarlierScreen  # likewise

        assert self._chats
        while True:
            screen = EarlierScreen(self._chats.earlier, self.chat.turns.session)
            chosen = await self.push_screen_wait(screen)
            if chosen is None:
                return None
            if opening := await self._opening(chosen):
                return opening

    async def _opening(self, session: Session | None = None) -> Opening | None:
        """None if it cannot be opened, which the user is told."""
        assert self._chats
        try:
            return await asyncio.to_thread(self._chats.opening, session)
        except LocalmagError as exc:
            self.notify(sanitize(str(exc)), severity="error", timeout=30)
            return None

    async def _converse(self, opening: Opening, *, along: bool) -> None:
        """Leave the conversation that is open, if one is, for this one.

        What is not sent comes `along`, or is kept with the conversation that it was meant for.
        """
        before = self.chat
        before.leaving = True
        stays = "" if along else before.unsent
        if not await asyncio.to_thread(before.turns.close, LEAVING_S, stays) and before.turns.replying:
            self.notify(NOT_STOPPED, severity="warning", timeout=30)
        if before.turns.closing_error:
            self.notify(sanitize(str(before.turns.closing_error)), severity="error", timeout=30)
        unsent = before.unsent
        if before.turns.kept_in is not None:  # else nobody has it
            unsent = unsent.removeprefix(stays)
        self.chat = self._screen_of(opening)
        if before is self.screen_stack[0]:  # which Textual cannot switch
            await self.push_screen(self.chat)
        else:
            await self.switch_screen(self.chat)
        if unsent.strip():
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

    def action_new_conversation(self) -> None:
        """While a reply comes in, only a second one in a row: other programs have other uses for the key."""
        now = self.chat.clock()
        if self.chat.current is None or now - self._new_asked < QUIT_S:
            self.new_conversation()
            return
        self._new_asked = now
        self.notify("Press Ctrl+N again to stop the reply and begin a new conversation.", timeout=QUIT_S)

    def action_earlier_conversations(self) -> None:
        self.earlier_conversations()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("new_conversation", "earlier_conversations"):
            return self._chats is not None and self.chat.is_mounted
        return super().check_action(action, parameters)

    async def on_event(self, event: events.Event) -> None:
        """What is written over the help closes it here: the box is to have it before what comes next."""
        if isinstance(event, events.InputEvent) and not self.screen_stack:
            return  # typed while the program was leaving: Textual would look for a screen to give it to
        if self._help and self._help.is_active and not event.is_forwarded and self._is_writing(event):
            self._help.dismiss()
        await super().on_event(event)

    def _is_writing(self, event: events.Event) -> bool:
        """Whether it is meant for the box, if that is what the help hides.

        A message does not begin with a space, and there `?` asks for the help itself.
        """
        chat = self.chat
        if self.screen_stack[-2] is not chat or not chat.is_mounted or chat.focused is not chat.composer:
            return False
        if isinstance(event, events.Key):
            return event.is_printable and (event.character not in (" ", "?") or bool(chat.composer.text))
        return isinstance(event, events.Paste)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """What is told names files and errors: their brackets are no markup, whatever a widget asks for."""
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)

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
        if screen is self.chat and screen.is_mounted:
            if self._chats:
                yield SystemCommand("New conversation", "The one that is open is kept", self.new_conversation)
                yield SystemCommand("Earlier conversations…", "To go on with one", self.earlier_conversations)
            if self._models:
                yield SystemCommand(GET, "Fetch another, or open one that is here", self.get_model)
            yield SystemCommand("Reasoning", "Show or hide it", self.chat.action_toggle_reasoning)
            yield SystemCommand("Copy the answer", "To the clipboard", self.chat.action_copy_answer)
            yield SystemCommand("Copy the reasoning", "To the clipboard", self.chat.action_copy_reasoning)
