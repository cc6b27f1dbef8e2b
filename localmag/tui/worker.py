"""The turn loop: a thread that owns the conversation, and a box of notes for the screen.

The conversation (its database, its engine) is opened, used and closed in this one thread. The screen
sends text in, is woken at most once per batch, and takes out all that has arrived since.
"""

from __future__ import annotations

import importlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from localmag.errors import LocalmagError, RunFailed
from localmag.tui.reply import Reply, earlier
from localmag.types import Cancel, Event

if TYPE_CHECKING:  # a database is no part of the first paint
    from localmag.sessions import Entry

_log = logging.getLogger(__name__)


class Conversation(Protocol):
    """What the screen needs of `localmag.chat.Conversation`."""

    @property
    def entries(self) -> Sequence[Entry]: ...

    def send(self, text: str, cancel: Cancel) -> Iterator[Event]: ...

    def close(self) -> None: ...


Report = Callable[[Event], None]
Opener = Callable[[Report], Conversation]
"""Makes the conversation; may report `Loading` events, then or later, from any thread."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The conversation is there, with what was said in it before."""

    earlier: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class Began:
    """The conversation is taking this text now."""

    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Opening or sending raised. `taken` tells whether the conversation holds the message."""

    error: LocalmagError
    taken: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The turn is over, however it went."""


Note = Opened | Began | Failed | Ended | Event


class Turns:
    """Runs one turn after the other in its thread. All methods return at once, except `close`."""

    def __init__(self, open_conversation: Opener, wake: Callable[[], object]) -> None:
        self._open = open_conversation
        self._wake = wake
        self._notes: deque[Note] = deque()
        self._awake = False
        self._texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._cancel = threading.Event()
        self._closing = False
        self.closing_error: LocalmagError | None = None
        """What kept the last reply from being saved, once closed."""
        self._thread = threading.Thread(target=self._run, name="localmag-turns", daemon=True)

    # ── the screen's side ─────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._thread.start()

    def send(self, text: str) -> None:
        """Send one message, once the conversation is open. One at a time: the caller waits for `Ended`."""
        self._cancel.clear()
        self._texts.put(text)

    def stop(self) -> None:
        """Stop the reply that is being written; what has arrived is kept."""
        self._cancel.set()

    def drain(self) -> list[Note]:
        """All notes since the last call."""
        self._awake = False
        notes: list[Note] = []
        while self._notes:
            notes.append(self._notes.popleft())
        return notes

    def close(self, timeout: float) -> bool:
        """Stop, let the partial reply be saved, end the thread. False if it did not end in time."""
        self._closing = True
        self._cancel.set()
        self._texts.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    # ── the thread's side ─────────────────────────────────────────────────────────────────────────

    def _put(self, note: Note) -> None:
        self._notes.append(note)
        if not self._awake and not self._closing:
            self._awake = True
            self._wake()

    def _run(self) -> None:
        conversation = self._opened()
        # Takes a tenth of a second, which the screen's own thread would lack with the first answer.
        importlib.import_module("localmag.tui.markdown")
        while (text := self._texts.get()) is not None:
            self._put(Began(text))
            conversation = conversation or self._opened()
            if conversation is not None:
                self._turn(conversation, text)
            self._put(Ended())
        if conversation is not None:
            self._close(conversation)

    def _opened(self) -> Conversation | None:
        try:
            conversation = self._open(self._put)
        except Exception as exc:  # the thread's boundary: the screen must say it, not vanish
            self._put(Failed(_told(exc), taken=False))
            return None
        self._put(Opened(earlier(conversation.entries)))
        return conversation

    def _turn(self, conversation: Conversation, text: str) -> None:
        taken = False
        try:
            events = conversation.send(text, self._cancel)
            taken = True
            for event in events:
                self._put(event)
        except Exception as exc:  # the thread's boundary: the screen must say it, not vanish
            self._put(Failed(_told(exc), taken))

    def _close(self, conversation: Conversation) -> None:
        try:
            conversation.close()
        except LocalmagError as exc:
            self.closing_error = exc


def _told(exc: Exception) -> LocalmagError:
    if isinstance(exc, LocalmagError):
        return exc
    _log.error("a turn failed", exc_info=exc)
    return RunFailed(
        f"localmag itself failed: {type(exc).__name__}: {exc}.",
        "What had arrived is kept; send a message to go on, and please report this.",
    )
