"""A reply's states and numbers, folded from events at told times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmag.errors import EngineDied
from localmag.sessions import CUT_OFF, Entry, Outcome, Setup
from localmag.stream import fold
from localmag.tui.reply import Reply, State, earlier, percent, rate, seconds
from localmag.types import (
    Done,
    Event,
    Loading,
    Malformed,
    Message,
    Prefill,
    Sampling,
    Stop,
    Text,
    TextDelta,
    Thinking,
    ThinkingClosed,
    ThinkingDelta,
    Timing,
    ToolCall,
    ToolCallReady,
    Usage,
)

USAGE = Usage(prompt_tokens=100, cached_tokens=40, reasoning_tokens=1830, answer_tokens=20)
TIMING = Timing(ttft_s=0.4, decode_tps=31.4)


def folded(*events: Event, seconds_each: float = 1.0) -> Reply:
    reply = Reply("question", 0.0)
    for n, event in enumerate(events, 1):
        reply.fold(event, n * seconds_each)
    return reply


def test_the_states_of_a_reply_in_their_order() -> None:
    reply = Reply("What?", 0.0)
    seen = [reply.progress()]
    for event in (
        Loading(0.45),
        Prefill(0, 200),
        Prefill(150, 200),
        ThinkingDelta("hm"),
        ThinkingClosed(1, 1.0),
        TextDelta("so"),
        Done(Stop.END, USAGE, TIMING),
    ):
        reply.fold(event, 0.0)
        seen.append(reply.progress())
    assert seen == [
        "waiting",
        "loading 45%",
        "reading the prompt 0%",
        "reading the prompt 75%",
        "thinking",
        "answering",
        "answering",
        "done",
    ]


def test_that_the_weights_are_there_takes_back_nothing_of_a_reply_that_has_begun() -> None:
    assert folded(Loading(0.9), ThinkingDelta("hm"), Loading(1.0)).state is State.THINKING


@pytest.mark.parametrize(
    ("stop", "state"),
    [
        (Stop.CANCELLED, State.STOPPED),
        (Stop.ERROR, State.FAILED),
        (Stop.LENGTH, State.DONE),
        (Stop.END, State.DONE),
    ],
)
def test_how_it_ends(stop: Stop, state: State) -> None:
    reply = folded(TextDelta("x"), Done(stop, USAGE, TIMING))
    assert reply.state is state
    assert bool(reply.ending()) is (stop is not Stop.END)


def test_reasoning_is_counted_and_timed_live_then_as_the_engine_says() -> None:
    reply = folded(Prefill(9, 9), ThinkingDelta("a"), ThinkingDelta("b"), ThinkingDelta("c"))
    assert reply.thought(now=12.0) == "thinking 10 s · 3 tok · 0.3 tok/s"
    reply.fold(ThinkingClosed(1830, 59.0), 61.0)
    assert reply.thought(now=70.0) == "thought 59 s · 1,830 tok · 31 tok/s"
    reply.fold(TextDelta("x"), 71.0)
    reply.fold(Done(Stop.END, USAGE, TIMING), 72.0)
    assert reply.thought(now=99.0) == "thought 59 s · 1,830 tok · 31 tok/s"
    assert reply.tokens_per_second(99.0) == 31.4
    assert reply.first_token_s == 0.4
    assert reply.context_used() == 1950


def test_the_first_tokens_come_in_a_bunch_and_have_no_rate() -> None:
    reply = folded(*(ThinkingDelta("a") for _ in range(30)), seconds_each=0.00001)
    assert reply.tokens_per_second(0.01) is None
    assert "tok/s" not in reply.thought(0.01)
    assert reply.tokens_per_second(1.00001) == pytest.approx(29)
    assert "30 tok/s" in reply.thought(1.00001)
    assert folded(ThinkingDelta("a")).tokens_per_second(1.3) == 0


@pytest.mark.parametrize(("written", "said"), [(99, "--max-tokens"), (40, "the context is full")])
def test_a_saved_reply_that_was_cut_off_says_by_which_limit(written: int, said: str) -> None:
    setup = Setup("m", "b", "llama.cpp", Sampling(), 100)
    outcome = Outcome(Stop.LENGTH, Usage(4000, 0, written, 0))
    entry = Entry(1, Message("assistant", (Thinking("Hm", closed=False),)), 0.0, setup, outcome)
    assert said in Reply.saved("Why?", entry).ending()


def test_nothing_is_said_to_be_kept_where_nothing_had_arrived() -> None:
    setup = Setup("m", "b", "llama.cpp", Sampling(), 100)
    refused = Outcome(Stop.ERROR, error="It is too long. Shorten it.", refused=True)
    entry = Entry(1, Message("assistant", ()), 0.0, setup, refused)
    assert Reply.saved("Why?", entry).ending() == "It is too long. Shorten it."
    assert folded(Done(Stop.CANCELLED, Usage(), Timing())).ending() == "Stopped."


def test_what_comes_joined_counts_as_the_tokens_that_it_was() -> None:
    reply = folded(Prefill(9, 9), ThinkingDelta("abc", 3), ThinkingDelta("de", 2))
    assert reply.thought(3.0).startswith("thinking 1.0 s · 5 tok")
    reply.fold(TextDelta("f" * 20, 20), 4.0)
    assert (reply.answer_tokens, reply.context_used()) == (20, 34)


def test_several_stretches_of_reasoning_add_up() -> None:
    reply = folded(
        ThinkingDelta("a"),
        ThinkingClosed(5, 2.0),
        TextDelta("b"),
        ThinkingDelta("c"),
        ThinkingClosed(7, 3.0),
    )
    assert (reply.reasoning_tokens, reply.reasoning_seconds) == (12, 5.0)
    assert reply.reasoning_text == "a\n\nc"
    assert reply.answer_text == "b"


def test_stopped_while_thinking_keeps_what_arrived_and_its_time() -> None:
    reply = folded(ThinkingDelta("a"), ThinkingDelta("b"), Done(Stop.CANCELLED, Usage(), Timing()))
    assert reply.thought(now=50.0) == "thought 2.0 s · 2 tok · 1.0 tok/s"
    assert reply.reasoning_text == "ab"
    assert "kept" in reply.ending()


def test_a_failure_shows_both_sentences() -> None:
    reply = folded(TextDelta("partial"))
    reply.fail(EngineDied("It died.", "Send again."), 3.0)
    assert reply.state is State.FAILED
    assert reply.ending() == "It died. Send again."
    assert reply.answer_text == "partial"


def test_a_stream_that_just_ends_counts_as_stopped() -> None:
    reply = folded(TextDelta("x"))
    reply.cut(2.0)
    assert reply.state is State.STOPPED


def test_a_model_that_only_thinks_is_told() -> None:
    reply = folded(ThinkingDelta("a"), ThinkingClosed(1, 1.0), Done(Stop.END, USAGE, TIMING))
    assert reply.ending() == "The model ended without an answer."


def test_what_is_neither_answer_nor_reasoning_is_set_apart() -> None:
    reply = folded(Malformed("[/THINK]", "closed twice"), ToolCallReady(ToolCall("f", '{"a": 1}')))
    assert reply.notes == ["set apart (closed twice): [/THINK]", 'asks for f({"a": 1})']
    assert not reply.answer


def test_control_sequences_are_disarmed_across_events() -> None:
    reply = folded(
        TextDelta("a\x1b"), TextDelta("]52;c;eA==\x07\r"), TextDelta("\nb"), ThinkingDelta("\x9b2J")
    )
    reply.fail(EngineDied("\x1b[2J", "\x07"), 1.0)
    shown = reply.answer_text + reply.reasoning_text + reply.ending()
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\r"}
    assert reply.answer_text == "a␛]52;c;eA==␇\nb"


def test_a_saved_conversation_is_drawn_as_it_was() -> None:
    setup = Setup("m", "b", "llama.cpp", Sampling(), 100)
    outcome = Outcome(Stop.CANCELLED, USAGE, TIMING, thinking_s=59.0)
    entries = [
        Entry(1, Message.of("user", "first"), 0.0),
        Entry(2, Message("assistant", (Thinking("hm"), Text("one"))), 0.0, setup, outcome),
        Entry(3, Message.of("user", "never answered"), 0.0),
        Entry(4, Message.of("user", "last"), 0.0),
        Entry(5, Message("assistant", (Malformed("x", "why"),)), 0.0, setup, None),
    ]
    first, second, third = earlier(entries)
    assert (first.question, first.reasoning_text, first.answer_text) == ("first", "hm", "one")
    assert first.thought(0.0) == "thought 59 s · 1,830 tok · 31 tok/s"
    assert first.state is State.STOPPED
    assert (second.question, second.state) == ("never answered", State.STOPPED)
    assert third.notes == ["set apart (why): x"]
    assert earlier([]) == ()


def test_of_a_saved_reply_that_failed_the_reason_is_told() -> None:
    killed = Entry(1, Message.of("assistant", "So"), 0.0, outcome=Outcome(Stop.ERROR, error=CUT_OFF))
    assert Reply.saved("question", killed).ending().startswith(CUT_OFF)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3725, "1 h 02 min"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert seconds(value) == text


def test_rates_and_percentages() -> None:
    assert [rate(0.31), rate(9.96), rate(1500)] == ["0.3", "10", "1,500"]
    assert [percent(-1), percent(0.456), percent(2)] == ["0%", "46%", "100%"]


APART = st.sampled_from(
    [Malformed("<s>", "a control token out of place"), ToolCallReady(ToolCall("f", "{}"))]
)
INSIDE = st.lists(APART | st.sampled_from([ThinkingDelta("a"), ThinkingDelta("b c")]))
OUTSIDE = st.lists(APART | st.just(TextDelta("answer")))
STRETCH = st.tuples(INSIDE, OUTSIDE).map(
    lambda told: [ThinkingDelta(""), *told[0], ThinkingClosed(2, 1.0), *told[1]]
)


@given(st.lists(STRETCH, max_size=4))
def test_saved_or_live_it_is_the_same_text(stretches: list[list[Event]]) -> None:
    events = [event for stretch in stretches for event in stretch]
    message = Message("assistant", fold(events))
    for reply in (folded(*events), Reply.saved("question", Entry(1, message, 0.0))):
        assert (reply.reasoning_text, reply.answer_text) == (message.reasoning, message.text)
