"""Engines in their own process that a test starts and watches."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localmag.engines import EngineSpec
from localmag.engines.host import HostedEngine
from localmag.types import Done, Event, Message, Sampling, TextDelta, Turn

Spec = Callable[..., EngineSpec]
Hosted = Callable[[EngineSpec], HostedEngine]

GREEDY = Sampling(temperature=0)
ASKED = Turn((Message.of("user", "How many?"),), Sampling(temperature=0), 10_000)
SOON = 1.0
"""Seconds that stand for `at once` on a busy machine; the bench measures the real ones."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups are POSIX's")


class AtLook:
    """A `Cancel` that is set from so many looks at it on."""

    def __init__(self, looks: int) -> None:
        self._left = looks

    def is_set(self) -> bool:
        self._left -= 1
        return self._left <= 0


def spell(words: str) -> list[int]:
    return [1_000 + byte for byte in words.encode()]


HELLO = spell("hello")
LONG = spell("x" * 3_000)


def asking(*texts: str, sampling: Sampling = GREEDY, most: int = 400) -> Turn:
    """A question, and what else was said before it: user and assistant in turn."""
    roles = ("user", "assistant")
    said = [Message.of(roles[place % 2], text) for place, text in enumerate(texts)]  # type: ignore[arg-type]
    return Turn(tuple(said), sampling, most)


def reply(engine: HostedEngine, cancel: threading.Event | None = None) -> tuple[list[Event], Done]:
    *events, done = engine.reply(ASKED, cancel or threading.Event())
    assert isinstance(done, Done)
    return events, done


def until(engine: HostedEngine, enough: Callable[[Event], bool]) -> tuple[list[Event], Iterator[Event]]:
    """The events up to one that is enough, and the rest of the reply."""
    events = engine.reply(ASKED, threading.Event())
    seen: list[Event] = []
    for event in events:
        seen.append(event)
        if enough(event):
            return seen, events
    raise AssertionError("the reply ended before")


def is_text(event: Event) -> bool:
    return isinstance(event, TextDelta)


def begins(engine: HostedEngine) -> bool:
    """Whether a reply gets as far as its first text; the rest is not waited for."""
    seen, rest = until(engine, is_text)
    rest.close()  # type: ignore[attr-defined]
    return bool(seen)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def gone(pid: int, within: float = 5) -> bool:
    end = time.monotonic() + within
    while running(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
