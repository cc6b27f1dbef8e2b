from __future__ import annotations

import io
import pickle
import struct
import threading
from pathlib import Path

import pytest

from localmag import errors
from localmag.engines import EngineSpec
from localmag.engines.wire import Ask, Failed, Frame, Garbled, Halt, Loaded, Said, Start, Wire
from localmag.engines.worker import Outbox, gathered
from localmag.errors import BadFile, LocalmagError
from localmag.types import (
    Done,
    Malformed,
    Message,
    Prefill,
    Sampling,
    Stop,
    TextDelta,
    ThinkingClosed,
    ThinkingDelta,
    Timing,
    ToolCall,
    ToolCallReady,
    Turn,
    Usage,
)

DONE = Done(Stop.END, Usage(1, 2, 3, 4), Timing(0.1, 0.2, 0.3, 0.4, 5))
FRAMES: list[Frame] = [
    Start(EngineSpec("llama.cpp", Path("a.gguf"), Path("tekken.json"), 4096)),
    Ask(1, Turn((Message.of("user", "Ünïcode 🦆\0"),), Sampling(), 10)),
    Halt(1),
    Loaded(0.5),
    Said(1, (Prefill(0, 1), ThinkingDelta("a"), ThinkingClosed(1, 0.5), TextDelta("b"), DONE)),
    Said(2, (ToolCallReady(ToolCall("f", "{}")), Malformed("[/THINK]", "bare"))),
    Failed(None, "BadFile", "What.", "Todo."),
]


def test_every_frame_arrives_as_it_was_sent() -> None:
    stream = io.BytesIO()
    wire = Wire(stream, stream)
    for frame in FRAMES:
        wire.send(frame)
    stream.seek(0)
    assert [wire.receive() for _ in FRAMES] == FRAMES
    with pytest.raises(EOFError):
        wire.receive()


def test_a_frame_cut_anywhere_is_an_end() -> None:
    stream = io.BytesIO()
    Wire(stream, stream).send(FRAMES[1])
    whole = stream.getvalue()
    for size in range(len(whole)):
        with pytest.raises(EOFError):
            Wire(io.BytesIO(whole[:size]), io.BytesIO()).receive()


@pytest.mark.parametrize(
    "data", [b"ggml_abort: something", pickle.dumps(7), pickle.dumps(Path), b"\x80\x05."]
)
@pytest.mark.parametrize("framed", [True, False])
def test_what_is_no_frame_is_garbled(data: bytes, framed: bool) -> None:
    stream = io.BytesIO((struct.pack("<4sI", b"lmag", len(data)) if framed else b"") + data + bytes(8))
    with pytest.raises(Garbled):
        Wire(stream, io.BytesIO()).receive()


@pytest.mark.parametrize("name", [n for n, e in vars(errors).items() if isinstance(e, type)])
def test_every_error_keeps_its_type_and_sentences(name: str) -> None:
    error = getattr(errors, name)("What.", "Todo.")
    again = Failed.of(3, error).error()
    assert type(again) is type(error)
    assert (again.what, again.todo, again.exit_code) == (error.what, error.todo, error.exit_code)


def test_an_error_unknown_here_is_still_an_error() -> None:
    class New(BadFile):
        pass

    assert isinstance(Failed.of(1, New("What.", "Todo.")).error(), LocalmagError)


def test_gathering_joins_neighbours_only() -> None:
    said = [ThinkingDelta(""), ThinkingDelta("a"), ThinkingDelta("b"), ThinkingClosed(2, 0.1)]
    said += [TextDelta("c"), TextDelta("d"), Malformed("x", "y"), Malformed("x", "y"), TextDelta("e"), DONE]
    frames: list[Frame] = [Loaded(0.1), Loaded(0.2), *(Said(1, (event,)) for event in said)]
    frames += [Said(2, (TextDelta("f"),)), Failed(2, "RunFailed", "What.", "Todo.")]
    assert list(gathered(frames)) == [
        Loaded(0.2),
        Said(
            1,
            (
                ThinkingDelta("ab"),
                ThinkingClosed(2, 0.1),
                TextDelta("cd"),
                Malformed("x", "y"),
                Malformed("x", "y"),
                TextDelta("e"),
                DONE,
            ),
        ),
        Said(2, (TextDelta("f"),)),
        Failed(2, "RunFailed", "What.", "Todo."),
    ]


def test_what_is_joined_still_tells_how_many_ids_it_was() -> None:
    frames: list[Frame] = [Said(1, (ThinkingDelta(text),)) for text in "abc"]
    joined = [*gathered([*gathered(frames), Said(1, (ThinkingDelta("d"),))])]
    assert [event.tokens for event in joined[0].events] == [4]  # type: ignore[union-attr]


class Kept(Wire):
    """A wire whose other side is a list, and which takes its time."""

    def __init__(self, held: threading.Event) -> None:
        self.frames: list[Frame] = []
        self._held = held

    def send(self, frame: Frame) -> None:
        self._held.wait()
        self.frames.append(frame)


def test_a_slow_reader_holds_up_nobody_and_loses_nothing() -> None:
    held = threading.Event()
    wire = Kept(held)
    outbox = Outbox(wire)
    for _ in range(10_000):
        outbox.say(1, TextDelta("x"))
    outbox.say(1, DONE)
    held.set()
    outbox.finish()
    events = [event for frame in wire.frames if isinstance(frame, Said) for event in frame.events]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "x" * 10_000
    assert events[-1] == DONE
    assert len(events) < 100
