"""The turn loop: order of notes, cancelling, failures that stay where they belong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from localmag.errors import BadFile, EngineDied, RunFailed, WrongUsage
from localmag.tui.worker import Began, Conversation, Ended, Failed, Note, Opened, Report, Turns
from localmag.types import Cancel, Done, Loading, Stop, TextDelta
from tests.tui.fakes import DONE, Gate, ScriptedConversation


class Box:
    """Collects what `Turns` hands out, woken as the screen would be."""

    def __init__(self, open_conversation: Callable[[Report, Cancel], Conversation]) -> None:
        self.woken = threading.Event()
        self.wakes = 0
        self.notes: list[Note] = []
        self.turns = Turns(open_conversation, self._wake)
        self.turns.start()

    def _wake(self) -> None:
        self.wakes += 1
        self.woken.set()

    def until(self, kind: type[Note]) -> list[Note]:
        deadline = time.monotonic() + 20
        while not any(isinstance(note, kind) for note in self.notes):
            assert self.woken.wait(max(0, deadline - time.monotonic())), self.notes
            self.woken.clear()
            self.notes += self.turns.drain()
        seen, self.notes = self.notes, []
        return seen


def test_notes_come_in_the_order_things_happen() -> None:
    box = Box(ScriptedConversation([TextDelta("a"), DONE]).opener())
    assert box.until(Opened) == [Opened(())]
    box.turns.send("hello")
    assert box.until(Ended) == [Began("hello"), TextDelta("a"), DONE, Ended()]
    assert box.turns.close(20)


def test_the_screen_is_woken_once_per_batch() -> None:
    box = Box(ScriptedConversation([TextDelta("x")] * 500 + [DONE]).opener())
    box.until(Opened)
    before = box.wakes
    box.turns.send("hello")
    time.sleep(0.3)
    assert box.wakes == before + 1
    assert len(box.until(Ended)) == 503


def test_stop_reaches_the_conversation() -> None:
    box = Box(ScriptedConversation([TextDelta("a"), Gate(), TextDelta("b"), DONE], [DONE]).opener())
    box.turns.send("hello")
    box.until(TextDelta)
    box.turns.stop()
    stopped = [note for note in box.until(Ended) if isinstance(note, Done)]
    assert [done.stop for done in stopped] == [Stop.CANCELLED]
    box.turns.send("again")
    assert DONE in box.until(Ended)


def test_a_failing_turn_leaves_the_next_one_alone() -> None:
    died = EngineDied("It died.", "Send again.")
    box = Box(ScriptedConversation([TextDelta("a"), died], [TextDelta("b"), DONE]).opener())
    box.turns.send("one")
    assert Failed(died, taken=True) in box.until(Ended)
    box.turns.send("two")
    assert TextDelta("b") in box.until(Ended)


def test_a_bug_is_told_not_swallowed() -> None:
    box = Box(ScriptedConversation([ZeroDivisionError("oops")]).opener())
    box.turns.send("one")
    failed = next(note for note in box.until(Ended) if isinstance(note, Failed))
    assert isinstance(failed.error, RunFailed)
    assert "ZeroDivisionError: oops" in failed.error.what


def test_a_message_that_was_refused_is_not_taken() -> None:
    class Refusing(ScriptedConversation):
        def send(self, text: str, cancel: object) -> object:  # type: ignore[override]
            raise WrongUsage("No.", "Go away.")

    box = Box(Refusing().opener())
    box.turns.send("one")
    failed = next(note for note in box.until(Ended) if isinstance(note, Failed))
    assert not failed.taken


def test_opening_is_tried_again_with_the_next_message() -> None:
    tries: list[int] = []

    def open_conversation(report: Report, cancel: Cancel) -> ScriptedConversation:
        tries.append(1)
        report(Loading(0.5))
        if len(tries) == 1:
            raise BadFile("Broken.", "Mend it.")
        return ScriptedConversation([DONE])

    box = Box(open_conversation)
    failed = box.until(Failed)[-1]
    assert isinstance(failed, Failed)
    assert not failed.taken
    box.turns.send("hello")
    kinds = [type(note) for note in box.until(Ended)]
    assert kinds == [Began, Loading, Opened, Done, Ended]


def test_closing_stops_saves_and_closes_the_conversation() -> None:
    talk = ScriptedConversation([TextDelta("a"), Gate(), DONE])
    box = Box(talk.opener())
    box.turns.send("hello")
    box.until(TextDelta)
    assert box.turns.close(20)
    assert talk.closed


def test_what_closing_cannot_save_is_told() -> None:
    class Unsaved(ScriptedConversation):
        def close(self) -> None:
            raise RunFailed("The disk is full.", "Free some.")

    box = Box(Unsaved().opener())
    box.until(Opened)
    assert box.turns.close(20)
    assert box.turns.closing_error is not None


def test_closing_gives_up_on_an_engine_that_hangs() -> None:
    release = threading.Event()

    class Hanging(ScriptedConversation):
        def close(self) -> None:
            release.wait(30)

    box = Box(Hanging().opener())
    box.until(Opened)
    assert not box.turns.close(0.05)
    release.set()


@pytest.mark.parametrize("drained", [True, False])
def test_what_was_left_unsent_stays_so_where_the_screen_is_left_before_it_shows_it(drained: bool) -> None:
    talk = ScriptedConversation()
    talk.left = "from yesterday"
    opened = threading.Event()
    turns = Turns(talk.opener(), opened.set)
    turns.start()
    assert opened.wait(20)
    if drained:
        assert turns.drain() == [Opened((), "from yesterday")]
    assert turns.close(20, "and today")
    assert talk.kept[-1] == turns.unsent == ("and today" if drained else "from yesterday\n\nand today")


@pytest.mark.parametrize("started", [True, False])
def test_closing_what_never_started_returns(started: bool) -> None:
    turns = Turns(ScriptedConversation().opener(), lambda: None)
    if started:
        turns.start()
    assert turns.close(20)
