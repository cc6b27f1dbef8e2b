"""What stands behind the chat screen, with the real engine and no screen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from localmag import tui
from localmag.chat import Conversation
from localmag.cli import options
from localmag.cli.desk import Desk, earlier
from localmag.errors import WrongUsage
from localmag.sessions import Session, Sessions, contexts
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

    def engine(self) -> int | None:
        """Its process."""
        assert self.desk._running
        return self.desk._running.engine.pid

    def _opened(self, opening: tui.Opening) -> Conversation:
        talk = opening.open(self.reports.append, self.cancel)
        assert isinstance(talk, Conversation)
        return talk


@pytest.fixture
def screen() -> Iterator[Screen]:
    with Desk(demo()) as desk:
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


def test_a_new_conversation_has_the_same_engine_and_reads_only_what_is_new(screen: Screen) -> None:
    talk = screen.open(max_tokens=400)
    first = say(talk, SUM)
    talk.close()
    engine = screen.engine()
    screen.reports.clear()
    again = screen._opened(screen.desk.another())
    assert screen.engine() == engine
    assert again.entries == ()
    assert again.setup.max_tokens == 400
    assert say(again, SUM).usage.cached_tokens >= first.usage.prompt_tokens - 20
    assert talk.id != again.id


def test_an_earlier_one_goes_on_with_what_was_kept_of_it(screen: Screen) -> None:
    talk = screen.open()
    say(talk, SUM)
    talk.close()
    screen.open().close()
    (session,) = earlier()
    assert session.id == talk.id
    again = screen.open(session)
    assert again.entries == talk.entries
    assert say(again, "Now add 12.").usage.cached_tokens > 0
    assert "846" in again.messages[-1].text


def test_other_settings_have_an_engine_of_their_own(screen: Screen) -> None:
    screen.open().close()
    engine = screen.engine()
    screen.open(ctx=512).close()
    assert screen.engine() != engine
    assert tui.Fitted(512) in screen.reports


def test_a_conversation_that_is_answered_elsewhere_is_refused_and_the_next_one_opens(screen: Screen) -> None:
    talk = screen.open()
    say(talk, SUM)
    talk.close()
    (session,) = earlier()
    with Sessions() as elsewhere:
        elsewhere.begin_reply(session.id, talk.setup)
        with pytest.raises(WrongUsage, match="another localmag window"):
            screen.open(session)
        say(screen._opened(screen.desk.another()), SUM)


def test_a_new_conversation_can_be_asked_for_before_the_first_is_open(screen: Screen) -> None:
    say(screen._opened(screen.desk.another()), SUM)
    assert tui.Doing("keeping the context") not in screen.reports
