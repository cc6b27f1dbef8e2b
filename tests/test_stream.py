"""The stream parser, case by case: what it makes of ids, and how it counts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmag.stream import AFTER_END, NOT_UTF8, ControlIds, Parser, Utf8Stream, escaped, fold
from localmag.types import Malformed, Text, TextDelta, Thinking, ThinkingClosed, ToolCall, ToolCallReady
from tests.feeding import (
    ARGS,
    CALL_ID,
    CALLS,
    EOS,
    INST,
    THINK,
    UNTHINK,
    VOCABULARY,
    events_of,
    ids,
    parser,
    parts,
)
from tests.tekken import NAMES

# ── Grammar, case by case ─────────────────────────────────────────────────────────────────────────


def test_reasoning_and_answer() -> None:
    assert parts(THINK, "8 + 6", UNTHINK, "14", EOS) == (Thinking("8 + 6"), Text("14"))


def test_answer_without_reasoning() -> None:
    assert parts("14", EOS) == (Text("14"),)


def test_whitespace_between_reasoning_and_answer_is_kept() -> None:
    assert parts(THINK, " a\n", UNTHINK, "\n\n b ", EOS) == (Thinking(" a\n"), Text("\n\n b "))


def test_letters_of_markers_are_text() -> None:
    literal = "[THINK]no[/THINK]</s>[TOOL_CALLS]f[ARGS]{}"
    assert parts(literal, EOS) == (Text(literal),)
    assert parts(THINK, literal, UNTHINK) == (Thinking(literal),)


def test_empty_reasoning_is_a_part() -> None:
    assert parts(THINK, UNTHINK, "14", EOS) == (Thinking(""), Text("14"))


@pytest.mark.parametrize("end", [(), (EOS,)], ids=["cut", "eos"])
def test_reasoning_never_closed(end: tuple[int, ...]) -> None:
    assert parts(THINK, "8 +", *end) == (Thinking("8 +", closed=False),)
    assert parts(THINK, *end) == (Thinking("", closed=False),)


def test_reasoning_closed_twice() -> None:
    assert parts(THINK, "a", UNTHINK, "b", UNTHINK, "c", EOS) == (
        Thinking("a"),
        Text("b"),
        Malformed("[/THINK]", "no reasoning was open"),
        Text("c"),
    )


def test_reasoning_reopened_after_the_answer() -> None:
    assert parts(THINK, "a", UNTHINK, "b", THINK, "c", UNTHINK, "d", EOS) == (
        Thinking("a"),
        Text("b"),
        Thinking("c"),
        Text("d"),
    )
    assert parts(THINK, "a", UNTHINK, THINK, "c", UNTHINK) == (Thinking("a"), Thinking("c"))


def test_bare_close() -> None:
    assert parts(UNTHINK, "14") == (Malformed("[/THINK]", "no reasoning was open"), Text("14"))


def test_opened_twice() -> None:
    assert parts(THINK, "a", THINK, "b", UNTHINK) == (
        Thinking("a", closed=False),
        Malformed("[THINK]", "reasoning was already open"),
        Thinking("b"),
    )


def test_a_prompt_that_ends_inside_reasoning() -> None:
    to = parser(thinking=True)
    assert fold(events_of(ids("8 + 6", UNTHINK, "14", EOS), to)) == (Thinking("8 + 6"), Text("14"))
    assert (to.reasoning_tokens, to.answer_tokens) == (6, 3)


def test_other_control_ids() -> None:
    assert parts("a", INST, "b", EOS) == (
        Text("a"),
        Malformed("[INST]", "a control token out of place"),
        Text("b"),
    )
    assert parts(ARGS) == (Malformed("[ARGS]", "a control token out of place"),)


@pytest.mark.parametrize("id", [-1, -(2**70), VOCABULARY, 2**70])
def test_ids_outside_the_vocabulary(id: int) -> None:
    assert parts("a", id, "b") == (
        Text("a"),
        Malformed(f"<id {id}>", "an id outside the vocabulary"),
        Text("b"),
    )


def test_nothing_at_all() -> None:
    assert parts() == ()
    assert parts(EOS) == ()


def test_after_the_end() -> None:
    to = parser()
    assert fold(events_of(ids("a", EOS, "é", THINK, EOS), to)) == (
        Text("a"),
        Malformed("é[THINK]</s>", AFTER_END),
    )
    assert to.ended
    assert not to.thinking


# ── Characters ────────────────────────────────────────────────────────────────────────────────────


def test_a_split_character_waits_until_it_is_whole() -> None:
    to = parser()
    first, *rest = ids("€")
    assert to.feed(first) == ()
    assert to.feed(rest[0]) == ()
    assert to.feed(rest[1]) == (TextDelta("€"),)


def test_a_character_cut_by_a_border() -> None:
    head, tail = "€".encode()[:2], "€".encode()[2:]
    assert parts(THINK, "a", head, UNTHINK, tail, "b") == (
        Thinking("a", closed=False),
        Malformed(r"\xe2\x82", NOT_UTF8),
        Thinking(""),
        Malformed(r"\xac", NOT_UTF8),
        Text("b"),
    )


def test_a_character_cut_by_the_end() -> None:
    assert parts("a", b"\xe2\x82") == (Text("a"), Malformed(r"\xe2\x82", NOT_UTF8))
    assert parts("a", b"\xe2\x82", EOS) == (Text("a"), Malformed(r"\xe2\x82", NOT_UTF8))


def test_invalid_bytes_are_named_where_they_stand() -> None:
    assert parts("a", b"\xff\xfe", "b") == (Text("a"), Malformed(r"\xff\xfe", NOT_UTF8), Text("b"))


def test_unusual_characters_are_text() -> None:
    odd = "\0\x1b[2J\u2028\ufeff\ufffd\U0010ffff"
    assert parts(odd) == (Text(odd),)


@given(st.binary(), st.data())
def test_utf8_stream_loses_nothing(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.sets(st.integers(0, len(data)))))
    stream, out = Utf8Stream(), ""
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        out += stream.feed(data[start:end])
    out += stream.finish()
    assert out.encode("utf-8", "surrogateescape") == data
    assert escaped(out) == data.decode("utf-8", "backslashreplace")


# ── Tool calls ────────────────────────────────────────────────────────────────────────────────────


def test_calls() -> None:
    assert parts("Let me see.", CALLS, "add", ARGS, '{"a": 1}', CALLS, "now", ARGS, "{}", EOS) == (
        Text("Let me see."),
        ToolCall("add", '{"a": 1}'),
        ToolCall("now", "{}"),
    )


def test_a_call_with_an_id() -> None:
    assert parts(CALLS, "add", CALL_ID, "a1b2c3d4e", ARGS, '{"a": 1}', EOS) == (
        ToolCall("add", '{"a": 1}', "a1b2c3d4e"),
    )


def test_a_call_after_reasoning() -> None:
    assert parts(THINK, "a", UNTHINK, CALLS, "f", ARGS, "{}", EOS) == (Thinking("a"), ToolCall("f", "{}"))


def test_a_call_inside_reasoning() -> None:
    assert parts(THINK, "a", CALLS, "f", ARGS, "{}", EOS) == (
        Thinking("a", closed=False),
        ToolCall("f", "{}"),
    )
    assert parts(THINK, "a", CALLS, "f", ARGS, "{}", UNTHINK, "b", EOS) == (
        Thinking("a", closed=False),
        ToolCall("f", "{}"),
        Thinking(""),
        Text("b"),
    )


def test_a_call_that_nothing_ends_but_is_whole() -> None:
    assert parts(CALLS, "f", ARGS, "{}") == (ToolCall("f", "{}"),)


def test_calls_are_told_when_they_end_and_not_before() -> None:
    to = parser()
    assert not any(to.feed(id) for id in ids(CALLS, "f", ARGS, "{}"))
    assert to.feed(CALLS) == (ToolCallReady(ToolCall("f", "{}")),)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ((CALLS,), "[TOOL_CALLS]"),
        ((CALLS, "f"), "[TOOL_CALLS]f"),
        ((CALLS, "f", ARGS), "[TOOL_CALLS]f[ARGS]"),
        ((CALLS, "f", ARGS, '{"a": '), '[TOOL_CALLS]f[ARGS]{"a": '),
        ((CALLS, '[{"name": "f", "arguments": {}}]'), '[TOOL_CALLS][{"name": "f", "arguments": {}}]'),
        ((CALLS, "f", INST, "{}"), "[TOOL_CALLS]f[INST]{}"),
        ((CALLS, "f", ARGS, "[1]"), "[TOOL_CALLS]f[ARGS][1]"),
        ((CALLS, "f", ARGS, "{} and so on"), "[TOOL_CALLS]f[ARGS]{} and so on"),
        ((CALLS, "f", ARGS, "{}", ARGS, "{}"), "[TOOL_CALLS]f[ARGS]{}[ARGS]{}"),
        ((CALLS, "f", CALL_ID, ARGS, "{}"), "[TOOL_CALLS]f[CALL_ID][ARGS]{}"),
        ((CALLS, "f", ARGS, "{}", CALL_ID, "1"), "[TOOL_CALLS]f[ARGS]{}[CALL_ID]1"),
        ((CALLS, "", ARGS, "{}"), "[TOOL_CALLS][ARGS]{}"),
        ((CALLS, "f g", ARGS, "{}"), "[TOOL_CALLS]f g[ARGS]{}"),
        ((CALLS, "f", INST, ARGS, "{}"), "[TOOL_CALLS]f[INST][ARGS]{}"),
        ((CALLS, "f", -7, ARGS, "{}"), "[TOOL_CALLS]f<id -7>[ARGS]{}"),
        ((CALLS, "f", ARGS, b'{"a": "\xff"}'), r'[TOOL_CALLS]f[ARGS]{"a": "\xff"}'),
        ((CALLS, "f", CALL_ID, b"\xff", ARGS, "{}"), r"[TOOL_CALLS]f[CALL_ID]\xff[ARGS]{}"),
        ((CALLS, "f", ARGS, '{"a":' + "9" * 5000 + "}"), '[TOOL_CALLS]f[ARGS]{"a":' + "9" * 5000 + "}"),
        ((CALLS, "f", ARGS, '{"a":' + "[" * 100_000), '[TOOL_CALLS]f[ARGS]{"a":' + "[" * 100_000),
    ],
)
def test_a_broken_call_is_kept_whole(written: tuple[int | str | bytes, ...], text: str) -> None:
    (kept,) = parts(*written, EOS)
    assert isinstance(kept, Malformed)
    assert kept.text == text
    assert kept.why


def test_calls_of_old_tokenizers_are_one_json_list() -> None:
    old = ControlIds.of(NAMES[:20])

    def read(text: str) -> tuple[object, ...]:
        to = Parser(old, lambda id: bytes([id - 20]), 276)
        return fold(events_of([CALLS, *(20 + byte for byte in text.encode()), EOS], to))

    assert read('[{"name": "f", "arguments": {"é": 1}, "id": "x"}, {"name": "g", "arguments": {}}]') == (
        ToolCall("f", '{"é": 1}', "x"),
        ToolCall("g", "{}"),
    )
    for broken in ("", "[]", "{}", "[1]", '[{"name": "f"}]', '[{"name": 1, "arguments": {}}]', "[" * 100_000):
        (kept,) = read(broken)
        assert isinstance(kept, Malformed)
        assert kept.text == f"[TOOL_CALLS]{broken}"


# ── Numbers ───────────────────────────────────────────────────────────────────────────────────────


def test_every_id_is_counted_once_and_markers_with_the_reasoning() -> None:
    to = parser()
    events_of(ids(THINK, "abc", UNTHINK, "de", EOS), to)
    assert (to.reasoning_tokens, to.answer_tokens) == (5, 3)


def test_each_stretch_has_its_own_tokens_and_seconds() -> None:
    times = iter((10.0, 12.5, 20.0, 21.0))
    to = parser(lambda: next(times))
    events = events_of(ids(THINK, "abc", UNTHINK, "de", THINK, UNTHINK, EOS), to)
    assert [e for e in events if isinstance(e, ThinkingClosed)] == [
        ThinkingClosed(5, 2.5),
        ThinkingClosed(2, 1.0),
    ]


def test_thinking_and_ended_follow_the_ids() -> None:
    to = parser()
    seen = []
    for id in ids(THINK, "a", UNTHINK, "b", EOS):
        to.feed(id)
        seen.append((to.thinking, to.ended))
    assert seen == [(True, False), (True, False), (False, False), (False, False), (False, True)]
