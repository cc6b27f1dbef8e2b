"""F1 and the command palette: what each screen says of its own keys, and what can be done there."""

from __future__ import annotations

import pytest
from textual.events import Key, Paste

from localmag.tui.screens.help import CHAT, folded
from tests.tui.driving import Driver, driven, running
from tests.tui.fakes import app_of
from tests.tui.newcomer import World, at_the_table, in_a_chat, offers

pytestmark = pytest.mark.anyio


async def commands(it: Driver) -> str:
    """What the palette offers."""
    await it.press("ctrl+p")
    await it.shown("Search for commands", "Theme", "Quit")
    await it.pilot.pause(0.3)
    return it.text


async def test_the_table_tells_its_own_keys() -> None:
    async with at_the_table(World()) as it:
        await it.shown("★ Q4_K_M")
        await it.press("f1")
        await it.shown("Keys", "the demo, which is here already", "Any key closes this.")
        assert "reasoning" not in it.text.lower()
        await it.press("x")
        await it.gone("Any key closes this.")
        await it.shown("★ Q4_K_M")


async def test_enter_gets_what_is_not_here_and_opens_what_is() -> None:
    async with at_the_table(World()) as it:
        await it.shown("★ Q4_K_M", "⏎ Get it")
        await it.press("up")  # round to the last, the demo
        await it.shown("⏎ Open it")
        await it.gone("⏎ Get it")
        await it.press("down")
        await it.shown("⏎ Get it")


def test_on_a_narrow_screen_what_keys_do_is_folded() -> None:
    lines = folded(CHAT, 50).splitlines()
    assert max(map(len, lines)) <= 50
    assert " ".join(" ".join(lines).split()).startswith("Enter send; while a reply comes in, send next")
    assert len(folded(CHAT, 100).splitlines()) == len(CHAT)


def test_on_a_very_narrow_screen_what_keys_do_stands_below_them() -> None:
    lines = folded(CHAT, 28).splitlines()
    assert max(map(len, lines)) <= 28
    assert lines[:4] == ["Enter", "  send; while a reply comes", "  in, send next", "Ctrl+J, Shift+Enter"]
    assert folded(CHAT, 1)


@pytest.mark.parametrize("width", [30, 40, 49])
async def test_the_help_of_a_narrow_screen_cuts_off_no_word(width: int) -> None:
    async with driven(app_of(), (width, 90)) as it:
        await it.press("f1")
        await it.shown("Keys")
        for word in ("while", "reply", "comes", "next", "what", "before", "Any", "closes"):
            assert word in it.text, word


def at_once(it: Driver, *keys: str) -> None:
    """As one read of the terminal brings them: none is handled before all are there."""
    for key in keys:
        it.app.post_message(Key(key, key if len(key) == 1 else "\r" if key == "enter" else None))


@pytest.mark.parametrize("opened", [["f1"], ["question_mark"]])
async def test_what_is_written_over_the_help_closes_it_and_goes_to_the_box(opened: list[str]) -> None:
    async with running(app_of()) as it:
        await it.press(*opened)
        await it.shown("Any key closes this.")
        at_once(it, *"hello")
        await it.gone("Any key closes this.")
        assert it.chat.composer.text == "hello"
        await it.press("f1")
        await it.shown("Any key closes this.")
        it.app.post_message(Paste(" and more"))
        await it.gone("Any key closes this.")
        assert it.chat.composer.text == "hello and more"
        at_once(it, "f1", " ", "!", "f1", "f1", "?")
        await it.pilot.pause(0.1)
        assert it.chat.composer.text == "hello and more !?"
        assert it.app.screen is it.chat


@pytest.mark.parametrize("keys", [["enter", "enter"], ["space", "enter"], ["f1", "f1"], ["escape"] * 3])
async def test_a_key_that_writes_nothing_only_closes_the_help(keys: list[str]) -> None:
    async with running(app_of()) as it:
        await it.press("f1")
        await it.shown("Any key closes this.")
        at_once(it, *keys)
        await it.pilot.pause(0.1)
        assert it.chat.composer.text == ""
        at_once(it, "escape")
        await it.gone("Any key closes this.")


@pytest.mark.parametrize("keys", [["enter", "enter"], ["escape", "escape"], ["enter", "escape", "enter"]])
async def test_keys_that_leave_the_palette_twice_leave_the_chat(keys: list[str]) -> None:
    async with running(app_of()) as it:
        await commands(it)
        at_once(it, *keys)
        await it.gone("Search for commands")
        await it.pilot.pause(0.1)
        assert it.app.screen_stack[0] is it.chat


async def test_keys_that_leave_the_table_twice_leave_the_chat() -> None:
    world = World()
    async with in_a_chat(world) as it:
        it.app.get_model()
        await it.shown("Get a model", "esc Back")
        at_once(it, "escape", "d", "q")
        await it.shown("● ready")
        assert it.app.screen is it.chat
        assert world.opened == []


async def test_the_pull_tells_its_own_keys() -> None:
    async with at_the_table(World()) as it:
        await it.shown("★ Q4_K_M")
        await it.press("enter")
        await it.shown("Magistral Small 1.2 Q4_K_M is not here yet", "Try again")  # no hub is there
        await it.press("f1")
        await it.shown("stop and keep what has arrived", "Any key closes this.")
        assert "the demo, which is here already" not in it.text


async def test_the_chat_tells_those_of_the_chat() -> None:
    async with in_a_chat(World()) as it:
        await it.press("f1")
        await it.shown("show or hide the reasoning", "Click an answer to see its reasoning.")


async def test_the_palette_offers_what_means_something_there() -> None:
    async with at_the_table(World()) as it:
        await it.shown("★ Q4_K_M")
        told = await commands(it)
        for stranger in ("Screenshot", "Maximize", "Minimize", "Copy the answer", "Get a model"):
            assert stranger not in told
    async with in_a_chat(World()) as it:
        told = await commands(it)
        assert "Get a model" in told
        assert "Screenshot" not in told


async def test_each_hint_stands_once_and_none_leads_to_where_one_is() -> None:
    async with at_the_table(World()) as it:
        await it.shown("★ Q4_K_M", "d Try the demo", "^q Quit")
        assert it.text.count("Quit") == 1
        await it.press("enter")
        await it.shown("Try again", "d Try the demo")
        assert "Chat meanwhile" not in it.text
        await it.press("d")
        await it.shown("● ready", "localmag demo")
        it.app.get_model()
        await it.shown("is not here yet", "b Chat meanwhile", "esc Back")
        assert "Try the demo" not in it.text
        await it.press("escape")
        await it.shown("★ Q4_K_M", "esc Back", "^q Quit")
        assert "Try the demo" not in it.text
        await it.press("d")
        await it.press("escape")
        await it.shown("● ready", "localmag demo")


async def test_keys_can_be_asked_for_from_the_palette() -> None:
    async with at_the_table(World()) as it:
        await it.shown("★ Q4_K_M")
        await it.press("ctrl+p")
        await it.shown("Search for commands", "What they do on this screen")
        await it.press("f1")
        await it.shown("the demo, which is here already")


async def test_a_build_that_was_named_is_where_the_table_begins() -> None:
    from localmag.tui.getting.offers import Models, Wish

    class Named(World):
        def models(self) -> Models:
            return Models(self.look, self.opening, Wish(model="ministral-3-3b", quant="q4_k_m"))

    async with at_the_table(Named()) as it:
        await it.shown("Ministral 3 Reasoning 3B is not on this machine yet.", "Smaller, and quick.")
        assert offers()[2].name.startswith("ministral")
