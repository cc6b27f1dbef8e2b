"""Getting a model, from the table to the chat: which screen follows which, and the pull behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from localmag.errors import LocalmagError
from localmag.sanitize import sanitize
from localmag.tui.getting import offers
from localmag.tui.getting.choose import ChooseScreen
from localmag.tui.getting.offers import Models, Offer, Sight
from localmag.tui.getting.pulling import Left, PullScreen
from localmag.tui.getting.pulls import Failed, Finished, Going, Pull, Stopped
from localmag.tui.opening import Opening
from localmag.tui.reply import percent

if TYPE_CHECKING:
    from textual.app import App
    from textual.timer import Timer

LOOK_S = 0.5
"""Seconds between two looks at a pull that goes on behind the chat."""


class Getting:
    """At most one pull at a time."""

    def __init__(self, app: App[int], models: Models, tell: Callable[[str], None]) -> None:
        """`tell` is given how far a pull behind the chat is, in a word or two, and "" once it has ended."""
        self._app = app
        self._models = models
        self._tell = tell
        self._timer: Timer | None = None
        self._offer: Offer | None = None
        self._sight: Sight | None = None
        self.pull: Pull | None = None

    async def choose(self, *, first: bool, opened: str = "") -> Opening | None:
        """The conversation that the user wants now, its model fetched if need be; None: as it was.

        `first`: there is none yet, so that the demo is what to do while a pull goes on; else `opened` is the
        title of its model.
        """
        self._watch(False)
        offer = self._offer if self._meanwhile and self._unfinished else None
        preferred = self._offer.name if self._offer else ""
        while True:
            if offer is None:
                screen = ChooseScreen(
                    self._models, first=first, opened=opened, preferred=preferred, seen=self._sight
                )
                offer = await self._app.push_screen_wait(screen)
                self._sight = screen.sight
            if offer is None:
                return None
            preferred = offer.name
            if offer.usable or await self._fetched(offer, first=first):
                if opening := await self._opening(offer):
                    return opening
            elif self._meanwhile:
                self._watch(self._unfinished)
                return await self._opening(offers.demo()) if first else None
            offer = None

    async def _fetched(self, offer: Offer, *, first: bool) -> bool:
        if self.pull is None or self._offer is None or self._offer.name != offer.name:
            self.pull, self._offer = Pull(offer.model, offer.build), offer
        if not (self._meanwhile and self._unfinished):
            self.pull.ask()
        left = await self._app.push_screen_wait(PullScreen(self.pull, first=first))
        self._meanwhile = left is Left.DEMO
        return left is Left.HERE

    async def _opening(self, offer: Offer) -> Opening | None:
        """None if it cannot be opened, which the user is told."""
        try:
            opening = await asyncio.to_thread(self._models.opening, offer)
        except LocalmagError as exc:
            self._say(exc.what, exc.todo, bad=True)
            return None
        for note in self._notes(offer):
            self._app.notify(sanitize(note), severity="warning", timeout=20)
        return opening

    def _notes(self, offer: Offer) -> tuple[str, ...]:
        """What the pull of this very offer had to say."""
        if self.pull and self._offer and self._offer.name == offer.name:
            return self.pull.state.notes if isinstance(self.pull.state, Finished) else ()
        return ()

    # ── behind the chat ───────────────────────────────────────────────────────────────────────────

    _meanwhile = False
    """Whether the user went to the chat from the pull, and not back."""

    @property
    def _unfinished(self) -> bool:
        return self.pull is not None and isinstance(self.pull.state, Going | Stopped | Failed)

    def _watch(self, on: bool) -> None:
        if self._timer:
            self._timer.stop()
        self._timer = self._app.set_interval(LOOK_S, self._look) if on else None
        self._tell("")

    def _look(self) -> None:
        assert self.pull
        match self.pull.state:
            case Going(progress):
                self._tell(f"↓ {percent(progress.done / progress.total if progress.total else 1.0)}")
                return
            case Finished():
                self._say(f"{self.pull.title} is here, verified.", f"To open it: Ctrl+P, “{offers.GET}”.")
            case Failed(error):
                self._say(error.what, f"{error.todo} To see it: Ctrl+P, “{offers.GET}”.", bad=True)
            case _:
                pass
        self._watch(False)

    def _say(self, what: str, todo: str, *, bad: bool = False) -> None:
        self._app.notify(sanitize(f"{what}\n{todo}"), severity="error" if bad else "information", timeout=30)

    def close(self, timeout: float) -> str:
        """Stop the pull, at the end; a sentence about it if it was not done."""
        if self.pull is None or not self.pull.active:
            return ""
        self.pull.close(timeout)
        return (
            f"The pull of {self.pull.title} was stopped; what has arrived is kept, "
            f"and `localmag pull {self._offer.name if self._offer else ''}` goes on from there."
        )
