"""A parser with a small vocabulary, and ids to feed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from localmag.stream import ControlIds, Parser, fold
from localmag.types import Event
from tests.tekken import NAMES

EOS, INST, CALLS, ARGS, CALL_ID, THINK, UNTHINK = 2, 3, 9, 32, 33, 34, 35
CONTROL = ControlIds.of(NAMES)
BYTES = len(NAMES)  # ids from here on: the 256 single bytes, then PIECES
PIECES = ("é".encode(), "€".encode()[:2], "€".encode()[2:] + b"a", b"\xff\xfe", b" the", b"\xf0\x9f", b"")
VOCABULARY = BYTES + 256 + len(PIECES)


def piece(id: int) -> bytes:
    place = id - BYTES
    return bytes([place]) if place < 256 else PIECES[place - 256]


def parser(clock: Callable[[], float] = lambda: 0.0, *, thinking: bool = False) -> Parser:
    return Parser(CONTROL, piece, VOCABULARY, clock, thinking=thinking)


def ids(*written: int | str | bytes) -> list[int]:
    """Control ids as they are, texts as ids of single bytes."""
    out: list[int] = []
    for one in written:
        match one:
            case int():
                out.append(one)
            case str():
                out += [BYTES + byte for byte in one.encode()]
            case bytes():
                out += [BYTES + byte for byte in one]
    return out


def events_of(fed: Iterable[int], to: Parser | None = None) -> list[Event]:
    to = to or parser()
    events: list[Event] = []
    for id in fed:
        events += to.feed(id)
    return [*events, *to.finish()]


def parts(*written: int | str | bytes) -> tuple[object, ...]:
    return fold(events_of(ids(*written)))
