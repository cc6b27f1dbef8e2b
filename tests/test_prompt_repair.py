"""Conversations that went wrong are encoded as they would have gone right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmag.errors import WrongUsage
from localmag.prompt import Codec
from localmag.types import Malformed, Message, Part, Role, Text, Thinking, ToolCall
from tests import tekken
from tests.saying import assistant, read, user


def test_a_reply_stopped_while_thinking(codec: Codec) -> None:
    said = (user("a"), assistant(Thinking("hm", closed=False)), user("b"))
    assert read(codec, *said) == "<s>[INST]a\n\nb[/INST]"
    assert read(codec, *said, keep=True) == "<s>[INST]a[/INST][THINK]hm[/THINK]</s>[INST]b[/INST]"


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    "reply",
    [
        (),
        (Text(""),),
        (Thinking("", closed=False),),
        (Malformed("[INST]", "?"),),
        (Text(""), Malformed("x", "?"), Text("")),
        (ToolCall("f", "{}"),),
    ],
)
def test_a_reply_with_nothing_left_is_left_out(codec: Codec, reply: tuple[Part, ...], keep: bool) -> None:
    assert (
        read(codec, user("a"), Message("assistant", reply), user("b"), keep=keep) == "<s>[INST]a\n\nb[/INST]"
    )


def test_a_reply_stopped_while_answering(codec: Codec) -> None:
    said = (user("a"), assistant(Thinking("hm"), Text("the ans")), user("b"))
    assert read(codec, *said) == "<s>[INST]a[/INST]the ans</s>[INST]b[/INST]"


def test_reasoning_that_an_answer_follows_is_closed(codec: Codec) -> None:
    reply = assistant(Thinking("hm", closed=False), Text("b"))
    expected = "<s>[INST]a[/INST][THINK]hm[/THINK]b"
    assert read(codec, user("a"), reply) == expected
    assert read(codec, user("a"), reply, user("c"), keep=True) == f"{expected}</s>[INST]c[/INST]"


def test_two_questions_in_a_row_are_both_asked(codec: Codec) -> None:
    assert read(codec, user("a"), user("b")) == "<s>[INST]a\n\nb[/INST]"


def test_malformed_output_is_left_out_and_its_sides_joined(codec: Codec) -> None:
    bad = Malformed(r"\xff", "bytes that are not UTF-8")
    reply = assistant(Thinking("on", closed=False), bad, Thinking("e"), Text("t"), bad, Text("wo"))
    assert read(codec, user("a"), reply, user("b"), keep=True) == (
        "<s>[INST]a[/INST][THINK]one[/THINK]two</s>[INST]b[/INST]"
    )


def test_several_stretches_of_reasoning(codec: Codec) -> None:
    reply = assistant(Thinking("one"), Text("A"), Thinking("two"), Thinking("three"), Text("B"))
    said = (user("a"), reply, user("b"))
    assert read(codec, *said) == "<s>[INST]a[/INST]AB</s>[INST]b[/INST]"
    assert read(codec, *said, keep=True) == (
        "<s>[INST]a[/INST][THINK]one[/THINK]A[THINK]two[/THINK][THINK]three[/THINK]B</s>[INST]b[/INST]"
    )


@pytest.mark.parametrize("keep", [False, True])
def test_a_last_reply_is_continued_where_it_stopped(codec: Codec, keep: bool) -> None:
    thinking = codec.encode((user("a"), assistant(Thinking("hm", closed=False))), keep_reasoning=keep)
    assert codec.text_of(thinking) == "<s>[INST]a[/INST][THINK]hm"
    assert codec.continues_thinking(thinking)
    answering = codec.encode((user("a"), assistant(Thinking("hm"), Text("the ans"))), keep_reasoning=keep)
    assert codec.text_of(answering) == "<s>[INST]a[/INST][THINK]hm[/THINK]the ans"
    assert not codec.continues_thinking(answering)
    opened = codec.encode((user("a"), assistant(Thinking("", closed=False))), keep_reasoning=keep)
    assert codec.continues_thinking(opened)


def test_a_last_reply_with_nothing_in_it_is_begun_anew(codec: Codec) -> None:
    assert read(codec, user("a"), assistant()) == "<s>[INST]a[/INST]"


def test_calls_without_results_and_results_without_calls(codec: Codec) -> None:
    call, result = ToolCall("f", "{}"), Message.of("tool", "7")
    assert read(codec, user("a"), assistant(call, call), result) == (
        "<s>[INST]a[/INST][TOOL_CALLS]f[ARGS]{}</s>[TOOL_RESULTS]7[/TOOL_RESULTS]"
    )
    assert read(codec, user("a"), assistant(Text("b"), call), user("c"), result) == (
        "<s>[INST]a[/INST]b</s>[INST]c\n\n7[/INST]"
    )
    assert read(codec, result) == "<s>[INST]7[/INST]"


@pytest.mark.parametrize(
    "said",
    [
        (),
        (Message.of("system", "S"),),
        (assistant(Text("b")),),
        (Message.of("system", "S"), assistant(Text("b"))),
    ],
)
def test_nothing_to_reply_to(codec: Codec, said: tuple[Message, ...]) -> None:
    with pytest.raises(WrongUsage):
        codec.encode(said, keep_reasoning=False)


def test_what_the_tokenizer_cannot_take_is_a_clean_error(codec: Codec) -> None:
    with pytest.raises(WrongUsage):
        codec.encode((user(" " * 2_000_000),), keep_reasoning=False)


_TEXT = st.sampled_from(["", " ", "x", "é\n", "[THINK]", "\udcff"])
_PARTS = st.one_of(
    st.builds(Text, _TEXT),
    st.builds(Thinking, _TEXT, st.booleans()),
    st.builds(Malformed, _TEXT, st.just("?")),
    st.builds(
        ToolCall,
        st.sampled_from(["f", "g"]),
        st.sampled_from(["{}", '{"a": 1}']),
        st.sampled_from(["", "a1b2c3d4e"]),
    ),
)
_ROLES: st.SearchStrategy[Role] = st.sampled_from(["system", "user", "assistant", "tool"])
_MESSAGES = st.builds(Message, _ROLES, st.lists(_PARTS, max_size=4).map(tuple))


@pytest.mark.parametrize("version", ["v15", "v13", "v11"])
@given(st.lists(_MESSAGES, max_size=8), st.booleans())
def test_any_conversation_is_encoded_and_nothing_said_is_missing(
    version: str, messages: list[Message], keep: bool
) -> None:
    codec = tekken.codec(version)
    messages = [*messages, user("the question")]
    text = read(codec, *messages, keep=keep)
    assert "the question" in text
    place = 0
    for message in messages:
        if message.role in ("user", "tool"):
            for part in message.parts:
                if isinstance(part, Text):
                    place = text.index(part.text.replace("\udcff", "\ufffd"), place)
