"""A turn through codec, model and parser, the model being a script."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence

import pytest

from localmag.engines.local import LocalEngine
from localmag.engines.scripted import Scripted
from localmag.errors import ContextTooSmall, RunFailed, WrongUsage
from localmag.prompt import Codec
from localmag.stream import NOT_UTF8, fold
from localmag.types import (
    Cancel,
    Done,
    Event,
    Malformed,
    Message,
    Part,
    Prefill,
    Sampling,
    Stop,
    Text,
    TextDelta,
    Thinking,
    ThinkingClosed,
    ToolCall,
    Turn,
)

THINK, CLOSE, CALLS, ARGS, EOS = 34, 35, 9, 32, 2


def text(words: str) -> list[int]:
    """Ids of a text, one per byte: Tekken's first ranks."""
    return [1_000 + byte for byte in words.encode()]


def turn(*said: str, max_tokens: int = 1_000, keep_reasoning: bool = False) -> Turn:
    roles = ("user", "assistant")
    messages = tuple(Message.of(roles[i % 2], words) for i, words in enumerate(said))
    return Turn(messages, Sampling(), max_tokens, keep_reasoning)


def reply(
    engine: LocalEngine, asked: Turn, cancel: threading.Event | None = None
) -> tuple[list[Event], Done]:
    *events, done = engine.reply(asked, cancel or threading.Event())
    assert isinstance(done, Done)
    return events, done


def engine(codec: Codec, *replies: Sequence[int], **arguments: float) -> LocalEngine:
    return LocalEngine(Scripted(replies, **arguments), codec)  # type: ignore[arg-type]


def test_reasoning_and_answer_come_apart_and_are_counted(codec: Codec) -> None:
    ids = [THINK, *text("hm"), CLOSE, *text("834")]
    events, done = reply(engine(codec, ids), turn("478 + 356?"))
    assert fold(events) == (Thinking("hm"), Text("834"))
    assert done.stop is Stop.END
    assert (done.usage.reasoning_tokens, done.usage.answer_tokens) == (4, 4)  # markers and eos count


def test_usage_counts_the_prompt_as_the_codec_does_and_what_the_cache_held(codec: Codec) -> None:
    playing = engine(codec, text("yes"))
    first, second = turn("one?"), turn("one?", "yes", "two?")
    _, done = reply(playing, first)
    prompt = codec.encode(first.messages, keep_reasoning=False)
    assert (done.usage.prompt_tokens, done.usage.cached_tokens) == (len(prompt), 0)
    events, done = reply(playing, second)
    assert len(prompt) <= done.usage.cached_tokens < done.usage.prompt_tokens
    assert events[0] == Prefill(done.usage.cached_tokens, done.usage.prompt_tokens)


def test_timings_add_up(codec: Codec) -> None:
    playing = LocalEngine(Scripted([text("abcde")], chunk_s=0.05, id_s=0.02), codec, load_s=1.5)
    _, done = reply(playing, turn("?"))
    timing = done.timing
    assert timing.load_s == 1.5
    assert 0.05 <= timing.prefill_s <= timing.ttft_s
    assert timing.decode_s >= 5 * 0.02
    assert timing.decode_tps == pytest.approx(5 / timing.decode_s)
    assert reply(playing, turn("?"))[1].timing.load_s == 0  # only the first reply waited


def test_max_tokens_counts_reasoning_and_answer_together(codec: Codec) -> None:
    ids = [THINK, *text("hm"), CLOSE, *text("a long answer")]
    _, done = reply(engine(codec, ids), turn("?", max_tokens=7))
    assert done.stop is Stop.LENGTH
    assert done.usage.reasoning_tokens + done.usage.answer_tokens == 7


def test_an_end_that_is_the_last_allowed_token_is_an_end(codec: Codec) -> None:
    _, done = reply(engine(codec, text("ab")), turn("?", max_tokens=3))
    assert done.stop is Stop.END


def test_a_full_context_is_a_stop_for_length(codec: Codec) -> None:
    _, done = reply(engine(codec, text("x" * 500), context=100), turn("?"))
    assert done.stop is Stop.LENGTH
    assert done.usage.context == 100


def test_a_conversation_that_does_not_fit_is_refused(codec: Codec) -> None:
    with pytest.raises(ContextTooSmall):
        reply(engine(codec, [EOS], context=20), turn("x" * 500))


def test_nothing_to_reply_to_is_wrong_usage(codec: Codec) -> None:
    with pytest.raises(WrongUsage):
        reply(engine(codec, [EOS]), Turn((), Sampling(), 10))


def test_a_reply_that_ends_in_a_call_stops_for_the_tool(codec: Codec) -> None:
    ids = [*text("Let me look."), CALLS, *text("look"), ARGS, *text("{}")]
    events, done = reply(engine(codec, ids), turn("?"))
    assert done.stop is Stop.TOOL
    assert fold(events) == (Text("Let me look."), ToolCall("look", "{}"))


@pytest.mark.parametrize("cut", ["a call", "a character"])
def test_what_is_cut_off_is_kept_as_malformed(codec: Codec, cut: str) -> None:
    started = [CALLS, *text("look")] if cut == "a call" else text("é")[:1]
    ids = text("ok") + started
    events, done = reply(engine(codec, ids), turn("?", max_tokens=len(ids)))
    assert done.stop is Stop.LENGTH
    assert [type(part).__name__ for part in fold(events)] == ["Text", "Malformed"]


class Failing(Scripted):
    """Fails where the script ends, as a native library does."""

    def generate(self, ids: Sequence[int], sampling: Sampling, cancel: Cancel) -> Generator[Prefill | int]:
        for step in super().generate(ids, sampling, cancel):
            if step == EOS and not isinstance(step, Prefill):
                raise RunFailed("A token could not be computed.", "Send the message again.")
            yield step


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([*text("8 = "), *text("é")[:1]], (Text("8 = "), Malformed(r"\xc3", NOT_UTF8))),
        (
            [THINK, CALLS, *text("add"), ARGS, *text('{"a": 1')],
            (
                Thinking("", closed=False),
                Malformed('[TOOL_CALLS]add[ARGS]{"a": 1', "a tool call whose arguments are not JSON"),
            ),
        ),
    ],
)
def test_a_model_that_fails_takes_nothing_with_it(
    codec: Codec, said: list[int], kept: tuple[Part, ...]
) -> None:
    events = []
    with pytest.raises(RunFailed):
        for event in LocalEngine(Failing([said]), codec).reply(turn("Go"), threading.Event()):
            events.append(event)
    assert fold(events) == kept


def test_cancel_keeps_what_had_come(codec: Codec) -> None:
    cancel = threading.Event()
    seen: list[Event] = []
    for event in engine(codec, text("abcdef")).reply(turn("?"), cancel):
        seen.append(event)
        if event == TextDelta("c"):
            cancel.set()
    done = seen[-1]
    assert isinstance(done, Done)
    assert done.stop is Stop.CANCELLED
    assert fold(seen) == (Text("abc"),)
    assert done.usage.answer_tokens == 3


def test_cancel_inside_reasoning_leaves_it_open(codec: Codec) -> None:
    cancel = threading.Event()
    seen: list[Event] = []
    for event in engine(codec, [THINK, *text("hmmmm")]).reply(turn("?"), cancel):
        seen.append(event)
        if len(seen) == 6:
            cancel.set()
    (thinking,) = fold(seen)
    assert isinstance(thinking, Thinking)
    assert not thinking.closed


def test_a_continued_reply_goes_on_inside_its_reasoning(codec: Codec) -> None:
    messages = (Message.of("user", "?"), Message("assistant", (Thinking("so far", closed=False),)))
    asked = Turn(messages, Sampling(), 100)
    events, _ = reply(engine(codec, [*text("!"), CLOSE, *text("42")]), asked)
    assert fold(events) == (Thinking("!"), Text("42"))
    assert any(isinstance(event, ThinkingClosed) for event in events)


def test_an_abandoned_reply_frees_the_model_at_once(codec: Codec) -> None:
    model = Scripted([text("x" * 300)])
    playing = LocalEngine(model, codec)
    abandoned = playing.reply(turn("one"), threading.Event())
    next(abandoned)
    abandoned.close()
    assert reply(playing, turn("two"))[1].stop is Stop.END


def test_ids_outside_the_vocabulary_end_nothing(codec: Codec) -> None:
    events, done = reply(engine(codec, [10**6, *text("ok")]), turn("?"))
    assert done.stop is Stop.END
    assert fold(events)[-1] == Text("ok")
