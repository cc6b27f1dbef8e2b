"""Rows of the tables to records, and back. Every function works inside the caller's transaction."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import astuple
from itertools import groupby
from typing import Any

from localmag.errors import NotFound, WrongUsage
from localmag.sessions.records import Entry, Outcome, Session, Setup, title_of, well_formed
from localmag.stream import fold
from localmag.types import (
    Event,
    Malformed,
    Message,
    Part,
    Sampling,
    Stop,
    Text,
    TextDelta,
    Thinking,
    ThinkingClosed,
    ThinkingDelta,
    Timing,
    ToolCall,
    ToolCallReady,
    Usage,
)

# No vowels, so no words; nothing that looks like something else.
_ID_LETTERS = "23456789bcdfghjkmnpqrstvwxz"
_ID_LENGTH = 6

_SETUP = "model, build, backend, temperature, top_p, seed, max_tokens, keep_reasoning"
_OUTCOME = (
    "stop, error, refused, thinking_s, prompt_tokens, cached_tokens, reasoning_tokens, answer_tokens,"
    " load_s, prefill_s, ttft_s, decode_s, decode_tps"
)


# ── Sessions ──────────────────────────────────────────────────────────────────────────────────────

_SESSION = """
    SELECT id, title, created, updated, model, build, backend, keep_reasoning,
        (SELECT count(*) FROM messages WHERE session = sessions.id AND role <> 'system')
    FROM sessions"""


def insert_session(db: sqlite3.Connection, title: str, setup: Setup, now: float) -> str:
    id = _new_id(db)
    names = (setup.model, setup.build, setup.backend, setup.keep_reasoning)
    db.execute(f"INSERT INTO sessions VALUES ({_marks(8)})", (id, title_of(title), now, now, *names))
    return id


def _new_id(db: sqlite3.Connection) -> str:
    while True:
        id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
        if not exists(db, id):
            return id


def exists(db: sqlite3.Connection, id: str) -> bool:
    return db.execute("SELECT 1 FROM sessions WHERE id = ?", (id,)).fetchone() is not None


def session(db: sqlite3.Connection, id: str) -> Session:
    return _session(db.execute(f"{_SESSION} WHERE id = ?", (id,)).fetchone())


def sessions(db: sqlite3.Connection, limit: int = -1) -> tuple[Session, ...]:
    """Last written to first; -1 is no limit."""
    rows = db.execute(f"{_SESSION} ORDER BY updated DESC, rowid DESC LIMIT ?", (limit,))
    return tuple(_session(row) for row in rows)


def _session(row: tuple[Any, ...]) -> Session:
    id, title, created, updated, model, build, backend, keep_reasoning, messages = row
    return Session(id, title, created, updated, model, build, backend, bool(keep_reasoning), messages)


def resolve(db: sqlite3.Connection, id: str) -> str:
    """The whole id of the one session that begins with `id`."""
    wanted = id.strip().lower()
    query = "SELECT id FROM sessions WHERE substr(id, 1, ?) = ? ORDER BY id"
    found: list[str] = [row[0] for row in db.execute(query, (len(wanted), wanted))] if wanted else []
    if not found:
        raise NotFound(f"There is no conversation {id!r}.", "See `localmag sessions list`.")
    if len(found) > 1:
        some = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
        raise WrongUsage(f"{id!r} may be any of {some}.", "Give more of it.")
    return found[0]


def retitle(db: sqlite3.Connection, id: str, title: str) -> None:
    db.execute("UPDATE sessions SET title = ? WHERE id = ?", (title_of(title), id))


def touch(db: sqlite3.Connection, id: str, now: float) -> None:
    db.execute("UPDATE sessions SET updated = ? WHERE id = ?", (now, id))


def delete_session(db: sqlite3.Connection, id: str) -> None:
    db.execute("DELETE FROM sessions WHERE id = ?", (id,))


# ── Messages ──────────────────────────────────────────────────────────────────────────────────────


def insert_message(db: sqlite3.Connection, session: str, message: Message, now: float) -> int:
    columns = "session, role, created, state"
    id = _inserted(db, f"({columns}) VALUES (?, ?, ?, 'done')", (session, message.role, now))
    _insert_parts(db, id, message.parts)
    return id


def insert_draft(db: sqlite3.Connection, session: str, setup: Setup, now: float) -> int:
    names = (setup.model, setup.build, setup.backend)
    sampling = (setup.sampling.temperature, setup.sampling.top_p, setup.sampling.seed)
    db.execute(
        "UPDATE sessions SET model = ?, build = ?, backend = ?, keep_reasoning = ? WHERE id = ?",
        (*names, setup.keep_reasoning, session),
    )
    return _inserted(
        db,
        f"(session, role, created, state, {_SETUP}) VALUES (?, 'assistant', ?, 'writing', {_marks(8)})",
        (session, now, *names, *sampling, setup.max_tokens, setup.keep_reasoning),
    )


def _inserted(db: sqlite3.Connection, rest: str, values: tuple[object, ...]) -> int:
    id = db.execute(f"INSERT INTO messages {rest}", values).lastrowid
    assert id is not None  # for the type checker: an INSERT has just succeeded
    return id


def close_draft(db: sqlite3.Connection, id: int, parts: Iterable[Part], outcome: Outcome) -> None:
    """Put `parts` in place of what had arrived of draft `id`, unless it is closed already."""
    usage: tuple[int | None, ...] = astuple(outcome.usage) if outcome.usage else (None,) * 4
    timing: tuple[float | None, ...] = astuple(outcome.timing) if outcome.timing else (None,) * 5
    error = outcome.error and well_formed(outcome.error)
    closed = db.execute(
        f"UPDATE messages SET state = 'done', ({_OUTCOME}) = ({_marks(13)})"
        " WHERE id = ? AND state = 'writing'",
        (str(outcome.stop), error, outcome.refused, outcome.thinking_s, *usage, *timing, id),
    )
    if closed.rowcount:
        _insert_parts(db, id, parts)
        db.execute("DELETE FROM arrivals WHERE message = ?", (id,))


def last_message(db: sqlite3.Connection, session: str) -> tuple[int, bool]:
    """Its id, and whether it is still being written."""
    query = "SELECT id, state = 'writing' FROM messages WHERE session = ? ORDER BY id DESC LIMIT 1"
    id, writing = db.execute(query, (session,)).fetchone()
    return id, bool(writing)


def writing(db: sqlite3.Connection) -> tuple[int, ...]:
    """Every draft: of this program, of others that are running, of others that are gone."""
    return tuple(id for (id,) in db.execute("SELECT id FROM messages WHERE state = 'writing'"))


def entries(db: sqlite3.Connection, session: str) -> list[Entry]:
    """All messages, the system prompt too, oldest first; a draft has the parts that have arrived."""
    parts = _parts(db, session)
    query = (
        f"SELECT id, role, created, state, {_SETUP}, {_OUTCOME} FROM messages WHERE session = ? ORDER BY id"
    )
    found = []
    for id, role, created, state, *rest in db.execute(query, (session,)).fetchall():
        message = Message(role, fold(arrived(db, id)) if state == "writing" else tuple(parts.get(id, ())))
        found.append(Entry(id, message, created, _setup(*rest[:8]), _outcome(*rest[8:])))
    return found


def _setup(model: str | None, build: str, backend: str, *rest: Any) -> Setup | None:
    if model is None:
        return None
    temperature, top_p, seed, max_tokens, keep_reasoning = rest
    sampling = Sampling(temperature, top_p, seed)
    return Setup(model, build, backend, sampling, max_tokens, bool(keep_reasoning))


def _outcome(
    stop: str | None, error: str | None, refused: int, thinking_s: float, *numbers: Any
) -> Outcome | None:
    if stop is None:
        return None
    usage = Usage(*numbers[:4]) if numbers[0] is not None else None
    timing = Timing(*numbers[4:]) if numbers[4] is not None else None
    return Outcome(Stop(stop), usage, timing, thinking_s, error, bool(refused))


# ── Parts ─────────────────────────────────────────────────────────────────────────────────────────


def _insert_parts(db: sqlite3.Connection, message: int, parts: Iterable[Part]) -> None:
    db.executemany(
        f"INSERT INTO parts (message, place, kind, text, closed, detail) VALUES ({_marks(6)})",
        [(message, place, *_part_row(part)) for place, part in enumerate(parts)],
    )


def _parts(db: sqlite3.Connection, session: str) -> dict[int, list[Part]]:
    found: dict[int, list[Part]] = {}
    query = """SELECT message, kind, text, closed, detail FROM parts
        WHERE message IN (SELECT id FROM messages WHERE session = ?) ORDER BY message, place"""
    for message, *row in db.execute(query, (session,)):
        found.setdefault(message, []).append(_part(*row))
    return found


def _part_row(part: Part) -> tuple[str, str, bool, str | None]:
    match part:
        case Text(text):
            return "text", well_formed(text), True, None
        case Thinking(text, closed):
            return "thinking", well_formed(text), closed, None
        case ToolCall(name, arguments, id):
            return "tool_call", well_formed(arguments), True, json.dumps([name, id])
        case Malformed(text, why):
            return "malformed", well_formed(text), True, json.dumps(why)


def _part(kind: str, text: str, closed: int, detail: str) -> Part:
    match kind:
        case "text":
            return Text(text)
        case "thinking":
            return Thinking(text, bool(closed))
        case "tool_call":
            name, id = json.loads(detail)
            return ToolCall(name, text, id)
    return Malformed(text, json.loads(detail))


# ── Arrivals ──────────────────────────────────────────────────────────────────────────────────────


def insert_arrivals(db: sqlite3.Connection, draft: int, events: Iterable[Event]) -> None:
    db.executemany(
        "INSERT INTO arrivals (message, kind, text, detail) VALUES (?, ?, ?, ?)",
        [(draft, *row) for row in _event_rows(events)],
    )


def arrived(db: sqlite3.Connection, draft: int) -> list[Event]:
    query = "SELECT kind, text, detail FROM arrivals WHERE message = ? ORDER BY id"
    return [_event(*row) for row in db.execute(query, (draft,))]


def _event_rows(events: Iterable[Event]) -> Iterator[tuple[str, str, str | None]]:
    """One row per event that carries content; deltas of one kind that follow each other share one."""
    for kind, run in groupby(events, type):
        if issubclass(kind, TextDelta | ThinkingDelta):
            text = "".join(event.text for event in run if isinstance(event, TextDelta | ThinkingDelta))
            yield "text" if kind is TextDelta else "thinking", well_formed(text), None
            continue
        for event in run:
            match event:
                case ThinkingClosed(tokens, seconds):
                    yield "closed", "", json.dumps([tokens, seconds])
                case ToolCallReady(ToolCall(name, arguments, id)):
                    yield "tool_call", well_formed(arguments), json.dumps([name, id])
                case Malformed(text, why):
                    yield "malformed", well_formed(text), json.dumps(why)


def _event(kind: str, text: str, detail: str) -> Event:
    match kind:
        case "text":
            return TextDelta(text)
        case "thinking":
            return ThinkingDelta(text)
        case "closed":
            tokens, seconds = json.loads(detail)
            return ThinkingClosed(tokens, seconds)
        case "tool_call":
            name, id = json.loads(detail)
            return ToolCallReady(ToolCall(name, text, id))
    return Malformed(text, json.loads(detail))


# ── Unsent ────────────────────────────────────────────────────────────────────────────────────────


def insert_unsent(db: sqlite3.Connection, session: str | None, text: str) -> int:
    id = db.execute("INSERT INTO unsent (session, text) VALUES (?, ?)", (session, text)).lastrowid
    assert id is not None  # for the type checker: an INSERT has just succeeded
    return id


def put_unsent(db: sqlite3.Connection, id: int, session: str | None, text: str) -> None:
    """Also where the row went with a session that was removed: what is being written belongs to none then."""
    db.execute(
        "INSERT OR REPLACE INTO unsent VALUES (?, (SELECT id FROM sessions WHERE id = ?), ?)",
        (id, session, well_formed(text)),
    )


def unsent(db: sqlite3.Connection, session: str | None) -> dict[int, str]:
    """Texts by id, oldest first."""
    return dict(db.execute("SELECT id, text FROM unsent WHERE session IS ? ORDER BY id", (session,)))


def delete_unsent(db: sqlite3.Connection, ids: Iterable[int]) -> None:
    db.executemany("DELETE FROM unsent WHERE id = ?", [(id,) for id in ids])


def _marks(count: int) -> str:
    return ", ".join("?" * count)
