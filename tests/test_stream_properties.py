"""The stream parser whatever it is fed: whole, cut differently, cut short, rubbish, and very much of it.

`told` is the yardstick: it writes events back as one string, control tokens by name, and must give
exactly what `spelled` gives for the ids, which knows nothing of parsing.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from localmag.stream import Fold, Parser, fold
from localmag.types import (
    Done,
    Event,
    Loading,
    Malformed,
    Stop,
    Text,
    TextDelta,
    ThinkingClosed,
    ThinkingDelta,
    Timing,
    ToolCall,
    ToolCallReady,
    Usage,
)
from tests.feeding import (
    ARGS,
    BYTES,
    CALL_ID,
    CALLS,
    CONTROL,
    EOS,
    INST,
    THINK,
    UNTHINK,
    VOCABULARY,
    events_of,
    ids,
    parser,
    piece,
)
from tests.tekken import NAMES


def spelled(fed: Sequence[int], bytes_of: Callable[[int], bytes] = piece) -> str:
    out, run = "", b""
    for id in [*fed, None]:
        if id is not None and BYTES <= id < VOCABULARY:
            run += bytes_of(id)
            continue
        out += run.decode("utf-8", "backslashreplace")
        run = b""
        if id is not None:
            out += NAMES[id] if 0 <= id < BYTES else f"<id {id}>"
    return out


def told(fed: Iterable[int]) -> str:
    to, out = parser(), ""

    def tell(events: Sequence[Event]) -> str:
        return "".join(map(event_told, events))

    for id in fed:
        ended = to.ended
        out += tell(to.feed(id))
        out += "</s>" if to.ended and not ended else ""
    return out + tell(to.finish())


def event_told(event: Event) -> str:
    match event:
        case ThinkingDelta(""):
            return "[THINK]"
        case ThinkingClosed():
            return "[/THINK]"
        case ThinkingDelta(text) | TextDelta(text) | Malformed(text):
            return text
        case ToolCallReady(ToolCall(name, arguments, id)):
            return f"[TOOL_CALLS]{name}{'[CALL_ID]' if id else ''}{id}[ARGS]{arguments}"
    raise AssertionError(event)


# ── Properties ────────────────────────────────────────────────────────────────────────────────────


_MARKS = st.sampled_from([EOS, INST, CALLS, ARGS, CALL_ID, THINK, UNTHINK])
_JSON = st.sampled_from([ids(CALLS, "f", ARGS, "{}"), ids('{"a": "é"}'), ids("f"), ids("€ 🙂")])
_ANY = st.integers(-2, VOCABULARY + 1) | st.integers()
REPLIES = st.lists(_MARKS.map(lambda id: [id]) | _JSON | _ANY.map(lambda id: [id]), max_size=30).map(
    lambda runs: [id for run in runs for id in run]
)


@given(REPLIES)
def test_every_byte_is_told(fed: list[int]) -> None:
    assert told(fed) == spelled(fed)


@given(REPLIES)
def test_every_id_is_counted(fed: list[int]) -> None:
    to = parser()
    events_of(fed, to)
    assert to.reasoning_tokens + to.answer_tokens == len(fed)


@given(REPLIES)
def test_cut_anywhere(fed: list[int]) -> None:
    for end in range(len(fed)):
        assert told(fed[:end]) == spelled(fed[:end])


@given(REPLIES)
def test_finish_gives_nothing_twice(fed: list[int]) -> None:
    to = parser()
    events_of(fed, to)
    assert to.finish() == ()


@given(st.lists(_MARKS | st.integers(-2, -1) | st.binary(min_size=1, max_size=8), max_size=20), st.data())
def test_how_bytes_are_cut_into_ids_makes_no_difference(
    written: list[int | bytes], draw: st.DataObject
) -> None:
    pieces: dict[int, bytes] = {}
    cut: list[int] = []
    for one in written:
        if isinstance(one, int):
            cut.append(one)
            continue
        places = sorted(draw.draw(st.sets(st.integers(0, len(one)))))
        for start, end in zip([0, *places], [*places, len(one)], strict=True):
            id = BYTES + len(pieces)
            pieces[id] = one[start:end]
            cut.append(id)
    whole, otherwise = parser(), Parser(CONTROL, pieces.__getitem__, BYTES + len(pieces), lambda: 0.0)
    assert fold(events_of(ids(*written), whole)) == fold(events_of(cut, otherwise))
    assert (whole.thinking, whole.ended) == (otherwise.thinking, otherwise.ended)


# ── Fold ──────────────────────────────────────────────────────────────────────────────────────────


@given(REPLIES)
def test_folding_as_it_goes_equals_folding_at_the_end(fed: list[int]) -> None:
    events = events_of(fed)
    so_far = Fold()
    for place, event in enumerate(events):
        so_far.add(event)
        assert so_far.parts == fold(events[: place + 1])


def test_fold_passes_over_what_is_no_part() -> None:
    events: list[Event] = [Loading(1.0), TextDelta("a"), TextDelta("b"), Done(Stop.END, Usage(), Timing())]
    assert fold(events) == (Text("ab"),)


def test_fold_keeps_faults_of_different_kinds_apart() -> None:
    assert fold([Malformed("a", "x"), Malformed("b", "x"), Malformed("c", "y")]) == (
        Malformed("ab", "x"),
        Malformed("c", "y"),
    )


# ── Scale ─────────────────────────────────────────────────────────────────────────────────────────


def _calls_made(to: Parser, id: int) -> int:
    """Python and C functions called while one id is fed: work, without a clock."""
    made = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        to.feed(id)
    finally:
        sys.setprofile(None)
    return made


def test_the_forty_thousandth_id_costs_what_the_hundredth_does() -> None:
    to = parser()
    text = ids("thé ")
    to.feed(THINK)
    work, held = [], []
    tracemalloc.start()
    try:
        for place in range(40_000):
            if place in (100, 39_996):
                held.append(tracemalloc.get_traced_memory()[0])
                work.append(_calls_made(to, text[place % len(text)]))
            else:
                to.feed(text[place % len(text)])
    finally:
        tracemalloc.stop()
    assert work[0] == work[1]
    assert held[1] - held[0] < 2_000  # bytes; the text alone is 40,000
    assert to.reasoning_tokens == 40_001
