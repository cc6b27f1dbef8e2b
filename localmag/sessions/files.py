"""The file itself: opening it safely, its schema, locks beside it, and what its errors mean."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from localmag.errors import BadFile, LocalmagError, RunFailed

BUSY_S = 10.0
"""How long one program waits for another's transaction, which takes milliseconds."""

_SHARED = 2**20  # bytes; it takes 32 KiB for each 4,096 pages of the log

_APPLICATION = 0x6C6D6167  # "lmag": tells our files from other programs' databases

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE sessions (
            id TEXT PRIMARY KEY,
            title TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            model TEXT NOT NULL,
            build TEXT NOT NULL,
            backend TEXT NOT NULL,
            keep_reasoning INTEGER NOT NULL
        )""",
        # AUTOINCREMENT: a program that still holds the id of a removed message must not hit another's.
        """CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
            role TEXT NOT NULL,
            created REAL NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('writing', 'done')),
            model TEXT, build TEXT, backend TEXT,
            temperature REAL, top_p REAL, seed INTEGER, max_tokens INTEGER, keep_reasoning INTEGER,
            stop TEXT, error TEXT, refused INTEGER, thinking_s REAL,
            prompt_tokens INTEGER, cached_tokens INTEGER, reasoning_tokens INTEGER, answer_tokens INTEGER,
            load_s REAL, prefill_s REAL, ttft_s REAL, decode_s REAL, decode_tps REAL
        )""",
        "CREATE INDEX messages_session ON messages(session)",
        "CREATE INDEX messages_writing ON messages(id) WHERE state = 'writing'",
        # place: 0, 1, … in the message. kind: text, thinking, tool_call, malformed. text: of a tool_call,
        # its arguments. detail, in JSON: of a tool_call its name and id, of a malformed part the reason.
        """CREATE TABLE parts (
            id INTEGER PRIMARY KEY,
            message INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
            place INTEGER NOT NULL,
            kind TEXT NOT NULL,
            text TEXT NOT NULL,
            closed INTEGER NOT NULL,
            detail TEXT
        )""",
        "CREATE INDEX parts_message ON parts(message)",
        # What has arrived of a draft. Apart, so that an index over `parts` sees each text once and whole.
        """CREATE TABLE arrivals (
            id INTEGER PRIMARY KEY,
            message INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
            kind TEXT NOT NULL,
            text TEXT NOT NULL,
            detail TEXT
        )""",
        "CREATE INDEX arrivals_message ON arrivals(message)",
    ),
    (
        # What is being written and not sent yet, one row per program; session: NULL before there is one.
        """CREATE TABLE unsent (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            session TEXT REFERENCES sessions(id) ON DELETE CASCADE,
            text TEXT NOT NULL
        )""",
    ),
)
"""Statements that lead from format N to N + 1. Only ever appended to: files of every format exist."""


# ── Opening ───────────────────────────────────────────────────────────────────────────────────────


def opened(path: Path) -> sqlite3.Connection:
    """The file at the newest format, made if need be. For several threads, if the caller takes turns.

    Raises BadFile, leaving the file as it is, where it is not ours or a newer localmag wrote it.
    """
    _refuse_foreign(path)
    db = _connect(path)
    try:
        db.execute("PRAGMA foreign_keys = ON")
        # FULL, not NORMAL: what a power cut can undo was not kept. It costs two syncs a second while a
        # reply arrives, on a thread that nobody waits for.
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")  # macOS: its plain fsync leaves data in the drive's cache
        db.execute("PRAGMA secure_delete = ON")  # what is removed is overwritten, not just let go
        _write_ahead(db)
        _migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(
        _read_only_uri(path) if read_only else path,
        uri=read_only,
        timeout=BUSY_S,
        isolation_level=None,  # transactions begin where they are written, not by themselves
        check_same_thread=False,
    )


def _read_only_uri(path: Path) -> str:
    """Not `Path.as_uri`: SQLite wants the host of a Windows share in the path, `file:////host/share`."""
    posix = path.as_posix()
    return f"file://{'' if posix.startswith('/') else '/'}{quote(posix)}?mode=ro"


def _refuse_foreign(path: Path) -> None:
    """Looks through a read-only connection, which cannot even tidy up the write-ahead log."""
    if path.exists() and not path.is_file():
        raise BadFile(
            f"{path} is no file, so no conversations can be kept in it.",
            "Move it away, or set LOCALMAG_HOME to another folder.",
        )
    if not path.exists() or not path.stat().st_size:
        return
    db = _connect(path, read_only=True)
    try:
        format = _format(db)
        application = db.execute("PRAGMA application_id").fetchone()[0]
        empty = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    finally:
        db.close()
    if application == _APPLICATION and format > len(MIGRATIONS):
        raise BadFile(
            f"The conversations in {path} were written by a newer localmag"
            f" (format {format}; this one knows up to {len(MIGRATIONS)}).",
            "Update localmag, or set LOCALMAG_HOME to another folder; the file is as it was.",
        )
    if application != _APPLICATION and not empty:
        raise BadFile(
            f"{path} is another program's database.",
            "Move it away, or set LOCALMAG_HOME to another folder; the file is as it was.",
        )


def _write_ahead(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. SQLite does not wait its turn for this alone, so it is done here."""
    deadline = time.monotonic() + BUSY_S
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            # A file system without shared memory keeps its rollback journal: slower, no less safe.
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _migrate(db: sqlite3.Connection) -> None:
    if _format(db) == len(MIGRATIONS):
        return
    with db:
        db.execute("BEGIN IMMEDIATE")
        # Read again under the lock: another program may just have done it.
        for statements in MIGRATIONS[_format(db) :]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute(f"PRAGMA application_id = {_APPLICATION}")


def _format(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


# ── Locks ─────────────────────────────────────────────────────────────────────────────────────────


class Lock:
    """Holds `path` for as long as this process lives, whatever ends it.

    It is an exclusive transaction on an empty database: the one file lock of the standard library that is
    the same on every platform, and that the operating system lets go.
    """

    def __init__(self, path: Path) -> None:
        """Raises BlockingIOError where another process, or another Lock of this one, holds it or just did."""
        self.path = path
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as exc:
            self._db.close()
            # Whoever held it may let go, and take its file away, while SQLite looks: then fstat fails.
            if _kind(exc) == sqlite3.SQLITE_BUSY or _extended(exc) == sqlite3.SQLITE_IOERR_FSTAT:
                raise BlockingIOError(str(path)) from exc
            raise

    def release(self) -> None:
        """Safe to call twice."""
        self._db.close()
        with suppress(OSError):  # Windows keeps what another program is looking at; that look removes it
            self.path.unlink(missing_ok=True)


# ── Errors ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Turn what sqlite3 raises into what the user can act on."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _told(path, exc) from exc


def _kind(exc: sqlite3.Error) -> int:
    """The primary result code: an extended one's low byte."""
    return _extended(exc) & 0xFF


def _extended(exc: sqlite3.Error) -> int:
    """Errors of the Python module itself have no code."""
    return getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)


def _told(path: Path, exc: sqlite3.Error) -> LocalmagError:
    match _kind(exc):
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return BadFile(
                f"The conversations in {path} cannot be read: {exc}.",
                "Restore a copy, or move the file away to start afresh; localmag leaves it as it is.",
            )
        case kind if kind == sqlite3.SQLITE_FULL or (kind == sqlite3.SQLITE_IOERR and _is_full(path)):
            return RunFailed(f"The disk that holds {path} is full.", "Free some space, then go on.")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return RunFailed(
                f"Another program has kept {path} locked for {BUSY_S:.0f} seconds.", "Close it, then go on."
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return RunFailed(
                f"{path} cannot be opened or written: {exc}.",
                "Check the permissions of its folder, or set LOCALMAG_HOME to another.",
            )
    return RunFailed(
        f"The conversations in {path} could not be read or written: {exc}.",
        "Check that its disk has room and is sound, then try again.",
    )


def _is_full(path: Path) -> bool:
    """SQLite says "disk I/O error" where there is no room for what readers share beside the log."""
    with suppress(OSError):
        return shutil.disk_usage(path.parent).free < _SHARED
    return False


# ── Health ────────────────────────────────────────────────────────────────────────────────────────


def damage(path: Path) -> str:
    """What SQLite finds wrong with the file, empty if nothing. Reads all of it, and writes nothing.

    Raises BadFile where it cannot be read at all, RunFailed where it is locked or forbidden.
    """
    with mapped(path):
        db = _connect(path, read_only=True)
        try:
            found: str = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            db.close()
    return "" if found == "ok" else found
