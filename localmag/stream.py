r"""From the model's ids to typed events: a parser without I/O.

Reasoning is told from answer by token id and by nothing else: a model that writes the letters `[THINK]`
has written an answer. Whatever arrives, the parser does not raise and loses nothing: output that breaks
the grammar becomes `Malformed`, which keeps it.

    reply  :=  ( text | think | call )*  eos?
    think  :=  [THINK] ( text | call )* [/THINK]
    call   :=  [TOOL_CALLS] name ( [CALL_ID] id )? [ARGS] json-object

Two things are remembered: whether reasoning is open, and the call being written, if any. An open call
collects every id that is not in this table's columns; each of these ends it first.

                     reasoning closed           reasoning open
    text             TextDelta                  ThinkingDelta
    [THINK]          opens: ThinkingDelta("")   Malformed
    [/THINK]         Malformed                  closes: ThinkingClosed
    [TOOL_CALLS]     begins a call              begins a call; reasoning stays open
    eos              ended                      ended, reasoning unclosed
    other control,   Malformed                  Malformed
    outside ids

A call becomes `ToolCallReady` when it ends (next [TOOL_CALLS], think border, eos, `finish`) and is whole;
otherwise all of it is one `Malformed`. Calls inside reasoning are calls, as for mistral-common, whose
splitter looks for [TOOL_CALLS] first. Whitespace is text everywhere, after [/THINK] too: mistral-common
strips none, and a history must read as it was written.

A character may be split over ids; its bytes are held until it is whole. Bytes that are not UTF-8, or that
a border cuts, come as `Malformed` with `\xNN` escapes.
"""

from __future__ import annotations

import codecs
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from localmag.types import (
    Event,
    Malformed,
    Part,
    Text,
    TextDelta,
    Thinking,
    ThinkingClosed,
    ThinkingDelta,
    ToolCall,
    ToolCallReady,
)

NOT_UTF8 = "bytes that are not UTF-8"
AFTER_END = "after the end of the reply"

# PEP 383: "surrogateescape" turns the invalid byte 0xNN into U+DCNN, which valid UTF-8 cannot produce.
_ESCAPED = re.compile("([\udc80-\udcff]+)")
# What mistral-common accepts as the name of a function.
_FUNCTION = re.compile(rb"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class ControlIds:
    """The control tokens of one tokenizer: they are the ids below `len(names)`, named by index.

    None stands for a token that this tokenizer's version does not have.
    """

    names: tuple[str, ...]
    eos: int
    think_open: int | None
    think_close: int | None
    tool_calls: int | None
    args: int | None
    call_id: int | None

    @classmethod
    def of(cls, names: Sequence[str]) -> Self:
        """Find the ids by their Tekken names. Raises ValueError where `<s>` or `</s>` is not among them."""
        ids = {name: i for i, name in enumerate(names)}
        if not {"<s>", "</s>"} <= ids.keys():
            raise ValueError("no <s> or </s> among the control tokens")
        return cls(
            names=tuple(names),
            eos=ids["</s>"],
            think_open=ids.get("[THINK]"),
            think_close=ids.get("[/THINK]"),
            tool_calls=ids.get("[TOOL_CALLS]"),
            args=ids.get("[ARGS]"),
            call_id=ids.get("[CALL_ID]"),
        )


class Utf8Stream:
    """Bytes in, text out, a split character held back until it is whole.

    Invalid bytes come out as the lone surrogates of PEP 383, one per byte, so that nothing is lost;
    `escaped` spells them out.
    """

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, data: bytes) -> str:
        return self._decoder.decode(data)

    def finish(self) -> str:
        """What was held back. The next bytes start afresh."""
        return self._decoder.decode(b"", final=True)


def escaped(text: str) -> str:
    r"""Lone surrogates of PEP 383 back to the bytes they stand for, each spelled `\xNN`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class Parser:
    """One reply. `feed` every id as it is drawn until `ended`, then `finish` once.

    `piece` gives the bytes of a text id, `vocabulary` is the number of ids (controls included), `clock`
    is in seconds. `thinking` starts the parser inside reasoning, for a prompt that left it open.

    Every id fed counts once: in `reasoning_tokens` from [THINK] to [/THINK], both included, otherwise in
    `answer_tokens`, eos included.
    """

    __slots__ = (
        "_call",
        "_clock",
        "_control",
        "_first_text",
        "_opened_at",
        "_opened_tokens",
        "_piece",
        "_utf8",
        "_vocabulary",
        "answer_tokens",
        "ended",
        "reasoning_tokens",
        "thinking",
    )

    def __init__(
        self,
        control: ControlIds,
        piece: Callable[[int], bytes],
        vocabulary: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        thinking: bool = False,
    ) -> None:
        self._control = control
        self._piece = piece
        self._vocabulary = vocabulary
        self._clock = clock
        self._first_text = len(control.names)
        self._utf8 = Utf8Stream()
        self._call: _Call | None = None
        self._opened_at = clock() if thinking else 0.0
        self._opened_tokens = 0
        self.reasoning_tokens = 0
        self.answer_tokens = 0
        self.thinking = thinking
        self.ended = False

    def feed(self, id: int) -> tuple[Event, ...]:
        """The events that this id completes: none, one, rarely two or more."""
        if self.thinking:
            self.reasoning_tokens += 1
        else:
            self.answer_tokens += 1
        if self.ended:
            return self._late(id)
        if self._first_text <= id < self._vocabulary:
            data = self._piece(id)
            if self._call is None:
                text = self._utf8.feed(data)
                return self._said(text) if text else ()
            self._call.add(data)
            return ()
        return self._border(id)

    def finish(self) -> tuple[Event, ...]:
        """Give out what is still held back: a cut character, a call without an end. Safe to call twice."""
        if self._call is not None:
            events, self._call = self._call.end(self._control), None
            return events
        held = self._utf8.finish()
        return self._said(held) if held else ()

    def _said(self, text: str) -> tuple[Event, ...]:
        delta = ThinkingDelta if self.thinking else TextDelta
        if text.isascii() or not _ESCAPED.search(text):
            return (delta(text),)
        pieces = _ESCAPED.split(text)  # odd places hold the invalid bytes
        return tuple(
            Malformed(escaped(piece), NOT_UTF8) if place % 2 else delta(piece)
            for place, piece in enumerate(pieces)
            if piece
        )

    def _border(self, id: int) -> tuple[Event, ...]:
        control = self._control
        if id == control.eos:
            self.ended = True
            return self.finish()
        if id == control.think_open:
            return (*self.finish(), self._open(id))
        if id == control.think_close:
            return (*self.finish(), self._close(id))
        if id == control.tool_calls:
            before = self.finish()
            self._call = _Call(id)
            return before
        if self._call is not None:
            self._call.mark(id)
            return ()
        known = 0 <= id < self._vocabulary
        why = "a control token out of place" if known else "an id outside the vocabulary"
        return (*self.finish(), Malformed(_spelled(id, control), why))

    def _open(self, id: int) -> Event:
        if self.thinking:
            return Malformed(_spelled(id, self._control), "reasoning was already open")
        self.thinking = True
        # feed() took the marker for the answer's.
        self.answer_tokens -= 1
        self._opened_tokens = self.reasoning_tokens
        self.reasoning_tokens += 1
        self._opened_at = self._clock()
        return ThinkingDelta("")

    def _close(self, id: int) -> Event:
        if not self.thinking:
            return Malformed(_spelled(id, self._control), "no reasoning was open")
        self.thinking = False
        tokens = self.reasoning_tokens - self._opened_tokens
        return ThinkingClosed(tokens, self._clock() - self._opened_at)

    def _late(self, id: int) -> tuple[Event, ...]:
        if self._first_text <= id < self._vocabulary:
            text = self._utf8.feed(self._piece(id))
            return (Malformed(escaped(text), AFTER_END),) if text else ()
        return (*self.finish(), Malformed(_spelled(id, self._control), AFTER_END))


class _Call:
    """A tool call being written: marker ids, each with the bytes that followed it."""

    __slots__ = ("_segments",)

    def __init__(self, tool_calls: int) -> None:
        self._segments = [(tool_calls, bytearray())]

    def mark(self, id: int) -> None:
        self._segments.append((id, bytearray()))

    def add(self, data: bytes) -> None:
        self._segments[-1][1].extend(data)

    def end(self, control: ControlIds) -> tuple[Event, ...]:
        try:
            return tuple(ToolCallReady(call) for call in self._read(control))
        except _BrokenCall as broken:
            why = str(broken)
        except RecursionError:
            why = "a tool call nested too deep"
        text = "".join(_spelled(id, control) + _bytes_spelled(data) for id, data in self._segments)
        return (Malformed(text, why),)

    def _read(self, control: ControlIds) -> list[ToolCall]:
        match [(id, bytes(data)) for id, data in self._segments]:
            case [(_, listed)] if control.args is None:
                return _listed_calls(listed)
            case [(_, name), (args, arguments)] if args == control.args:
                return [_one_call(name, arguments)]
            case [(_, name), (call_id, id), (args, arguments)] if (
                id and call_id == control.call_id and args == control.args
            ):
                return [_one_call(name, arguments, id)]
        raise _BrokenCall("a tool call that is cut off or out of order")


class _BrokenCall(ValueError):
    pass


def _one_call(name: bytes, arguments: bytes, id: bytes = b"") -> ToolCall:
    if not _FUNCTION.fullmatch(name):
        raise _BrokenCall("a tool call without a valid function name")
    if not isinstance(_json(arguments), dict):
        raise _BrokenCall("a tool call whose arguments are not a JSON object")
    try:
        return ToolCall(name.decode(), arguments.decode(), id.decode())
    except UnicodeDecodeError as exc:
        raise _BrokenCall("a tool call whose id is not UTF-8") from exc


def _listed_calls(listed: bytes) -> list[ToolCall]:
    """The form of tokenizers before v11: a JSON list of `{"name", "arguments", "id"?}`."""
    calls = _json(listed)
    if not isinstance(calls, list) or not calls:
        raise _BrokenCall("tool calls that are not a JSON list")
    return [_listed_call(call) for call in calls]


def _listed_call(call: object) -> ToolCall:
    match call:
        case {"name": str(name), "arguments": dict(arguments), **rest}:
            fields = (name, json.dumps(arguments, ensure_ascii=False), str(rest.get("id", "")))
            return _one_call(*(field.encode("utf-8", "backslashreplace") for field in fields))
    raise _BrokenCall("a tool call without a name and arguments")


def _json(data: bytes) -> object:
    try:
        return json.loads(data.decode())
    except ValueError as exc:
        raise _BrokenCall("a tool call whose arguments are not JSON") from exc


def _spelled(id: int, control: ControlIds) -> str:
    return control.names[id] if 0 <= id < len(control.names) else f"<id {id}>"


def _bytes_spelled(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "backslashreplace")


class Fold:
    """Events back to the parts of a message. Adding one takes the same time however long the reply is."""

    __slots__ = ("_done", "_kind", "_pieces", "_why")

    def __init__(self) -> None:
        self._done: list[Part] = []
        self._kind: type[Text] | type[Thinking] | type[Malformed] | None = None
        self._pieces: list[str] = []
        self._why = ""

    def add(self, event: Event) -> None:
        match event:
            case TextDelta(text):
                self._append(Text, text)
            case ThinkingDelta(text):
                self._append(Thinking, text)
            case ThinkingClosed():
                self._append(Thinking, "")
                self._end(closed=True)
            case Malformed(text, why):
                if why != self._why:
                    self._end()
                self._append(Malformed, text)
                self._why = why
            case ToolCallReady(call):
                self._end()
                self._done.append(call)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What has been added so far, in order; a stretch of reasoning is `closed` if [/THINK] ended it."""
        return (*self._done, *self._current(closed=False))

    def _append(self, kind: type[Text] | type[Thinking] | type[Malformed], text: str) -> None:
        if kind is not self._kind:
            self._end()
            self._kind = kind
        self._pieces.append(text)

    def _end(self, *, closed: bool = False) -> None:
        self._done.extend(self._current(closed=closed))
        self._kind = None
        self._pieces = []
        self._why = ""

    def _current(self, *, closed: bool) -> Iterable[Part]:
        text = "".join(self._pieces)
        if self._kind is Text:
            yield Text(text)
        elif self._kind is Thinking:
            yield Thinking(text, closed)
        elif self._kind is Malformed:
            yield Malformed(text, self._why)


def fold(events: Iterable[Event]) -> tuple[Part, ...]:
    """A whole reply's events as the parts of its message."""
    done = Fold()
    for event in events:
        done.add(event)
    return done.parts
