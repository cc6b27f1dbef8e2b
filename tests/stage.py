"""A conversation whose engine plays scenes that a test has written."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from localmag.chat import Conversation
from localmag.errors import EngineDied
from localmag.sessions import Sessions, Setup
from localmag.types import (
    Cancel,
    Done,
    Event,
    Loading,
    Message,
    Prefill,
    Sampling,
    Stop,
    Text,
    TextDelta,
    Thinking,
    ThinkingClosed,
    ThinkingDelta,
    Timing,
    Turn,
    Usage,
)

SETUP = Setup("demo", "demo:Q8_0", "llama.cpp", Sampling(0.7, 0.95), 512)
SYSTEM = Message.of("system", "Think first.")
END = Done(Stop.END, Usage(20, 0, 5, 3), Timing(0.1, 0.2, 0.3, 0.4, 20.0))
REPLY: tuple[Event, ...] = (
    Loading(1.0),
    Prefill(20, 20),
    ThinkingDelta(""),
    ThinkingDelta("478 + 356"),
    ThinkingDelta(" = 834"),
    ThinkingClosed(5, 1.5),
    TextDelta("It is "),
    TextDelta("834."),
    END,
)
PARTS = (Thinking("478 + 356 = 834"), Text("It is 834."))
NEVER = threading.Event()

Scene = Callable[[Turn, Cancel], Iterator[Event]]


class Stage:
    """An engine that plays its scenes one after the other, and remembers what it was asked."""

    def __init__(self, *scenes: tuple[Event, ...] | Scene) -> None:
        self.scenes = list(scenes)
        self.turns: list[Turn] = []
        self.left = 0

    def reply(self, turn: Turn, cancel: Cancel) -> Iterator[Event]:
        self.turns.append(turn)
        scene = self.scenes.pop(0)
        try:
            yield from scene if isinstance(scene, tuple) else scene(turn, cancel)
        finally:
            self.left += 1

    def close(self) -> None: ...


def dying(*events: Event, error: Exception | None = None) -> Scene:
    def scene(turn: Turn, cancel: Cancel) -> Iterator[Event]:
        yield from events
        raise error or EngineDied("The engine died (signal 9).", "Ask again; it restarts.")

    return scene


def reread(sessions: Sessions, talk: Conversation) -> tuple[tuple[object, ...], ...]:
    """The conversation as another program finds it."""
    assert talk.id is not None
    with Sessions(sessions.path) as other:
        return tuple((e.message, e.setup, e.outcome) for e in other.load(talk.id).entries)


def in_memory(talk: Conversation) -> tuple[tuple[object, ...], ...]:
    return tuple((e.message, e.setup, e.outcome) for e in talk.entries)


def intact(path: Path) -> None:
    """No kill has left the database broken, or anything in it or beside it half done."""
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert db.execute("SELECT count(*) FROM arrivals").fetchone() == (0,)
    db.close()
    assert [p.name for p in path.parent.iterdir() if "-writing-" in p.name] == []
