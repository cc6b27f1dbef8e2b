"""Conversations on disk: one SQLite file that several localmag programs may have open at once.

What is promised, and what it rests on:

- What was committed survives `kill -9` and a power cut: write-ahead log, synced at every commit.
- A reply being written is a `Draft`: its events are only ever appended, so that saving costs the same at
  its end as at its beginning; `finish` replaces them by the message's parts in one transaction.
- What is being written and not sent is kept likewise (`Unsent`) and given back where it was being written.
- A draft whose program is gone is found at the next look and closed as `Stop.ERROR`, its text kept. Whether
  the program is gone is known, not guessed: each draft holds a lock that dies with its process.
- A file that is damaged, foreign or from a newer localmag is refused and left as it is.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from localmag import paths
from localmag.errors import NotFound, WrongUsage
from localmag.sessions import contexts, rows
from localmag.sessions.files import Lock, mapped, opened
from localmag.sessions.records import Entry, Outcome, Session, Setup, Transcript, well_formed
from localmag.sessions.unsent import Unsent
from localmag.stream import fold
from localmag.types import Event, Message, Stop, ThinkingClosed

__all__ = [
    "CUT_OFF",
    "Draft",
    "Entry",
    "Outcome",
    "Session",
    "Sessions",
    "Setup",
    "Transcript",
    "Unsent",
    "well_formed",
]

CUT_OFF = "localmag ended while this reply was being written."
"""`Outcome.error` of a reply that a crash or `kill -9` cut short."""


class Sessions:
    """The open file. Its methods may be called from any thread; each is one transaction.

    Every method raises RunFailed where the disk is full, the file cannot be written or another program
    keeps it locked, and BadFile where it is damaged. A session's `id` may be given as any beginning that
    only it has: NotFound is raised if there is none, WrongUsage if there are several.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Open, or make, `path` (by default `paths.database()`).

        Raises BadFile for a file that is not ours or that a newer localmag wrote.
        """
        self.path = (path or paths.database()).absolute()
        self._turn = threading.RLock()
        self._drafts: dict[int, Draft] = {}
        with mapped(self.path):
            self._db = opened(self.path)

    def close(self) -> None:
        """Safe to call twice. Drafts that were not finished will be found as cut off."""
        with self._turn:
            for draft in tuple(self._drafts.values()):
                draft.abandon()
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── Writing ───────────────────────────────────────────────────────────────────────────────────

    def create(self, first: Message, setup: Setup, system: Message | None = None) -> Transcript:
        """A new session that opens with the user's `first` message, and is titled after it."""
        now = time.time()
        with self._writing() as db:
            id = rows.insert_session(db, first.text, setup, now)
            if system is not None:
                rows.insert_message(db, id, system, now)
            rows.insert_message(db, id, first, now)
        return self.load(id)

    def append_user(self, session: str, message: Message, after: int) -> Entry:
        """Add what the user wrote behind the entry `after`, the last one that the caller knows.

        Raises WrongUsage if another program has taken the conversation further since, and NotFound if one
        has removed it.
        """
        self._close_orphans()
        now = time.time()
        with self._writing() as db:
            self._need(db, session)
            last, writing = rows.last_message(db, session)
            if last != after or writing:
                raise WrongUsage(
                    f"Conversation {session} has gone on in another localmag window.",
                    f"Go on there, or start again with `localmag chat --resume {session}`.",
                )
            id = rows.insert_message(db, session, message, now)
            rows.touch(db, session, now)
        return Entry(id, message, now)

    def begin_reply(self, session: str, setup: Setup) -> Draft:
        """Open the reply that `setup` is about to write; the caller finishes it."""
        now = time.time()
        lock = None
        try:
            with self._writing() as db:
                self._need(db, session)
                id = rows.insert_draft(db, session, setup, now)
                # Inside the transaction: nobody may see the draft before its lock is held.
                lock = Lock(self._lock_path(id))
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        draft = self._drafts[id] = Draft(self, id, session, setup, now, lock)
        return draft

    def unsent(self, session: str | None) -> Unsent:
        """Where to keep what is being written to that session (None: to one that is not there yet)."""
        return Unsent(self, session)

    def rename(self, id: str, title: str) -> Session:
        with self._writing() as db:
            id = rows.resolve(db, id)
            rows.retitle(db, id, title)
            return rows.session(db, id)

    def remove(self, id: str) -> Session:
        """Remove for good, from the disk too; gives the heading of what is gone.

        Raises WrongUsage while a reply is being written to it.
        """
        self._close_orphans()
        with self._writing() as db:
            session = rows.session(db, rows.resolve(db, id))
            if rows.last_message(db, session.id)[1]:
                raise WrongUsage(
                    f"A reply is being written to conversation {session.id}.", "Stop it, then try again."
                )
            rows.delete_session(db, session.id)
        with self._turn, mapped(self.path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log still held its text
        contexts.remove(session.id)
        return session

    def tidy_contexts(self, most: int, spare: str) -> None:
        """See `contexts.tidy`. Conversations are gone that are not here, `spare` too.

        An engine may have been keeping it while another program removed it.
        """
        owners = contexts.owners()  # first: a conversation that is begun meanwhile is not among them
        with self._reading() as db:
            gone = {id for id in owners if not rows.exists(db, id)}
        contexts.tidy(most, spare, gone)

    # ── Reading ───────────────────────────────────────────────────────────────────────────────────

    def load(self, id: str) -> Transcript:
        """All of a session. A reply that another program is writing has no outcome yet."""
        self._close_orphans()
        with self._reading() as db:
            session = rows.session(db, rows.resolve(db, id))
            entries = rows.entries(db, session.id)
        system = next((e.message for e in entries if e.message.role == "system"), None)
        return Transcript(session, system, tuple(e for e in entries if e.message.role != "system"))

    def has(self, id: str) -> bool:
        """Whether the session of this whole id was not removed meanwhile."""
        with self._reading() as db:
            return rows.exists(db, id)

    def latest(self) -> Session:
        """The session that was last written to. Raises NotFound where there is none."""
        with self._reading() as db:
            for session in rows.sessions(db, limit=1):
                return session
        raise NotFound("There is no conversation to go on with.", "Start one with `localmag chat`.")

    def list(self) -> tuple[Session, ...]:
        """All sessions, last written to first."""
        with self._reading() as db:
            return rows.sessions(db)

    # ── Underneath ────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        # IMMEDIATE waits for other writers where it begins, the one place where waiting cannot fail late.
        with self._turn, mapped(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot for several queries."""
        with self._turn, mapped(self.path), self._db:
            self._db.execute("BEGIN")
            yield self._db

    def _need(self, db: sqlite3.Connection, session: str) -> None:
        if not rows.exists(db, session):
            raise NotFound(
                f"Conversation {session} was removed by another localmag window.",
                "Copy what you want to keep, then start a new one.",
            )

    def _lock_path(self, draft: int) -> Path:
        return self.path.with_name(f"{self.path.name}-writing-{draft}")

    def _close_orphans(self) -> None:
        """Close the drafts whose programs are gone."""
        with self._reading() as db:
            drafts = rows.writing(db)
        for id in drafts:
            if id in self._drafts:
                continue
            try:
                with mapped(self.path):
                    lock = Lock(self._lock_path(id))
            except BlockingIOError:
                continue  # its program is running
            try:
                with self._writing() as db:
                    events = rows.arrived(db, id)
                    seconds = sum(event.seconds for event in events if isinstance(event, ThinkingClosed))
                    outcome = Outcome(Stop.ERROR, thinking_s=seconds, error=CUT_OFF)
                    rows.close_draft(db, id, fold(events), outcome)
            finally:
                lock.release()


class Draft:
    """A reply being written. `save` may come from another thread than `finish`, but not after it."""

    def __init__(
        self, sessions: Sessions, id: int, session: str, setup: Setup, created: float, lock: Lock
    ) -> None:
        self.id = id
        self.session = session
        self.setup = setup
        self.created = created
        self._sessions = sessions
        self._lock = lock

    def save(self, events: Iterable[Event]) -> None:
        """Put on disk what has arrived since the last time."""
        with self._sessions._writing() as db:
            rows.insert_arrivals(db, self.id, events)

    def finish(self, message: Message, outcome: Outcome) -> Entry:
        """Put the whole reply on disk in place of what had arrived. If this raises, try again later.

        Raises NotFound if the conversation was removed meanwhile.
        """
        now = time.time()
        with self._sessions._writing() as db:
            self._sessions._need(db, self.session)
            rows.close_draft(db, self.id, message.parts, outcome)
            rows.touch(db, self.session, now)
        self.abandon()
        return Entry(self.id, message, self.created, self.setup, outcome)

    def abandon(self) -> None:
        """Let it be found as cut off, unless it is finished. Safe to call twice."""
        self._sessions._drafts.pop(self.id, None)
        self._lock.release()
