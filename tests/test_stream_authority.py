"""Whatever the parser accepts, mistral-common's own splitter of finished replies reads the same way."""

from __future__ import annotations

import functools
import json
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mistral_common.experimental.think import _split_content_and_think_chunks
from mistral_common.experimental.tools import _decode_tool_calls, _split_content_and_tool_calls
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from localmag.stream import Parser, fold
from localmag.types import Event, Malformed, Part, Text, Thinking, ToolCall
from tests import tekken

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["[THINK]", "[/THINK]</s>", "[TOOL_CALLS]f[ARGS]{}", "\n\n", "  x  ", "7²−é 🙂"]
)
ARGUMENTS = st.dictionaries(TEXTS, TEXTS | st.integers() | st.none() | st.booleans(), max_size=3)
CALLS = st.tuples(
    st.from_regex("[a-zA-Z0-9_-]{1,64}", fullmatch=True),
    st.sampled_from(["", "a1b2c3d4e"]),
    ARGUMENTS.map(lambda value: json.dumps(value, ensure_ascii=False)),
)
CONTENT = st.lists(st.tuples(st.sampled_from(["text", "think"]), TEXTS), max_size=5)


@functools.cache
def tokenizer(version: str) -> Tekkenizer:
    return tekken.codec(version)._tekken


def parsed(ids: list[int], version: str) -> tuple[Part, ...]:
    codec = tekken.codec(version)
    parser = Parser(codec.control, codec.id_to_bytes, codec.vocabulary)
    events: list[Event] = []
    for id in ids:
        events += parser.feed(id)
    return fold([*events, *parser.finish()])


def split(ids: list[int], version: str) -> tuple[Part, ...]:
    """The authority's answer, in our words. Raises ValueError for what it refuses."""
    control, reader = tekken.codec(version).control, tokenizer(version)
    assert control.tool_calls is not None
    content, calls = _split_content_and_tool_calls(ids, control.tool_calls)
    parts: list[Part] = []
    if control.think_open is None or control.think_close is None:
        chunks = [(content, False)]
    else:
        chunks = _split_content_and_think_chunks(content, control.think_open, control.think_close)
    for chunk, is_think in chunks:
        text = reader.decode(chunk)
        if is_think:
            parts.append(Thinking(text, closed=chunk[-1] == control.think_close))
        elif text:
            parts.append(Text(text))
    for call in _decode_tool_calls(calls, reader):
        id = "" if call.id == "null" else call.id
        parts.append(ToolCall(call.function.name, call.function.arguments, id))
    return tuple(parts)


def canonical(parts: tuple[Part, ...]) -> tuple[object, ...]:
    """The arguments by value: we keep the model's spelling, the authority writes the JSON anew."""
    return tuple((p.name, p.id, json.loads(p.arguments)) if isinstance(p, ToolCall) else p for p in parts)


def reply(version: str, content: list[tuple[str, str]], calls: list[tuple[str, str, str]]) -> list[int]:
    control, reader = tekken.codec(version).control, tokenizer(version)
    ids: list[int] = []
    for kind, text in content:
        run = reader.encode(text, bos=False, eos=False)
        if kind == "think" and control.think_open is not None and control.think_close is not None:
            run = [control.think_open, *run, control.think_close]
        ids += run
    for name, id, arguments in calls:
        assert control.tool_calls is not None
        assert control.args is not None
        ids += [control.tool_calls, *reader.encode(name, bos=False, eos=False)]
        if id and version == "v11":
            assert control.call_id is not None
            ids += [control.call_id, *reader.encode(id, bos=False, eos=False)]
        ids += [control.args, *reader.encode(arguments, bos=False, eos=False)]
    return [*ids, control.eos]


@pytest.mark.parametrize("version", ["v13", "v11"])
@given(CONTENT, st.lists(CALLS, max_size=3))
def test_finished_replies(
    version: str, content: list[tuple[str, str]], calls: list[tuple[str, str, str]]
) -> None:
    ids = reply(version, content, calls)
    assert canonical(parsed(ids, version)) == canonical(split(ids, version))


@given(CONTENT, st.lists(CALLS, max_size=3), st.data())
def test_cut_replies(
    content: list[tuple[str, str]], calls: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    ids = reply("v13", content, calls)
    ids = ids[: data.draw(st.integers(1, len(ids)))]
    parts = parsed(ids, "v13")
    assume(not any(isinstance(part, Malformed) for part in parts))
    assert canonical(parts) == canonical(split(ids, "v13"))


@given(CONTENT, st.lists(CALLS, max_size=2), st.data())
def test_whatever_is_accepted(
    content: list[tuple[str, str]], calls: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    """Markers dropped in anywhere: either we find fault, or the authority agrees."""
    control = tekken.codec().control
    ids = reply("v13", content, calls)[:-1]
    for marker in data.draw(st.lists(st.sampled_from([control.think_open, control.think_close]), max_size=3)):
        assert marker is not None
        ids.insert(data.draw(st.integers(0, len(ids))), marker)
    parts = parsed(ids, "v13")
    assume(not any(isinstance(part, Malformed) for part in parts))
    # A think border after a call is text to the authority's JSON; we end the call there.
    assume(not any(isinstance(a, ToolCall) and not isinstance(b, ToolCall) for a, b in pairwise(parts)))
    assert canonical(parts) == canonical(split([*ids, control.eos], "v13"))


@given(st.lists(CALLS, min_size=1, max_size=3))
def test_calls_of_old_tokenizers(calls: list[tuple[str, str, str]]) -> None:
    control, reader = tekken.codec("v3").control, tokenizer("v3")
    assert control.tool_calls is not None
    listed = [
        {"name": name, "arguments": json.loads(arguments)} | ({"id": id} if id else {})
        for name, id, arguments in calls
    ]
    text = json.dumps(listed, ensure_ascii=False)
    ids = [control.tool_calls, *reader.encode(text, bos=False, eos=False), control.eos]
    assert canonical(parsed(ids, "v3")) == canonical(split(ids, "v3"))
