"""What crosses the pipe between the program and its engine's process, and how.

A frame is one of the dataclasses below, pickled, after its length and a mark that tells it from garbage.
Replies are numbered, so that what is still under way of an abandoned one is known for what it is.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from localmag import errors
from localmag.engines import EngineSpec
from localmag.engines.state import State
from localmag.errors import LocalmagError, RunFailed
from localmag.types import Event, Turn

# ── From the program to the engine ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Start:
    """The first frame: load this."""

    spec: EngineSpec


@dataclass(frozen=True, slots=True)
class Ask:
    number: int
    turn: Turn


@dataclass(frozen=True, slots=True)
class Keep:
    """See `Engine.keep`."""

    number: int
    folder: Path
    turn: Turn
    most: int


@dataclass(frozen=True, slots=True)
class Halt:
    """Cancel that reply."""

    number: int


# ── From the engine to the program ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Loaded:
    """The fraction that is loaded; 1 when the first reply can begin."""

    fraction: float
    pid: int = field(default_factory=os.getpid)
    """The engine's process: on Windows not the one that was started, for a venv's python starts another."""


@dataclass(frozen=True, slots=True)
class Said:
    number: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer to Keep."""

    number: int
    state: State | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A LocalmagError as data. `number` is None if loading failed, and the process then ends."""

    number: int | None
    kind: str
    what: str
    todo: str

    @classmethod
    def of(cls, number: int | None, error: LocalmagError) -> Failed:
        return cls(number, type(error).__name__, error.what, error.todo)

    def error(self) -> LocalmagError:
        kind = getattr(errors, self.kind, RunFailed)
        error: LocalmagError = kind(self.what, self.todo)
        return error


Frame = Start | Ask | Keep | Halt | Loaded | Said | Kept | Failed


class Garbled(Exception):
    """What came over the pipe is not a frame."""


_HEAD = struct.Struct("<4sI")  # mark, length in bytes
_MARK = b"lmag"


class Wire:
    """Frames over two byte streams. Any thread may send; one receives."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source = source
        self._sink = sink
        self._sending = threading.Lock()

    def send(self, frame: Frame) -> None:
        """Raises OSError or ValueError if the other side or this stream is closed."""
        data = pickle.dumps(frame, pickle.HIGHEST_PROTOCOL)
        with self._sending:
            self._sink.write(_HEAD.pack(_MARK, len(data)) + data)
            self._sink.flush()

    def receive(self) -> Frame:
        """Wait for a frame. Raises EOFError at the end, also inside a frame; Garbled if it is none."""
        mark, length = _HEAD.unpack(self._exactly(_HEAD.size))
        if mark != _MARK:
            raise Garbled(f"a frame began with {mark!r}")
        data = self._exactly(length)
        try:
            frame = pickle.loads(data)
        except Exception as exc:  # broken pickles raise whatever they like
            raise Garbled("a frame could not be read") from exc
        if not isinstance(frame, Frame):
            raise Garbled(f"a frame held a {type(frame).__name__}")
        return frame

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def close(self) -> None:
        """Close both streams, for the one who receives."""
        for stream in (self._sink, self._source):
            with suppress(OSError):  # what a dead reader left unread cannot be flushed
                stream.close()
