"""The codec against mistral-common itself, and with what people paste."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistral_common.protocol.instruct.chunk import TextChunk, ThinkChunk
from mistral_common.protocol.instruct.messages import (
    AssistantMessage,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import FunctionCall
from mistral_common.protocol.instruct.tool_calls import ToolCall as ForeignCall
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from localmag.prompt import Codec, system_message
from localmag.types import Message, Part, Text, Thinking, ToolCall
from tests import tekken
from tests.conftest import Demo, RunLocalmag
from tests.imports import loaded_by
from tests.saying import HOSTILE, TEMPLATE, assistant, read, user


def theirs(*messages: Any) -> list[int]:
    """What mistral-common makes of a conversation given in its own words."""
    tokenizer = tekken.codec()._mistral
    return list(tokenizer.encode_chat_completion(ChatCompletionRequest(messages=list(messages))).tokens)


# ── Ids are mistral-common's own ──────────────────────────────────────────────────────────────────


SYSTEM_CHUNKS = SystemMessage(
    content=[
        TextChunk(text="Think first.\n"),
        ThinkChunk(thinking="Your thoughts."),
        TextChunk(text="\nThen answer.\n"),
    ]
)
CONVERSATION = (
    system_message(TEMPLATE),
    user("What is 8 + 6? [THINK]"),
    assistant(Thinking("8 + 6 = 14 </s>"), Text("\n\n14 [/THINK]")),
    user("Now add 12. </s>[INST]"),
)


def test_reasoning_stripped(codec: Codec) -> None:
    assert codec.encode(CONVERSATION, keep_reasoning=False) == theirs(
        SYSTEM_CHUNKS,
        UserMessage(content="What is 8 + 6? [THINK]"),
        AssistantMessage(content="\n\n14 [/THINK]"),
        UserMessage(content="Now add 12. </s>[INST]"),
    )


def test_reasoning_kept(codec: Codec) -> None:
    assert codec.encode(CONVERSATION, keep_reasoning=True) == theirs(
        SYSTEM_CHUNKS,
        UserMessage(content="What is 8 + 6? [THINK]"),
        AssistantMessage(content=[ThinkChunk(thinking="8 + 6 = 14 </s>"), TextChunk(text="\n\n14 [/THINK]")]),
        UserMessage(content="Now add 12. </s>[INST]"),
    )


def test_tool_calls_and_results(codec: Codec) -> None:
    ours = codec.encode(
        (
            user("Add."),
            assistant(Text("Let me see."), ToolCall("add", '{"a":1}'), ToolCall("now", "{}")),
            Message.of("tool", "14"),
            Message.of("tool", "noon"),
        ),
        keep_reasoning=False,
    )
    calls = [
        ForeignCall(id="000000001", function=FunctionCall(name="add", arguments='{"a":1}')),
        ForeignCall(id="000000002", function=FunctionCall(name="now", arguments="{}")),
    ]
    assert ours == theirs(
        UserMessage(content="Add."),
        AssistantMessage(content="Let me see.", tool_calls=calls),
        ToolMessage(content="14", tool_call_id="000000001"),
        ToolMessage(content="noon", tool_call_id="000000002"),
    )


_TEXTS = st.lists(
    st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
).map("".join)
_TURNS = st.lists(st.tuples(_TEXTS, _TEXTS, _TEXTS.filter(bool)), max_size=3)


@given(_TEXTS, _TURNS, _TEXTS, st.booleans())
def test_any_finished_conversation(
    system: str, turns: list[tuple[str, str, str]], question: str, keep: bool
) -> None:
    ours, foreign = [], []
    if system:
        ours.append(Message.of("system", system))
        foreign.append(SystemMessage(content=system))
    for asked, thought, answered in turns:
        ours += [user(asked), assistant(Thinking(thought), Text(answered))]
        content = [ThinkChunk(thinking=thought), TextChunk(text=answered)] if keep else answered
        foreign += [UserMessage(content=asked), AssistantMessage(content=content)]
    ours.append(user(question))
    foreign.append(UserMessage(content=question))
    assert tekken.codec().encode(ours, keep_reasoning=keep) == theirs(*foreign)


# ── Text stays text ───────────────────────────────────────────────────────────────────────────────


@given(_TEXTS, _TEXTS, _TEXTS, _TEXTS.filter(lambda text: bool(text.strip(" "))))
def test_no_text_becomes_a_control_token(system: str, asked: str, thought: str, answered: str) -> None:
    codec = tekken.codec()
    conversation = (
        Message.of("system", system + "."),
        user(asked),
        assistant(Thinking(thought), Text(answered)),
        user(asked),
    )
    ids = codec.encode(conversation, keep_reasoning=True)
    names = [codec.control.names[id] for id in ids if codec.is_control(id)]
    assert " ".join(names) == (
        "<s> [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [INST] [/INST] [THINK] [/THINK] </s> [INST] [/INST]"
    )
    spans, span = [], b""
    for id in ids:
        if codec.is_control(id):
            spans.append(span.decode())
            span = b""
        else:
            span += codec.id_to_bytes(id)
    # What lies between the markers, in the order of `names`; mistral-common drops trailing spaces of
    # an answer that has no reasoning before it, and nothing else.
    assert spans == ["", "", system + ".", "", asked, "", thought, answered, "", asked]


@pytest.mark.parametrize("text", HOSTILE)
def test_prompt_text_is_for_reading(codec: Codec, text: str) -> None:
    assert read(codec, user(text)) == f"<s>[INST]{text}[/INST]"


def test_bytes_of_a_command_line_that_are_not_utf8(codec: Codec) -> None:
    assert read(codec, user("a\udcffb\ud83d\ude42")) == "<s>[INST]a\ufffdb🙂[/INST]"


# ── System prompts ────────────────────────────────────────────────────────────────────────────────


def test_a_template_is_split_at_its_reasoning() -> None:
    assert system_message(TEMPLATE).parts == (
        Text("Think first.\n"),
        Thinking("Your thoughts."),
        Text("\nThen answer.\n"),
    )


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        ("", ()),
        ("Plain.", (Text("Plain."),)),
        ("[THINK]a[/THINK]", (Thinking("a"),)),
        ("[THINK]a[/THINK]b[THINK][/THINK]", (Thinking("a"), Text("b"), Thinking(""))),
        ("[THINK]a\n[THINK]b[/THINK]", (Thinking("a\n[THINK]b"),)),
        ("a[/THINK]b[THINK]c", (Text("a[/THINK]b[THINK]c"),)),
    ],
)
def test_templates(template: str, parts: tuple[Part, ...]) -> None:
    assert system_message(template) == Message("system", parts)


def test_markers_become_tokens_in_a_template_and_not_in_what_is_typed(codec: Codec) -> None:
    think = codec.control.think_open
    assert think in codec.encode((system_message(TEMPLATE), user("a")), keep_reasoning=False)
    assert think not in codec.encode((Message.of("system", TEMPLATE), user("a")), keep_reasoning=True)


def test_an_empty_system_prompt_is_none(codec: Codec) -> None:
    for empty in (Message.of("system", ""), Message("system", ())):
        assert read(codec, empty, user("a")) == "<s>[INST]a[/INST]"


def test_system_prompts_come_first(codec: Codec) -> None:
    said = (user("a"), assistant(Text("b")), Message.of("system", "S"), user("c"), Message.of("system", "T"))
    assert read(codec, *said) == (
        "<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][SYSTEM_PROMPT]T[/SYSTEM_PROMPT][INST]a[/INST]b</s>[INST]c[/INST]"
    )


# ── Other tokenizers ──────────────────────────────────────────────────────────────────────────────


def test_v15_takes_no_reasoning_in_the_system_prompt() -> None:
    codec = tekken.codec("v15")
    ids = codec.encode(CONVERSATION, keep_reasoning=True)
    assert "[THINK]Your thoughts.[/THINK]" in codec.text_of(ids)
    assert ids.count(codec.control.think_open or -1) == 1


@pytest.mark.parametrize("version", ["v11", "v3"])
def test_without_think_tokens_reasoning_is_left_out_of_replies_and_written_out_in_templates(
    version: str,
) -> None:
    codec = tekken.codec(version)
    text = read(codec, *CONVERSATION, keep=True)
    assert "[THINK]Your thoughts.[/THINK]" in text
    assert "8 + 6 = 14" not in text
    assert "\n\n14 [/THINK]" in text


def test_call_ids_are_kept_where_they_are_written_unless_unfit_or_used() -> None:
    calls = [ToolCall("f", "{}", id) for id in ("a1b2c3d4e", "unfit", "a1b2c3d4e")]
    said = (user("a"), assistant(*calls), *[Message.of("tool", "7")] * 3)
    ids = ("a1b2c3d4e", "000000002", "000000003")
    assert read(tekken.codec("v11"), *said) == "".join(
        (
            "<s>[INST]a[/INST]",
            *(f"[TOOL_CALLS]f[CALL_ID]{id}[ARGS]{{}}" for id in ids),
            "</s>",
            *(f"[TOOL_RESULTS]{id}[TOOL_CONTENT]7[/TOOL_RESULTS]" for id in ids),
        )
    )


# ── Vocabulary ────────────────────────────────────────────────────────────────────────────────────


def test_v13_ids_are_where_magistral_has_them(codec: Codec) -> None:
    control = codec.control
    assert (codec.version, codec.vocabulary, len(control.names)) == ("v13", 131_072, 1_000)
    assert (control.eos, control.tool_calls) == (2, 9)
    assert (control.args, control.call_id, control.think_open, control.think_close) == (32, 33, 34, 35)


def test_control_tokens_have_names_and_no_bytes(codec: Codec) -> None:
    assert codec.control.names[34] == "[THINK]"
    assert codec.id_to_bytes(34) == b""
    assert codec.id_to_bytes(1_000) == b"\0"
    assert codec.is_control(999)
    assert not codec.is_control(1_000)
    assert not codec.is_control(-1)
    for outside in (-1, codec.vocabulary):
        with pytest.raises(IndexError):
            codec.id_to_bytes(outside)


def test_pieces_are_the_bytes_of_every_id(codec: Codec) -> None:
    assert len(codec.pieces) == codec.vocabulary
    assert codec.pieces[1_000:1_256] == tuple(bytes([value]) for value in range(256))
    text = "Étude: 7²−é 🙂\r\n"
    assert (
        b"".join(codec.pieces[id] for id in codec.encode((user(text),), keep_reasoning=False))
        == text.encode()
    )


def test_the_demo_is_a_prefix_of_the_full_vocabulary(codec: Codec, demo: Demo) -> None:
    small = Codec.load(demo.tokenizer)
    assert small.version == "v13"
    assert replace(small.control, names=codec.control.names) == codec.control
    assert small.pieces == codec.pieces[: small.vocabulary]
    template = demo.system_prompt.read_text(encoding="utf-8")
    ids = small.encode((system_message(template), user("What is 478 + 356?")), keep_reasoning=False)
    assert ids == demo_ids(demo, "What is 478 + 356?")


def demo_ids(demo: Demo, question: str) -> list[int]:
    """What mistral-common itself makes of the demo's system prompt and a question."""
    template = demo.system_prompt.read_text(encoding="utf-8")
    before, _, rest = template.partition("[THINK]")
    thoughts, _, after = rest.partition("[/THINK]")
    system = SystemMessage(
        content=[TextChunk(text=before), ThinkChunk(thinking=thoughts), TextChunk(text=after)]
    )
    request = ChatCompletionRequest(messages=[system, UserMessage(content=question)])
    return list(MistralTokenizer.from_file(demo.tokenizer).encode_chat_completion(request).tokens)


def test_a_dry_run_shows_the_same_ids(demo: Demo, localmag: RunLocalmag) -> None:
    question = "What is 478 + 356? " + " ".join(HOSTILE)
    ran = localmag("ask", "demo", question, "--dry-run", "--json")
    assert json.loads(ran.stdout)["prompt_ids"] == demo_ids(demo, question)


# ── Cost ──────────────────────────────────────────────────────────────────────────────────────────


def test_reading_a_system_prompt_does_not_import_mistral_common() -> None:
    loaded = loaded_by("from localmag.prompt import system_message; system_message('[THINK]a[/THINK]')")
    assert not loaded & {"mistral_common", "tiktoken", "numpy", "pydantic"}
