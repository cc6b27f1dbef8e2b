"""A conversation: takes what the user says, has the engine reply, and keeps both.

The user's message is on disk before the engine hears of it. The reply is saved by a thread of its own at
most `SAVE_EVERY_S` after it arrives, so that neither a slow disk holds up the stream nor a silent engine
holds back what it said before it fell silent. Whatever ends the reply (the model, the user, a crash of the
engine, the caller walking away), what had arrived is kept, with the reason why it ended.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest
from queue import Empty, SimpleQueue

from localmag.engines import Engine
from localmag.errors import Cancelled, LocalmagError, NotFound, RunFailed, WrongUsage
from localmag.sessions import (
    Draft,
    Entry,
    Outcome,
    Session,
    Sessions,
    Setup,
    Unsent,
    contexts,
    well_formed,
)
from localmag.stream import Fold
from localmag.types import (
    Cancel,
    Done,
    Event,
    Loading,
    Message,
    Notice,
    Prefill,
    Stop,
    ThinkingClosed,
    ThinkingDelta,
    Turn,
)

SAVE_EVERY_S = 0.5
"""Age that arrived text may reach before it is written down."""


class Conversation:
    """One chat with one engine, kept in `sessions`, or nowhere if there are none.

    `setup` says what replies and how; it may be replaced between turns. Its sampling's seed is not used:
    each reply draws its own, unless the conversation was given one for all.
    """

    @classmethod
    def new(
        cls,
        sessions: Sessions | None,
        engine: Engine,
        setup: Setup,
        *,
        system: Message | None = None,
        seed: int | None = None,
    ) -> Conversation:
        """An empty one. It comes to be on disk with its first message."""
        return cls(engine, setup, sessions, None, system, (), seed)

    @classmethod
    def resume(
        cls,
        sessions: Sessions,
        id: str,
        engine: Engine,
        setup: Setup,
        *,
        seed: int | None = None,
    ) -> Conversation:
        """Go on with the session whose id begins with `id`, under its own system prompt.

        Raises WrongUsage while another program is writing a reply to it, and what `sessions.load` raises.
        """
        transcript = sessions.load(id)
        if any(entry.setup and not entry.outcome for entry in transcript.entries):
            raise WrongUsage(
                f"Conversation {transcript.session.id} is being answered in another localmag window.",
                "Wait for it or stop it there, then try again.",
            )
        return cls(engine, setup, sessions, transcript.session, transcript.system, transcript.entries, seed)

    def __init__(
        self,
        engine: Engine,
        setup: Setup,
        sessions: Sessions | None,
        session: Session | None,
        system: Message | None,
        entries: tuple[Entry, ...],
        seed: int | None,
    ) -> None:
        self.setup = setup
        self.session = session
        """Its heading as it was when last read; None until the first message is on disk."""
        self.system = system
        self._engine = engine
        self._sessions = sessions
        self._entries = list(entries)
        self._seed = seed
        self._writing = self._replied = False
        self._unsaved: tuple[Draft, Message, Outcome] | None = None
        self._unsent: Unsent | None = None

    @property
    def id(self) -> str | None:
        """The session's; None while there is nothing on disk."""
        return self.session.id if self.session else None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What was said, oldest first, without the system prompt and a reply still being written."""
        return tuple(self._entries)

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(entry.message for entry in self._entries)

    def last(self) -> Entry | None:
        """The newest reply, finished or cut short."""
        return next((entry for entry in reversed(self._entries) if entry.setup), None)

    def history(self) -> tuple[Message, ...]:
        """What the engine is told of the conversation so far: the system prompt, then all as it happened.

        A reply that was stopped is told as far as it came; `localmag.prompt` says what a model is shown of
        it. A question that the engine refused is left out, with its reply: it would be refused again.
        """
        told = [] if self.system is None else [self.system]
        for entry, after in zip_longest(self._entries, self._entries[1:]):
            if not _refused(entry) and not _refused(after):
                told.append(entry.message)
        return tuple(told)

    def send(self, text: str, cancel: Cancel) -> Iterator[Event]:
        """Say `text`, and iterate over the reply's events.

        When this returns, the message is on disk; the engine is asked at the first step of the iterator.
        Closing the iterator early stops the reply as `cancel` does. By the time `Done` is given, or an
        exception leaves the iterator, the reply is on disk; where that failed, the error is raised after
        `Done`, and the next `send` or `close` tries again.

        Raises WrongUsage for an empty message, while a reply is being written, and if another program has
        taken the conversation further; from the iterator, whatever the engine raises.
        """
        if self._writing:
            raise WrongUsage("A reply is still being written.", "Wait for it, or stop it first.")
        if not text.strip():
            raise WrongUsage("The message is empty.", "Write something first.")
        self._save_unsaved()
        self._say(Message.of("user", well_formed(text)))
        return self._reply(cancel)

    def left_unsent(self) -> str:
        """What was being written when an earlier program ended, here or where no conversation was yet.

        It is this program's from now on: it is kept until `keep_unsent` is given something else.
        """
        if self._sessions is None:
            return ""
        if self._unsent is None:
            self._unsent = self._sessions.unsent(self.id)
        return self._unsent.text

    def keep_unsent(self, text: str) -> None:
        """Keep what is being written and not sent yet. From any thread, once `left_unsent` was asked for."""
        if self._unsent is not None:
            self._unsent.keep(text, self.id)

    def keep_context(self, most: int, cancel: Cancel) -> int:
        """Have the engine keep what it has read of this, for the next `resume`; bytes that it took.

        All that is kept of conversations takes at most `most` bytes: of others, it makes way for this one's.
        0 where nothing was kept, see `Engine.keep`. Raises RunFailed where it cannot be written.
        """
        sessions, id = self._sessions, self.id
        if sessions is None or id is None or not self._replied or not sessions.has(id):
            return 0
        if not most:
            sessions.tidy_contexts(0, id)
            return 0
        turn = Turn(self.history(), self.setup.sampling, self.setup.max_tokens, self.setup.keep_reasoning)
        try:
            kept = self._engine.keep(contexts.folder(id), turn, contexts.room(most), cancel)
            contexts.used(id)
        except LocalmagError:
            if sessions.has(id):
                raise
            kept = None
        finally:  # another window may have removed the conversation meanwhile, and found nothing of this
            sessions.tidy_contexts(most, id)
        return kept.bytes if kept else 0

    def close(self) -> None:
        """Save what could not be saved yet, if anything. The engine and the sessions stay open."""
        try:
            self._save_unsaved()
        finally:
            if self._unsent is not None:
                self._unsent.close()

    # ── Underneath ────────────────────────────────────────────────────────────────────────────────

    def _say(self, message: Message) -> None:
        if self._sessions is None:
            self._entries.append(Entry(0, message, time.time()))
        elif self.session is None:
            transcript = self._sessions.create(message, self.setup, self.system)
            self.session = transcript.session
            self._entries.extend(transcript.entries)
        else:
            after = self._entries[-1].id
            self._entries.append(self._sessions.append_user(self.session.id, message, after))

    def _reply(self, cancel: Cancel) -> Generator[Event, None, None]:
        seed = _drawn_seed() if self._seed is None else self._seed
        setup = replace(self.setup, sampling=replace(self.setup.sampling, seed=seed))
        turn = Turn(self.history(), setup.sampling, setup.max_tokens, setup.keep_reasoning)
        draft = (
            self._sessions.begin_reply(self.session.id, setup) if self._sessions and self.session else None
        )
        reply = _Reply(draft)
        outcome = Outcome(Stop.CANCELLED)  # what holds if the caller walks away
        self._writing = True
        try:
            done = yield from self._stream(turn, cancel, reply)
            self._replied = True
            outcome = Outcome(done.stop, done.usage, done.timing)
        except Cancelled:
            raise
        except Exception as exc:  # whatever it is, it is why the reply ended; it goes on from here
            outcome = Outcome(Stop.ERROR, error=str(exc), refused=isinstance(exc, WrongUsage))
            raise
        finally:
            self._writing = False
            failure = self._keep(reply, setup, outcome)
        yield done
        if failure is not None:
            raise failure

    def _stream(self, turn: Turn, cancel: Cancel, reply: _Reply) -> Generator[Event, None, Done]:
        events = self._engine.reply(turn, cancel)
        try:
            for event in events:
                if isinstance(event, Done):
                    return event
                reply.add(event)
                yield event
        finally:
            if isinstance(events, Generator):
                events.close()
        raise RunFailed("The engine ended its reply without saying why.", "Ask again.")

    def _keep(self, reply: _Reply, setup: Setup, outcome: Outcome) -> LocalmagError | None:
        """Enter the reply, on disk if it can be; otherwise in memory alone, with the error why."""
        message = reply.end()
        outcome = replace(outcome, thinking_s=reply.thinking_s)
        draft = reply.draft
        failure = None
        if draft is None:
            entry = Entry(0, message, time.time(), setup, outcome)
        else:
            entry = Entry(draft.id, message, draft.created, setup, outcome)
            try:
                draft.finish(message, outcome)
            except LocalmagError as exc:
                self._unsaved = (draft, message, outcome)
                failure = exc
        self._entries.append(entry)
        return failure

    def _save_unsaved(self) -> None:
        if self._unsaved is None:
            return
        draft, message, outcome = self._unsaved
        try:
            draft.finish(message, outcome)
        except NotFound:  # the conversation is gone: there is nothing left to try
            self._unsaved = None
            raise
        self._unsaved = None


class _Reply:
    """What has arrived of one reply: folded at once, saved soon. `add` takes no longer as it grows."""

    def __init__(self, draft: Draft | None) -> None:
        self.draft = draft
        self.thinking_s = 0.0
        self._fold = Fold()
        self._thinking_since: float | None = None
        self._autosave = _Autosave(draft) if draft is not None else None

    def add(self, event: Event) -> None:
        self._fold.add(event)
        match event:
            case ThinkingDelta() if self._thinking_since is None:
                self._thinking_since = time.monotonic()
            case ThinkingClosed():
                self.thinking_s += event.seconds
                self._thinking_since = None
            case Loading() | Prefill() | Notice():
                return
        if self._autosave is not None:
            self._autosave.put(event)

    def end(self) -> Message:
        if self._autosave is not None:
            self._autosave.stop()
        if self._thinking_since is not None:
            self.thinking_s += time.monotonic() - self._thinking_since
        return Message("assistant", self._fold.parts)


class _Autosave:
    """Saves what is put to it, at most `SAVE_EVERY_S` later, on a thread of its own.

    A thread, because an engine may say a word and then nothing for a minute: whoever iterates sleeps in
    the engine then, and the word has to reach the disk all the same.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="localmag-autosave", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        self._events.put(event)

    def stop(self) -> None:
        """Returns when nothing is being saved any more; what was not saved yet is the caller's again."""
        self._stopped.set()
        self._events.put(None)  # wakes the thread if nothing has arrived
        self._thread.join()

    def _run(self) -> None:
        unsaved: list[Event] = []
        while True:
            if not unsaved:
                event = self._events.get()
                if event is not None:
                    unsaved.append(event)
            if self._stopped.wait(SAVE_EVERY_S):
                return
            with suppress(Empty):
                while event := self._events.get_nowait():
                    unsaved.append(event)
            if self._stopped.is_set():  # what would wake this thread may just have been taken
                return
            # A disk that is full or locked now may not be so in half a second; if it stays so, saving the
            # whole reply at its end reports it.
            with suppress(LocalmagError):
                self._draft.save(unsaved)
                unsaved = []


def _refused(entry: Entry | None) -> bool:
    return entry is not None and entry.outcome is not None and entry.outcome.refused


def _drawn_seed() -> int:
    # One short of 32 bits: llama.cpp takes the last value for "draw one yourself".
    return secrets.randbelow(2**32 - 1)
