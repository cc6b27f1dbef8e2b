"""A running app, and what a user can do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from textual.pilot import Pilot

from localmag.tui.app import ChatApp
from localmag.tui.screens.chat import ChatScreen
from tests.tui.fakes import text_of, until


@dataclass(frozen=True, slots=True)
class Driver:
    app: ChatApp
    pilot: Pilot[int]

    @property
    def chat(self) -> ChatScreen:
        return self.app.chat

    @property
    def text(self) -> str:
        return text_of(self.app)

    async def shown(self, *texts: str, seconds: float = 30) -> None:
        """Until all of these stand on the screen."""
        try:
            await until(self.pilot.pause, lambda: all(text in self.text for text in texts), seconds)
        except AssertionError:
            raise AssertionError(f"{texts} never stood on this screen:\n{self.text}") from None

    async def gone(self, text: str) -> None:
        await until(self.pilot.pause, lambda: text not in self.text)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def say(self, text: str) -> None:
        self.chat.composer.insert(text)
        await self.press("enter")

    async def settle(self) -> None:
        """Until nothing is being written and all of it is drawn."""
        await until(self.pilot.pause, lambda: self.chat.opened and self.chat.current is None)
        await self.pilot.pause(0.1)


@asynccontextmanager
async def driven(app: ChatApp, size: tuple[int, int] = (120, 30)) -> AsyncIterator[Driver]:
    """The app on a screen of so many columns and rows; what it does behind the screen ends with it."""
    async with app.run_test(size=size, notifications=True) as pilot:
        try:
            yield Driver(app, pilot)
        finally:
            app.chat.turns.close(20, app.chat.unsent if app.chat.opened else "")
            if app.getting:
                app.getting.close(20)


@asynccontextmanager
async def running(app: ChatApp, size: tuple[int, int] = (120, 30)) -> AsyncIterator[Driver]:
    """The same, once its conversation has been opened, or could not be."""
    async with driven(app, size) as it:
        await until(it.pilot.pause, lambda: it.chat.opened or bool(it.chat.opening_error))
        yield it
