"""What stands behind the chat screen, with the real engine and no screen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from localmag import tui
from localmag.chat import Conversation
from localmag.cli import options
from localmag.cli.desk import Desk
from localmag.sessions import Session, contexts
from localmag.types import Done, Stop

SUM = "What is 478 + 356?"


def demo(**changed: Any) -> options.Run:
    plain: dict[str, Any] = dict.fromkeys(
        ("quant", "ctx", "kv", "seed", "top_p", "max_tokens", "system", "keep")
    )
    return options.resolve("demo", backend=options.BackendChoice.llamacpp, **plain | {"temp": 0.0} | changed)


class Screen:
    """Opens one conversation after the other, and sees what is reported."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.cancel = threading.Event()
        self.reports: list[object] = []

    def open(self, past: Session | None = None, **changed: Any) -> Conversation:
        self.reports.clear()
        return self._opened(self.desk.opening(demo(**changed), past))

    def _opened(self, opening: tui.Opening) -> Conversation:
        talk = opening.open(self.reports.append, self.cancel)
        assert isinstance(talk, Conversation)
        return talk


@pytest.fixture
def screen() -> Iterator[Screen]:
    with Desk() as desk:
        yield Screen(desk)


def say(talk: Conversation, text: str) -> Done:
    *_, done = talk.send(text, threading.Event())
    assert isinstance(done, Done)
    assert done.stop is Stop.END
    return done


def test_opening_another_conversation_keeps_the_context_of_the_one_before(screen: Screen) -> None:
    talk = screen.open()
    assert tui.Doing("keeping the context") not in screen.reports
    say(talk, SUM)
    talk.close()
    assert talk.id
    screen.open()
    assert screen.reports[0] == tui.Doing("keeping the context")
    assert contexts.folder(talk.id).is_dir()


def test_who_does_not_want_to_wait_does_not_have_it_kept(screen: Screen) -> None:
    talk = screen.open()
    say(talk, SUM)
    talk.close()
    assert talk.id
    screen.cancel.set()
    again = screen.open()
    assert not contexts.folder(talk.id).exists()
    assert "834" in (say(again, SUM), again.messages[-1].text)[1]
