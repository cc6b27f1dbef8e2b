"""Someone at the table of models, where two builds of Magistral Small 1.2 stand, and a small sibling."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from localmag import catalogue
from localmag.tui.app import ChatApp
from localmag.tui.getting.offers import Models, Offer, Sight
from localmag.tui.opening import Label, Opening
from tests.tui.driving import Driver, driven
from tests.tui.fakes import LABEL, ScriptedConversation, reply

MACHINE = "AMD Ryzen 9 7950X, 16 cores · 57.0 of 64.0 GB memory free · no GPU"


def offers(*, here: bool = False) -> tuple[Offer, ...]:
    """The one to take comes first; with `here` it has been fetched already."""
    magistral, _ = catalogue.find("magistral")
    sibling, _ = catalogue.find("ministral-3-3b")
    good = Offer(
        magistral, magistral.build("Q4_K_M"), chosen=True, why="All of it on the GPU.", context=40960
    )
    return (
        replace(good, kv_type="q8_0", where="GPU", speed=42.0, usable=here),
        Offer(magistral, magistral.build("BF16"), fits=False, why="Needs 55.1 GB, and 24.0 GB are there."),
        Offer(sibling, sibling.build(), why="Smaller, and quick.", context=131072, where="CPU", speed=8.3),
    )


@dataclass(slots=True)
class World:
    """What stands behind the screen, and what the user did to it."""

    sight: Sight = field(default_factory=lambda: Sight(MACHINE, offers()))
    opened: list[str] = field(default_factory=list)
    failure: Exception | None = None

    def models(self) -> Models:
        return Models(self.look, self.opening)

    def look(self) -> Sight:
        return self.sight

    def opening(self, offer: Offer) -> Opening:
        if self.failure:
            raise self.failure
        self.opened.append(offer.name)
        talk = ScriptedConversation(reply("", "Hello."))
        return Opening(talk.opener(), Label(offer.model.title, offer.build.quant), "Ask something.")


@asynccontextmanager
async def at_the_table(world: World, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Driver]:
    """The first run: no model is here yet."""
    async with driven(_app(world, first=True), size) as it:
        yield it


@asynccontextmanager
async def in_a_chat(world: World) -> AsyncIterator[Driver]:
    """Later, with a model open: the table is to be called."""
    async with driven(_app(world, first=False), (80, 24)) as it:
        await it.shown("● ready")
        yield it


def _app(world: World, *, first: bool) -> ChatApp:
    talk = ScriptedConversation(reply("", "Hi."))
    return ChatApp(talk.opener(), LABEL, models=world.models(), first_run=first)
