"""The first run: the table, the question, the pull, and the chat after it; the demo at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from textual.pilot import Pilot

from localmag import catalogue
from localmag.errors import RunFailed
from localmag.tui.app import ChatApp
from localmag.tui.getting.offers import Models, Offer, Sight
from localmag.tui.opening import Label, Opening
from localmag.tui.worker import Fitted, Report
from tests.tui.fakes import LABEL, ScriptedConversation, reply, text_of, until

MACHINE = "AMD Ryzen 9 7950X, 16 cores · 57.0 of 64.0 GB memory free · no GPU"


def offers() -> tuple[Offer, ...]:
    """Two of Magistral Small 1.2, of which one fits, and a small sibling."""
    magistral, _ = catalogue.find("magistral")
    sibling, _ = catalogue.find("ministral-3-3b")
    good = Offer(
        magistral, magistral.build("Q4_K_M"), chosen=True, why="All of it on the GPU.", context=40960
    )
    return (
        replace(good, kv_type="q8_0", where="GPU", speed=42.0),
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


@dataclass(slots=True)
class Driver:
    app: ChatApp
    pilot: Pilot[int]
    world: World

    async def shown(self, *texts: str, seconds: float = 20) -> None:
        try:
            await until(self.pilot.pause, lambda: all(t in text_of(self.app) for t in texts), seconds)
        except AssertionError:
            raise AssertionError(f"{texts} never stood on this screen:\n{text_of(self.app)}") from None

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)


@asynccontextmanager
async def running(
    world: World, *, first: bool = True, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Driver]:
    app = ChatApp(
        ScriptedConversation(reply("", "Hi.")).opener(), LABEL, models=world.models(), first_run=first
    )
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Driver(app, pilot, world)
        app.chat.turns.close(20)
        if app.getting:
            app.getting.close(20)


# ── The table ─────────────────────────────────────────────────────────────────────────────────────


def test_the_table_says_what_fits_and_begins_at_the_one_to_take() -> None:
    async def test() -> None:
        async with running(World()) as it:
            await it.shown(MACHINE, "★ Q4_K_M", "40,960", "q8_0", "GPU", "14.3 GB", "~42 tok/s")
            await it.shown("Needs 55.1 GB, and 24.0 GB are there.", "Recommended for this machine.")
            await it.shown("Ministral 3 Reasoning 3B", "localmag demo")

    asyncio.run(test())


@pytest.mark.parametrize("size", [(60, 20), (40, 12), (200, 60)])
def test_it_stands_on_small_and_large_screens(size: tuple[int, int]) -> None:
    async def test() -> None:
        async with running(World(), size=size) as it:
            await it.shown("Q4_K_M", "40,960", "14.3 GB")
            await it.press("down")
            await it.shown("Does not fit. Needs 55.1 GB")

    asyncio.run(test())


def test_what_does_not_fit_is_not_fetched() -> None:
    async def test() -> None:
        async with running(World()) as it:
            await it.shown("★ Q4_K_M")
            await it.press("down", "enter")
            await it.shown("This one does not fit")
            assert it.world.opened == []

    asyncio.run(test())


@pytest.mark.parametrize("keys", [["d"], ["end", "enter"]])
def test_the_demo_starts_at_once(keys: list[str]) -> None:
    async def test() -> None:
        async with running(World()) as it:
            await it.shown("★ Q4_K_M")
            await it.press(*keys)
            await it.shown("● ready", "localmag demo")
            assert it.world.opened == ["demo:Q8_0"]

    asyncio.run(test())


@pytest.mark.parametrize("key", ["escape", "q"])
def test_leaving_the_first_table_quits(key: str) -> None:
    async def test() -> None:
        async with running(World()) as it:
            await it.shown("★ Q4_K_M")
            await it.press(key)
            await until(it.pilot.pause, lambda: it.app._exit)
            assert it.app.return_value == 0
            assert it.world.opened == []

    asyncio.run(test())


def test_what_is_here_already_is_opened_without_a_pull() -> None:
    async def test() -> None:
        first, *others = offers()
        world = World(Sight(MACHINE, (replace(first, usable=True), *others)))
        async with running(world) as it:
            await it.shown("here")
            await it.press("enter")
            await it.shown("● ready", "Magistral Small 1.2 Q4_K_M")

    asyncio.run(test())


def test_a_machine_that_cannot_be_looked_at_still_has_the_demo() -> None:
    async def test() -> None:
        world = World()

        def broken() -> Sight:
            raise RunFailed("It broke.", "Mend it.")

        app = ChatApp(
            ScriptedConversation().opener(), LABEL, models=Models(broken, world.opening), first_run=True
        )
        async with app.run_test(size=(80, 24)) as pilot:
            it = Driver(app, pilot, world)
            await it.shown("It broke. Mend it.")
            await it.press("enter")
            await it.shown("● ready")
            assert world.opened == ["demo:Q8_0"]
            app.chat.turns.close(20)

    asyncio.run(test())


def test_what_gave_way_so_that_it_fits_is_told_and_the_context_is_the_true_one() -> None:
    async def test() -> None:
        talk = ScriptedConversation(reply("", "Hello."))

        def open_conversation(report: Report) -> ScriptedConversation:
            report(Fitted(2048, ("To fit this machine, the context is 2,048 tokens.",)))
            return talk

        app = ChatApp(open_conversation, LABEL)
        async with app.run_test(size=(100, 24), notifications=True) as pilot:
            it = Driver(app, pilot, World())
            await it.shown("● ready", "/ 2,048", "To fit this machine, the context is")
            app.chat.turns.close(20)

    asyncio.run(test())


def test_a_mouse_will_do() -> None:
    async def test() -> None:
        async with running(World()) as it:
            await it.shown("★ Q4_K_M", "localmag demo", "Try the demo")
            rows = text_of(it.app).splitlines()
            place = next(n for n, line in enumerate(rows) if "✓ Q8_0" in line)
            await it.pilot.click(offset=(10, place))
            await it.shown("● ready", "localmag demo")
            assert it.world.opened == ["demo:Q8_0"]

    asyncio.run(test())


def test_what_is_being_written_comes_along_to_another_model() -> None:
    async def test() -> None:
        async with running(World(), first=False) as it:
            await it.shown("● ready")
            it.app.chat.composer.insert("half a question")
            it.app.get_model()
            await it.shown("Get a model", "What the open model holds counts as taken.")
            await it.press("end", "enter")
            await it.shown("● ready", "localmag demo", "half a question")

    asyncio.run(test())


def test_esc_leads_back_to_the_chat_as_it_was() -> None:
    async def test() -> None:
        async with running(World(), first=False) as it:
            await it.shown("● ready")
            chat = it.app.chat
            it.app.get_model()
            await it.shown("Get a model", "esc Back")
            await it.press("escape")
            await it.shown("● ready")
            assert it.app.chat is chat
            assert it.world.opened == []

    asyncio.run(test())


def test_a_model_that_cannot_be_opened_is_told_and_the_table_stays() -> None:
    async def test() -> None:
        first, *others = offers()
        world = World(Sight(MACHINE, (replace(first, usable=True), *others)))
        world.failure = RunFailed("It cannot be opened.", "Mend it.")
        async with running(world) as it:
            await it.shown("★ Q4_K_M")
            await it.press("enter")
            await it.shown("It cannot be opened.", "Mend it.", "★ Q4_K_M")

    asyncio.run(test())
