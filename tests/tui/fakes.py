"""A conversation played from a script, and helpers to look at a screen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from localmag.sessions import Entry
from localmag.tui import Label
from localmag.tui.app import ChatApp
from localmag.tui.worker import Opener, Report
from localmag.types import (
    Cancel,
    Done,
    Event,
    Message,
    Prefill,
    Stop,
    TextDelta,
    ThinkingClosed,
    ThinkingDelta,
    Timing,
    Usage,
)

LABEL = Label("demo", "Q8_0", "llama.cpp", 4096)
USAGE = Usage(prompt_tokens=57, reasoning_tokens=6, answer_tokens=4)
TIMING = Timing(prefill_s=0.1, ttft_s=0.2, decode_s=0.3, decode_tps=31.0)
DONE = Done(Stop.END, USAGE, TIMING)
THINKING = "Units: 8 + 6 = 14, write 4, carry 1. Then 7 + 5 + 1 = 13."
ANSWER = "It is **834**."


def reply(thinking: str = "", answer: str = "", done: Done = DONE) -> list[Event]:
    """The events of one whole reply, a word an event."""
    events: list[Event] = [Prefill(0, 57), Prefill(57, 57)]
    if thinking:
        words = thinking.split(" ")
        events += [ThinkingDelta(w + (" " if i < len(words) - 1 else "")) for i, w in enumerate(words)]
        events.append(ThinkingClosed(len(words), 2.0))
    words = answer.split(" ")
    events += [TextDelta(w + (" " if i < len(words) - 1 else "")) for i, w in enumerate(words)]
    return [*events, done]


class Gate:
    """Put between events: the conversation waits there until the test opens it, or cancels."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def wait(self, cancel: Cancel) -> None:
        while not self._open.wait(0.005) and not cancel.is_set():
            pass


Step = Event | Gate | Exception


class ScriptedConversation:
    """Plays one list of steps per turn; remembers what it was sent."""

    def __init__(self, *turns: Iterable[Step], messages: Sequence[Message] = ()) -> None:
        self._turns = iter(turns)
        self.entries = [Entry(n, message, 0.0) for n, message in enumerate(messages)]
        self.closed = False
        self.sent: list[str] = []
        self.left = ""
        """What an earlier program left unsent."""
        self.kept: list[str] = []

    id = None

    def send(self, text: str, cancel: Cancel) -> Iterator[Event]:
        self.sent.append(text)
        for step in next(self._turns, [DONE]):
            if isinstance(step, Gate):
                step.wait(cancel)
                if cancel.is_set():
                    yield Done(Stop.CANCELLED, USAGE, TIMING)
                    return
            elif isinstance(step, Exception):
                raise step
            else:
                yield step

    def left_unsent(self) -> str:
        return self.left

    def keep_unsent(self, text: str) -> None:
        self.kept.append(text)

    def close(self) -> None:
        self.closed = True

    def opener(self) -> Opener:
        def open_conversation(report: Report, cancel: Cancel) -> ScriptedConversation:
            return self

        return open_conversation


def app_of(*turns: Iterable[Step], messages: Sequence[Message] = (), label: Label = LABEL) -> ChatApp:
    return ChatApp(ScriptedConversation(*turns, messages=messages).opener(), label)


def text_of(app: ChatApp) -> str:
    """What the screen shows, a line a row, without trailing spaces."""
    _, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips[:height])


async def until(pause: Callable[..., object], holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Let the app run until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError("it never came to hold")
        await pause(0.02)  # type: ignore[misc]
