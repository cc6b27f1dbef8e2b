"""The first run: the table, the question, the pull, and the chat after it; the demo at any moment."""

from __future__ import annotations

import threading

import pytest

from localmag.errors import RunFailed
from localmag.tui.app import ChatApp
from localmag.tui.getting.offers import Sight
from localmag.tui.worker import Fitted, Report
from localmag.types import Cancel
from tests.tui.driving import running
from tests.tui.fakes import LABEL, ScriptedConversation, reply, until
from tests.tui.newcomer import MACHINE, World, at_the_table, in_a_chat, offers


async def test_the_table_says_what_fits_and_begins_at_the_one_to_take() -> None:
    async with at_the_table(World()) as it:
        await it.shown(MACHINE, "★ Q4_K_M", "40,960", "q8_0", "GPU", "14.3 GB", "~42 tok/s")
        await it.shown("Needs 55.1 GB, and 24.0 GB are there.", "Recommended for this machine.")
        await it.shown("Ministral 3 Reasoning 3B", "localmag demo")


@pytest.mark.parametrize("size", [(60, 20), (40, 12), (200, 60)])
async def test_it_stands_on_small_and_large_screens(size: tuple[int, int]) -> None:
    async with at_the_table(World(), size) as it:
        await it.shown("Q4_K_M", "40,960", "14.3 GB")
        await it.press("down")
        await it.shown("Does not fit. Needs 55.1 GB")


async def test_what_does_not_fit_is_not_fetched() -> None:
    world = World()
    async with at_the_table(world) as it:
        await it.shown("★ Q4_K_M")
        await it.press("down", "enter")
        await it.shown("This one does not fit")
        assert world.opened == []


@pytest.mark.parametrize("keys", [["d"], ["end", "enter"]])
async def test_the_demo_starts_at_once(keys: list[str]) -> None:
    world = World()
    async with at_the_table(world) as it:
        await it.shown("★ Q4_K_M")
        await it.press(*keys)
        await it.shown("● ready", "localmag demo")
        assert world.opened == ["demo:Q8_0"]


@pytest.mark.parametrize("key", ["escape", "q"])
async def test_leaving_the_first_table_quits(key: str) -> None:
    world = World()
    async with at_the_table(world) as it:
        await it.shown("★ Q4_K_M")
        await it.press(key)
        await until(it.pilot.pause, lambda: it.app._exit)
        assert it.app.return_value == 0
        assert world.opened == []


async def test_what_is_here_already_is_opened_without_a_pull() -> None:
    world = World(Sight(MACHINE, offers(here=True)))
    async with at_the_table(world) as it:
        await it.shown("here")
        await it.press("enter")
        await it.shown("● ready", "Magistral Small 1.2 Q4_K_M")


async def test_a_machine_that_cannot_be_looked_at_still_has_the_demo() -> None:
    class Dark(World):
        def look(self) -> Sight:
            raise RunFailed("It broke.", "Mend it.")

    world = Dark()
    async with at_the_table(world) as it:
        await it.shown("It broke. Mend it.")
        await it.press("enter")
        await it.shown("● ready")
        assert world.opened == ["demo:Q8_0"]


async def test_what_gave_way_so_that_it_fits_is_told_and_the_context_is_the_true_one() -> None:
    def open_conversation(report: Report, cancel: Cancel) -> ScriptedConversation:
        report(Fitted(2048, ("To fit this machine, the context is 2,048 tokens.",)))
        return ScriptedConversation(reply("", "Hello."))

    async with running(ChatApp(open_conversation, LABEL), (100, 24)) as it:
        await it.shown("● ready", "/ 2,048", "To fit this machine, the context is")


async def test_a_mouse_will_do() -> None:
    world = World()
    async with at_the_table(world) as it:
        await it.shown("★ Q4_K_M", "localmag demo", "Try the demo")
        rows = it.text.splitlines()
        place = next(n for n, line in enumerate(rows) if "✓ Q8_0" in line)
        await it.pilot.click(offset=(10, place))
        await it.shown("● ready", "localmag demo")
        assert world.opened == ["demo:Q8_0"]


async def test_what_is_being_written_comes_along_to_another_model() -> None:
    async with in_a_chat(World()) as it:
        it.chat.composer.insert("half a question")
        it.app.get_model()
        await it.shown("Get a model", "What the open model holds counts as taken.")
        await it.press("end", "enter")
        await it.shown("● ready", "localmag demo", "half a question")


async def test_esc_leads_back_to_the_chat_as_it_was() -> None:
    world = World()
    async with in_a_chat(world) as it:
        chat = it.chat
        it.app.get_model()
        await it.shown("Get a model", "esc Back")
        await it.press("escape")
        await it.shown("● ready")
        assert it.app.chat is chat
        assert world.opened == []


async def test_a_model_that_cannot_be_opened_is_told_and_the_table_stays() -> None:
    world = World(Sight(MACHINE, offers(here=True)))
    world.failure = RunFailed("It cannot be opened.", "Mend it.")
    async with at_the_table(world) as it:
        await it.shown("★ Q4_K_M")
        await it.press("enter")
        await it.shown("It cannot be opened.", "Mend it.", "★ Q4_K_M")


async def test_a_pull_that_was_backed_out_of_is_not_where_the_next_one_begins() -> None:
    async with in_a_chat(World()) as it:
        it.app.get_model()
        await it.shown("Get a model", "★ Q4_K_M")
        await it.press("enter")
        await it.shown("is not here yet", "Try again")  # no hub is there
        await it.press("escape")
        await it.shown("Get a model", "★ Q4_K_M")
        await it.press("escape")
        await it.shown("● ready")
        it.app.get_model()
        await it.shown("Get a model", "★ Q4_K_M")


async def test_back_at_the_table_what_was_seen_is_there_at_once_and_then_looked_at_again() -> None:
    class Slow(World):
        quick = threading.Event()

        def look(self) -> Sight:
            if not self.quick.wait(20):
                raise RunFailed("Nobody opened it.", "Look why.")
            return self.sight

    world = Slow()
    world.quick.set()
    async with at_the_table(world) as it:
        await it.shown("★ Q4_K_M")
        await it.press("enter")
        await it.shown("Try again")
        world.quick.clear()
        await it.press("escape")
        await it.shown("★ Q4_K_M", MACHINE)
        await it.press("down")
        world.sight = Sight("Another machine", offers())
        world.quick.set()
        await it.shown("Another machine", "Needs 55.1 GB")


async def test_the_table_can_be_left_while_it_looks() -> None:
    class Slow(World):
        looked = threading.Event()

        def look(self) -> Sight:
            self.looked.wait(20)
            return self.sight

    world = Slow()
    async with in_a_chat(world) as it:
        it.app.get_model()
        await it.shown("Looking at what this machine can hold")
        await it.press("escape")
        await it.shown("● ready")
        world.looked.set()
        await it.pilot.pause(0.2)
        assert it.app.screen is it.chat
