"""From one conversation to another on the screen: real conversations on disk, engines that play scenes."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from localmag.chat import Conversation
from localmag.errors import NotFound, RunFailed
from localmag.sessions import Session, Sessions
from localmag.tui.app import ChatApp
from localmag.tui.opening import Chats, Label, Opening
from localmag.tui.worker import Report
from localmag.types import Cancel, Done, Event, Message, Stop, TextDelta, Timing, Turn, Usage
from tests.stage import END, REPLY, SETUP, Scene, Stage
from tests.tui.driving import Driver, driven
from tests.tui.fakes import LABEL, app_of, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

ASKED = ("What is a monad?", "How do bees fly?", "What is a bee made of?")


def endless(turn: Turn, cancel: Cancel) -> Iterator[Event]:
    yield TextDelta("and so on")
    while not cancel.is_set():
        threading.Event().wait(0.01)
    yield Done(Stop.CANCELLED, Usage(), Timing())


@dataclass(slots=True)
class World:
    """The conversations on disk, and how the next ones that are opened reply."""

    sessions: Sessions
    scenes: list[tuple[Event, ...] | Scene] = field(default_factory=lambda: [REPLY] * 9)
    failure: Exception | None = None

    def chats(self) -> Chats:
        return Chats(self.sessions.list, self.opening)

    def opening(self, session: Session | None = None) -> Opening:
        if self.failure:
            raise self.failure

        def open_conversation(report: Report, cancel: Cancel) -> Conversation:
            engine = Stage(*self.scenes)
            if session is None:
                return Conversation.new(self.sessions, engine, SETUP)
            return Conversation.resume(self.sessions, session.id, engine, SETUP)

        return Opening(open_conversation, Label("demo", "Q8_0"), "Ask something.")

    def written(self) -> dict[str, int]:
        """Titles, and how many messages each conversation has."""
        return {session.title: session.messages for session in self.sessions.list()}


@pytest.fixture
def world(sessions: Sessions) -> World:
    for text in ASKED:
        talk = Conversation.new(sessions, Stage(REPLY), SETUP)
        assert END in list(talk.send(text, threading.Event()))
    return World(sessions)


@asynccontextmanager
async def chatting(world: World, size: tuple[int, int] = (100, 24)) -> AsyncIterator[Driver]:
    app = ChatApp(world.opening().open, LABEL, chats=world.chats())
    async with driven(app, size) as it:
        await it.shown("● ready")
        yield it


async def say(it: Driver, text: str) -> None:
    await it.say(text)
    await it.shown(f"▌ {text}", "It is 834.", "● done")


def listed(it: Driver) -> list[str]:
    """Titles, from the top of the list down."""
    rows = [line for line in it.text.splitlines() if "  demo" in line]
    return [line.rstrip().removesuffix("  demo")[20:].strip() for line in rows]


# ── A new one ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_conversation_leaves_the_one_before_on_disk(world: World) -> None:
    async with chatting(world) as it:
        await say(it, "What is 478 + 356?")
        await it.press("ctrl+n")
        await it.gone("▌ What is 478 + 356?")
        await it.shown("● ready", "Ask something.")
        await say(it, "What is 1 + 1?")
        assert world.written() == dict.fromkeys(["What is 1 + 1?", "What is 478 + 356?", *reversed(ASKED)], 2)


async def test_one_in_which_nothing_was_said_is_new_already(world: World) -> None:
    async with chatting(world) as it:
        chat = it.chat
        it.chat.composer.insert("half a")
        await it.press("ctrl+n")
        await it.shown("This conversation is a new one.", "half a")
        assert it.chat is chat


async def test_keys_are_for_a_screen_that_is_composed(world: World) -> None:
    """Several that arrive together reach the app while the next screen is still being made."""
    app = ChatApp(world.opening().open, LABEL, chats=world.chats())
    asked = ((app.chat, "stop"), (app.chat, "toggle_reasoning"), (app, "new_conversation"))
    assert not any(where.check_action(action, ()) for where, action in asked)
    async with driven(app, (100, 24)) as it:
        await it.shown("● ready")
        assert all(where.check_action(action, ()) for where, action in asked)


async def test_the_key_stops_a_reply_only_if_it_is_pressed_twice(world: World) -> None:
    world.scenes = [endless]
    async with chatting(world) as it:
        await it.say("What is 478 + 356?")
        await it.shown("and so on", "● answering")
        await it.press("ctrl+n")
        await it.shown("Press Ctrl+N again to stop the reply", "● answering")
        await it.press("ctrl+n")
        await it.shown("● ready", "Ask something.")
    *_, entry = world.sessions.load(world.sessions.latest().id).entries
    assert entry.message == Message.of("assistant", "and so on")
    assert entry.outcome
    assert entry.outcome.stop is Stop.CANCELLED


async def test_what_is_not_sent_stays_with_its_conversation(world: World) -> None:
    async with chatting(world) as it:
        await say(it, "What is 478 + 356?")
        it.chat.composer.insert("half a question")
        await it.press("ctrl+n")
        await it.shown("● ready", "Ask something.")
        assert it.chat.composer.text == ""
        await it.press("ctrl+o")
        await it.shown("What is 478 + 356?")
        await it.press("enter")
        await it.shown("▌ What is 478 + 356?", "│ half a question")


async def test_what_is_written_while_a_conversation_is_left_comes_along(world: World) -> None:
    leaving, release = threading.Event(), threading.Event()

    def slow(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        yield TextDelta("slow")
        while not cancel.is_set():
            threading.Event().wait(0.01)
        leaving.set()
        release.wait(20)
        yield Done(Stop.CANCELLED, Usage(), Timing())

    world.scenes = [slow]
    async with chatting(world) as it:
        await it.say("What is 478 + 356?")
        await it.shown("slow")
        it.chat.composer.insert("before")
        it.app.new_conversation()
        await until(it.pilot.pause, leaving.is_set)
        it.chat.composer.insert(" and after")
        await it.press("enter")
        release.set()
        await it.shown("● ready", "Ask something.")
        assert it.chat.composer.text == " and after"
    assert "slow" in world.sessions.load(world.sessions.latest().id).entries[-1].message.text


# ── An earlier one ────────────────────────────────────────────────────────────────────────────────


async def test_earlier_conversations_are_listed_the_last_one_first_and_one_goes_on(world: World) -> None:
    async with chatting(world) as it:
        await say(it, "What is 478 + 356?")
        await it.press("ctrl+o")
        await it.shown("Earlier conversations", "● ", *ASKED)
        assert listed(it) == ["What is 478 + 356?", *reversed(ASKED)]
        await it.press("down", "down", "enter")  # from the first that is not open
        await it.shown("▌ What is a monad?", "It is 834.", "● done")
        await say(it, "And in Haskell?")
    assert world.written()["What is a monad?"] == 4


async def test_what_is_typed_leaves_the_titles_that_hold_it(world: World) -> None:
    async with chatting(world) as it:
        await it.press("ctrl+o")
        await it.shown(*ASKED)
        await it.press(*"BEE what")
        await until(it.pilot.pause, lambda: listed(it) == ["What is a bee made of?"])
        await it.press(*"xyz", "enter")
        await it.shown("No title holds that.")
        await it.press(*["backspace"] * 8)
        await until(it.pilot.pause, lambda: listed(it) == ["What is a bee made of?", "How do bees fly?"])
        await it.press(*" fly", "enter")
        await it.shown("▌ How do bees fly?", "● done")


async def test_esc_leads_back_and_so_does_the_one_that_is_open(world: World) -> None:
    async with chatting(world) as it:
        await say(it, "What is 478 + 356?")
        chat = it.chat
        for key in (["escape"], ["up", "enter"]):
            it.app.earlier_conversations()
            await it.shown("Earlier conversations", *ASKED)
            await it.press(*key)
            await it.shown("▌ What is 478 + 356?")
            assert it.chat is chat
        await say(it, "Now add 12.")


async def test_where_there_are_none_the_list_says_so(sessions: Sessions) -> None:
    async with chatting(World(sessions)) as it:
        await it.press("ctrl+o")
        await it.shown("There are none yet.")
        await it.press("enter", "escape")
        await it.shown("● ready")


async def test_what_cannot_be_read_or_opened_is_told_and_the_chat_goes_on(world: World) -> None:
    async with chatting(world) as it:
        world.failure = NotFound("No weights of that are here.", "Pull them.")
        await it.press("ctrl+o")
        await it.shown(*ASKED)
        await it.press("enter")
        await it.shown("No weights of that are here. Pull them.", "How do bees fly?")
        await it.press("escape")
        await say(it, "What is 478 + 356?")


async def test_a_list_that_cannot_be_read_says_why(world: World) -> None:
    def broken() -> tuple[Session, ...]:
        raise RunFailed("The disk is gone.", "Look for it.")

    app = ChatApp(world.opening().open, LABEL, chats=Chats(broken, world.opening))
    async with driven(app) as it:
        await it.shown("● ready")
        await it.press("ctrl+o")
        await it.shown("The disk is gone. Look for it.")
        await it.press("escape")
        await it.shown("● ready")


async def test_a_mouse_opens_one_too(world: World) -> None:
    async with chatting(world) as it:
        await it.press("ctrl+o")
        await it.shown(*ASKED)
        row = next(n for n, line in enumerate(it.text.splitlines()) if "bees" in line)
        await it.pilot.click(offset=(30, row))
        await it.shown("▌ How do bees fly?", "● done")


async def test_keys_that_arrive_together_mean_what_they_would_one_by_one(world: World) -> None:
    async with chatting(world) as it:
        await it.press("ctrl+o")
        await it.shown(*ASKED)
        for key in ("b", "e", "e", "down", "enter", "escape"):
            it.app.simulate_key(key)
        await it.shown("▌ How do bees fly?", "● done")


@pytest.mark.parametrize("size", [(20, 6), (40, 12), (200, 50)])
async def test_the_list_stands_on_small_and_large_screens(world: World, size: tuple[int, int]) -> None:
    world.sessions.rename(world.sessions.latest().id, "日本語の長い題名 \x1b[2J\r" * 9)
    async with chatting(world, (100, 24)) as it:
        await it.press("ctrl+o")
        await it.shown("How do bees fly?")
        await it.pilot.resize_terminal(*size)
        await it.pilot.pause(0.2)
        assert "\x1b" not in it.text
        assert size[0] < 40 or "20" in it.text
        await it.pilot.resize_terminal(100, 24)
        await it.shown("How do bees fly?")


async def test_what_is_pasted_into_the_sieve_does_not_steer_the_terminal(world: World) -> None:
    from textual.events import Paste

    async with chatting(world) as it:
        await it.press("ctrl+o")
        await it.shown(*ASKED)
        it.app.post_message(Paste("\x1b]52;c;cm0=\x07bee"))
        await it.shown("No title holds that.")
        assert not [c for c in it.text if ord(c) < 32 and c != "\n"]


async def test_both_are_in_the_palette_where_there_are_conversations(world: World) -> None:
    async with chatting(world) as it:
        await say(it, "What is 478 + 356?")
        await it.press("ctrl+p")
        await it.shown("New conversation", "Earlier conversations…")
        await it.press(*"new conv", "enter")
        await it.shown("● ready", "Ask something.")
        await it.press("ctrl+o")
        await it.shown("Earlier conversations")
        await it.press("f1")
        await it.shown("only those whose titles hold what you type")


async def test_where_there_are_no_conversations_to_choose_from_the_keys_do_nothing() -> None:
    async with driven(app_of(REPLY)) as it:
        await it.shown("● ready")
        await it.press("ctrl+n", "ctrl+o")
        await say(it, "What is 478 + 356?")
        await it.press("ctrl+p")
        await it.shown("Search for commands")
        assert "conversation" not in it.text
