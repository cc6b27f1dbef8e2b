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
from localmag.tui.unsent import Keeper
from localmag.types import Cancel, Event

if TYPE_CHECKING:  # a database is no part of the first paint
    from localmag.sessions import Entry

_log = logging.getLogger(__name__)


class Conversation(Protocol):
    """What the screen needs of `localmag.chat.Conversation`."""

    @property
    def id(self) -> str | None: ...

    @property
    def entries(self) -> Sequence[Entry]: ...

    def send(self, text: str, cancel: Cancel) -> Iterator[Event]: ...

    def left_unsent(self) -> str: ...

    def keep_unsent(self, text: str) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Fitted:
    """How the engine will run in fact: tokens of context, and sentences on what gave way so that it fits."""

    context: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Doing:
    """What opening is at, in a word or two, where that is more than to open."""

    what: str


Report = Callable[[Event | Fitted | Doing], None]
Opener = Callable[[Report, Cancel], Conversation]
"""Makes the conversation. It may report `Doing`, `Fitted` and `Loading`, the latter also later and from any
thread; `Cancel` is set when the user does not want to wait: what need not be is skipped then.
"""


@dataclass(frozen=True, slots=True)
class Opened:
    """The conversation is there, with what was said in it before, and what was written and not sent."""

    earlier: tuple[Reply, ...]
    unsent: str = ""


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


Note = Opened | Began | Failed | Ended | Fitted | Doing | Event


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
        self.session: str | None = None
        """The id of the conversation, once it is open and on disk."""
        self.replying = False
        """Whether the conversation has taken a message and not answered it yet."""
        self.closing_error: LocalmagError | None = None
        """What kept the last reply, or what was not sent, from being saved, once closed."""
        self.unsent = ""
        """What was not sent, once closed."""
        self.kept_in: str | None = None
        """The session that keeps `unsent`; empty for one that is not there yet, None if it is not kept."""
        self._left = ""  # by an earlier program, and not in the screen's hands yet
        self._waiting = ""  # sent, and not in the conversation's hands yet
        self._keeper: Keeper | None = None
        self._thread = threading.Thread(target=self._run, name="localmag-turns", daemon=True)

    # ── the screen's side ─────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._thread.start()

    def send(self, text: str) -> None:
        """Send one message, once the conversation is open. One at a time: the caller waits for `Ended`."""
        self._cancel.clear()
        self._waiting = text
        self._texts.put(text)

    def stop(self) -> None:
        """Stop the reply that is being written, or what opening can do without; what has arrived is kept."""
        self._cancel.set()

    def drain(self) -> list[Note]:
        """All notes since the last call."""
        self._awake = False
        notes: list[Note] = []
        while self._notes:
            notes.append(self._notes.popleft())
        if any(isinstance(note, Opened) for note in notes):
            self._left = ""
        return notes

    def take_back(self) -> str:
        """The message that the conversation did not take, which is the caller's again."""
        text, self._waiting = self._waiting, ""
        return text

    def keep(self, text: str) -> None:
        """Keep what is written and was not sent, for the case that this is the end."""
        if self._keeper is not None:
            self._keeper.put(_joined(self._waiting, text))

    def close(self, timeout: float, unsent: str = "") -> bool:
        """Stop, let the partial reply and `unsent` be saved, end the thread. False if that took too long."""
        self._closing = True
        self.unsent = unsent
        self._cancel.set()
        self._texts.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)
        self.unsent = _joined(self._left, self._waiting, unsent)
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
            conversation = self._open(self._put, self._cancel)
        except Exception as exc:  # the thread's boundary: the screen must say it, not vanish
            self._put(Failed(_told(exc), taken=False))
            return None
        self.session = conversation.id
        self._left = self._left_unsent(conversation)
        self._put(Opened(earlier(conversation.entries), self._left))
        return conversation

    def _left_unsent(self, conversation: Conversation) -> str:
        try:
            left = conversation.left_unsent()
        except LocalmagError:  # of a full disk, say, a conversation can still be read
            return ""
        self._keeper = Keeper(conversation.keep_unsent)
        return left

    def _turn(self, conversation: Conversation, text: str) -> None:
        taken = False
        try:
            events = conversation.send(text, self._cancel)
            taken = self.replying = True
            self._waiting, self.session = "", conversation.id
            for event in events:
                self._put(event)
        except Exception as exc:  # the thread's boundary: the screen must say it, not vanish
            self._put(Failed(_told(exc), taken))
        finally:
            self.replying = False

    def _close(self, conversation: Conversation) -> None:
        try:
            try:
                if self._keeper is not None:
                    self._keeper.close()
                    conversation.keep_unsent(_joined(self._left, self._waiting, self.unsent))
                    self.kept_in = conversation.id or ""
            finally:
                conversation.close()
        except LocalmagError as exc:
            self.closing_error = exc


def _joined(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text.strip())


def _told(exc: Exception) -> LocalmagError:
    if isinstance(exc, LocalmagError):
        return exc
    _log.error("a turn failed", exc_info=exc)
    return RunFailed(
        f"localmag itself failed: {type(exc).__name__}: {exc}.",
        "What had arrived is kept; send a message to go on, and please report this.",
    )
