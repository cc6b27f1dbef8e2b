"""Writing on the chat screen: the composer, what is sent next, and what is not sent when the user leaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from textual.events import Paste

from localmag.errors import WrongUsage
from localmag.tui.app import ChatApp
from localmag.tui.screens.help import HelpScreen
from localmag.types import Cancel, Event, TextDelta
from tests.tui.driving import Driver, running
from tests.tui.fakes import DONE, LABEL, Gate, ScriptedConversation, app_of, until

pytestmark = pytest.mark.timeout(180)


# ── The composer ──────────────────────────────────────────────────────────────────────────────────


async def test_new_lines_paste_and_growth_of_the_composer() -> None:
    talk = ScriptedConversation()
    async with running(ChatApp(talk.opener(), LABEL)) as it:
        composer = it.chat.composer
        assert composer.outer_size.height == 3
        await it.press("a", "ctrl+j", "b", "shift+enter", "c")
        await it.pilot.pause()
        assert composer.text == "a\nb\nc"
        assert composer.outer_size.height == 5
        composer.insert("\n" * 30)
        await it.pilot.pause()
        assert composer.outer_size.height == 10
        composer.load_text("")
        it.app.post_message(Paste("one\r\ntwo\nthree"))
        await it.pilot.pause()
        await it.press("enter")
        await it.settle()
        assert [text.splitlines() for text in talk.sent] == [["one", "two", "three"]]
        assert composer.text == ""
        await it.press("space", "enter")
        assert len(talk.sent) == 1


async def test_up_and_down_recall_what_was_sent_and_keep_the_draft() -> None:
    async with running(app_of()) as it:
        for text in ("first", "second\nline", "second\nline"):
            await it.say(text)
            await it.settle()
        composer = it.chat.composer
        composer.insert("draft")
        seen = []
        for key in ("up", "up", "up", "up", "down", "down", "down"):
            await it.press(key)
            seen.append(composer.text)
        assert seen == [
            "second\nline",
            "second\nline",
            "first",
            "first",
            "second\nline",
            "draft",
            "draft",
        ]
        await it.press("up", "!", "up", "up", "down", "down")
        assert composer.text == "second\nline!"


async def test_what_is_sent_while_a_reply_comes_in_is_sent_next() -> None:
    gate = Gate()
    talk = ScriptedConversation([TextDelta("one"), gate, DONE], [TextDelta("two"), DONE])
    async with running(ChatApp(talk.opener(), LABEL)) as it:
        await it.say("first")
        await it.shown("● answering")
        await it.say("second")
        await it.shown("1 to send next: second")
        assert talk.sent == ["first"]
        gate.open()
        await it.shown("two", "● done")
        assert "one" in it.text
        assert talk.sent == ["first", "second"]
        assert "to send next" not in it.text


async def test_stopping_gives_back_what_was_to_be_sent_next() -> None:
    talk = ScriptedConversation([TextDelta("one"), Gate(), DONE])
    async with running(ChatApp(talk.opener(), LABEL)) as it:
        await it.say("first")
        await it.shown("● answering")
        await it.say("second")
        it.chat.composer.insert("third, half wri")
        await it.press("escape")
        await it.shown("● stopped")
        await it.pilot.pause()
        assert it.chat.composer.text == "second\n\nthird, half wri"
        assert talk.sent == ["first"]


async def test_help_opens_and_any_key_closes_it() -> None:
    async with running(app_of()) as it:
        for key in ("f1", "question_mark"):
            await it.press(key)
            await until(it.pilot.pause, lambda: isinstance(it.app.screen, HelpScreen))
            await it.shown("stop the reply and keep what has arrived")
            await it.press("escape")
            await until(it.pilot.pause, lambda: it.app.screen is it.chat)
        assert it.chat.composer.text == ""
        await it.press("a", "question_mark")
        assert it.chat.composer.text == "a?"


# ── Leaving ───────────────────────────────────────────────────────────────────────────────────────


async def test_leaving_while_it_writes_lets_the_partial_reply_be_saved() -> None:
    talk = ScriptedConversation([TextDelta("partial"), Gate(), DONE])
    app = ChatApp(talk.opener(), LABEL)
    async with running(app) as it:
        await it.say("Go")
        await it.shown("partial")
        it.chat.composer.insert("unsent")
        await it.press("ctrl+q")
        await until(it.pilot.pause, lambda: it.app._exit)
    assert app.chat.turns.close(20)
    assert talk.closed
    assert talk.kept[-1] == "unsent"
    assert app.chat.turns.kept_in == ""


async def test_what_is_not_sent_is_kept_while_it_is_written_and_is_there_again() -> None:
    talk = ScriptedConversation([TextDelta("partial"), Gate(), DONE])
    talk.left = "from yesterday"
    async with running(ChatApp(talk.opener(), LABEL)) as it:
        assert it.chat.composer.text == "from yesterday"
        await it.press("!")
        await until(it.pilot.pause, lambda: talk.kept[-1:] == ["from yesterday!"])
        await it.press("enter")
        await it.shown("partial")
        await until(it.pilot.pause, lambda: talk.kept[-1:] == [""])
        await it.say("next")
        it.chat.composer.insert("after that")
        await until(it.pilot.pause, lambda: talk.kept[-1:] == ["next\n\nafter that"])


async def test_a_message_that_was_not_taken_counts_as_not_sent() -> None:
    talk = ScriptedConversation()

    def send(text: str, cancel: Cancel) -> Iterator[Event]:
        Gate().wait(cancel)
        raise WrongUsage("It has gone on elsewhere.", "Look there.")

    talk.send = send  # type: ignore[method-assign]
    app = ChatApp(talk.opener(), LABEL)
    async with running(app) as it:
        await it.say("Go")
        await until(it.pilot.pause, lambda: talk.kept[-1:] == ["Go"])
    assert (app.chat.turns.unsent, talk.kept[-1]) == ("Go", "Go")


async def test_ctrl_c_stops_then_clears_the_box_and_then_twice_leaves() -> None:
    async with running(app_of([TextDelta("partial"), Gate(), DONE])) as it:
        await it.say("Go")
        await it.shown("partial")
        it.chat.composer.insert("half a\nquestion")
        await it.press("ctrl+c")
        await it.shown("● stopped")
        assert it.chat.composer.text == "half a\nquestion"
        await it.press("ctrl+c")
        assert it.chat.composer.text == ""
        assert "to quit" not in it.text
        await it.press("up")
        assert it.chat.composer.text == "half a\nquestion"
        await it.press("down", "ctrl+c")
        await it.shown("Press Ctrl+C again to quit.")
        assert not it.app._exit
        await it.press("ctrl+c")
        await until(it.pilot.pause, lambda: it.app._exit)


async def test_ctrl_c_leaves_although_a_reply_does_not_stop() -> None:
    class Deaf(Gate):
        def wait(self, cancel: Cancel) -> None:
            self._open.wait(20)

    deaf = Deaf()
    async with running(app_of([TextDelta("partial"), deaf, DONE])) as it:
        await it.say("Go")
        await it.shown("partial")
        await it.press("ctrl+c", "ctrl+c")
        await it.shown("Press Ctrl+C again to quit.")
        await it.press("ctrl+c")
        await until(it.pilot.pause, lambda: it.app._exit)
        deaf.open()


async def test_what_is_told_for_a_while_stands_above_the_box() -> None:
    async with running(app_of([TextDelta("one"), Gate(), DONE]), (80, 24)) as it:
        for written in ("", "a\nb\nc\nd\ne"):
            it.chat.composer.load_text(written)
            it.app.notify(f"Something to know of {len(written)}.")
            await it.shown(f"Something to know of {len(written)}.")
            await until(it.pilot.pause, lambda: _toasts_end(it) <= it.chat.composer.region.y)
        it.chat.composer.load_text("")
        await it.say("first")
        await it.say("second")
        await it.shown("1 to send next: second")
        await until(it.pilot.pause, lambda: _toasts_end(it) <= it.chat.query_one("#queue").region.y)


def _toasts_end(it: Driver) -> int:
    return max(toast.region.bottom for toast in it.chat.query("Toast"))
