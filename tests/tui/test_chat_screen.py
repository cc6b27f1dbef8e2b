"""The chat screen, driven by keys and a scripted conversation: opening one, and a turn of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from localmag.errors import BadFile, ContextTooSmall, EngineDied, WrongUsage
from localmag.tui.app import ChatApp
from localmag.tui.opening import Label
from localmag.tui.reply import State
from localmag.tui.worker import Doing, Report, Turns
from localmag.types import (
    Cancel,
    Done,
    Event,
    Loading,
    Malformed,
    Message,
    Prefill,
    Stop,
    Text,
    TextDelta,
    Thinking,
    ThinkingClosed,
    ThinkingDelta,
    Timing,
    Usage,
)
from tests.tui.driving import driven, running
from tests.tui.fakes import DONE, LABEL, Gate, ScriptedConversation, Step, app_of, reply, until

pytestmark = pytest.mark.timeout(180)


# ── Opening ───────────────────────────────────────────────────────────────────────────────────────


async def test_loading_is_shown_before_anything_is_asked() -> None:
    reports: list[Report] = []

    def open_conversation(report: Report, cancel: Cancel) -> ScriptedConversation:
        reports.append(report)
        return ScriptedConversation([Gate(), DONE])

    async with running(ChatApp(open_conversation, LABEL)) as it:
        reports[0](Loading(0.3))
        await it.shown("● loading 30%")
        reports[0](Loading(1.0))
        await it.shown("● ready")


async def test_a_message_sent_while_it_loads_leaves_no_loading_behind() -> None:
    reports: list[Report] = []
    gates = [Gate(), Gate()]

    def open_conversation(report: Report, cancel: Cancel) -> ScriptedConversation:
        reports.append(report)
        return ScriptedConversation([gates[0], ThinkingDelta("hm"), gates[1], *reply("", "Hi.")], [Gate()])

    async with running(ChatApp(open_conversation, LABEL)) as it:
        reports[0](Loading(0.3))
        await it.shown("● loading 30%")
        await it.say("Hello")
        await it.shown("▌ Hello", "● loading 30%")
        gates[0].open()
        await it.shown("● thinking")
        reports[0](Loading(1.0))
        await it.pilot.pause(0.2)
        assert "● thinking" in it.text
        gates[1].open()
        await it.shown("● done")
        reports[0](Loading(0.5))
        await it.shown("● loading 50%")
        await it.say("One more")
        await it.press("escape")
        await it.shown("● stopped")


def test_leaving_while_an_earlier_context_is_kept_waits_for_nothing() -> None:
    keeping = threading.Event()

    def open_conversation(report: Report, cancel: Cancel) -> ScriptedConversation:
        keeping.set()
        Gate().wait(cancel)
        return ScriptedConversation()

    turns = Turns(open_conversation, lambda: None)
    turns.start()
    assert keeping.wait(20)
    assert turns.close(20)
    assert not turns.replying


async def test_that_an_earlier_context_is_kept_is_told_and_can_be_skipped() -> None:
    def open_conversation(report: Report, cancel: Cancel) -> ScriptedConversation:
        report(Doing("keeping the context"))
        Gate().wait(cancel)
        return ScriptedConversation(reply("", "Hello."))

    async with driven(ChatApp(open_conversation, LABEL)) as it:
        await it.shown("● keeping the context", "Esc skip")
        await it.press("escape")
        await it.shown("● ready", "F1 keys")
        await it.say("Hi")
        await it.shown("Hello.", "● done")


async def test_what_cannot_be_opened_is_told_and_tried_again() -> None:
    tries: list[int] = []

    def open_conversation(report: Report, cancel: Cancel) -> ScriptedConversation:
        tries.append(1)
        if len(tries) < 3:
            raise BadFile("The weights are damaged.", "Pull them again.")
        return ScriptedConversation(reply("", "Here I am."))

    async with running(ChatApp(open_conversation, LABEL)) as it:
        await it.shown("● failed", "The weights are damaged. Pull them again.")
        assert it.chat.error is not None
        assert it.chat.error.exit_code == 6
        await it.say("Hello?")
        await until(it.pilot.pause, lambda: it.chat.composer.text == "Hello?")
        await it.press("enter")
        await it.shown("● done", "Here I am.")
        assert it.chat.error is None


async def test_an_earlier_conversation_is_drawn_with_its_reasoning() -> None:
    messages = [
        Message.of("user", "an old question"),
        Message("assistant", (Thinking("old thoughts"), Text("an *old* answer"))),
    ]
    async with running(app_of(reply("", "new"), messages=messages)) as it:
        await it.shown("▌ an old question", "old thoughts", "an old answer")
        await it.press("up")
        assert it.chat.composer.text == "an old question"
        it.chat.composer.load_text("")
        await it.say("another")
        await it.shown("new", "an old answer", "● done")


async def test_a_long_conversation_opens_at_its_end_and_draws_what_is_looked_at() -> None:
    messages: list[Message] = []
    for n in range(300):
        messages += [
            Message.of("user", f"question {n}."),
            Message.of("assistant", f"answer {n}.\n\n- a\n- b\n"),
        ]
    async with running(app_of(messages=messages)) as it:
        await it.shown("question 299.", "answer 299.")
        sections = it.chat.transcript._sections
        assert sum(section.width > 0 for section in sections) < 60
        it.chat.transcript.scroll_home(animate=False)
        await it.shown("question 0.", "answer 0.")
        it.chat.transcript.scroll_end(animate=False)
        await it.shown("question 299.", "answer 299.")


# ── A turn ────────────────────────────────────────────────────────────────────────────────────────


async def test_the_status_line_says_what_is_going_on() -> None:
    gates = [Gate() for _ in range(5)]
    steps: list[Step] = [
        gates[0],
        Loading(0.45),
        gates[1],
        Prefill(60, 200),
        gates[2],
        ThinkingDelta("hm, let me see"),
        gates[3],
        ThinkingClosed(6, 2.0),
        TextDelta("It is 834."),
        gates[4],
        DONE,
    ]
    async with running(app_of(steps)) as it:
        assert "● ready" in it.text
        await it.say("What is 478 + 356?")
        await it.shown("● waiting", "Esc stop", "▌ What is 478 + 356?")
        for gate, shown in zip(
            gates,
            (
                ["● loading 45%"],
                ["● reading the prompt 30%"],
                ["● thinking", "hm, let me see"],
                ["● answering"],
                ["● done"],
            ),
            strict=True,
        ):
            gate.open()
            await it.shown(*shown)
        assert "It is 834." in it.text
        assert "thought 2.0 s · 6 tok · 3.0 tok/s" in it.text
        assert "demo Q8_0   llama.cpp" in it.text
        assert "context 67 / 4,096 (2%)   first token 0.2 s   31 tok/s   Ctrl+P menu" in it.text


async def test_the_context_stays_on_the_status_line_while_the_next_question_waits() -> None:
    gate = Gate()
    async with running(app_of(reply("Hm.", "834."), [gate, Prefill(60, 200), Gate()])) as it:
        await it.say("One")
        await it.shown("● done", "context 67 / 4,096 (2%)")
        await it.say("Two")
        await it.shown("● waiting", "context 67 / 4,096 (2%)")
        gate.open()
        await it.shown("● reading the prompt 30%", "context 60 / 4,096 (1%)")


async def test_esc_stops_and_keeps_what_had_arrived() -> None:
    async with running(app_of([ThinkingDelta("half a th"), Gate(), DONE], reply("", "Fine."))) as it:
        await it.say("Go on")
        await it.shown("half a th")
        await it.press("escape")
        await it.shown("● stopped", "Stopped. What had arrived is kept.", "half a th")
        await it.say("And now?")
        await it.shown("● done", "Fine.")


async def test_a_failure_is_told_and_the_next_message_goes_through() -> None:
    died = EngineDied("The engine's process ended.", "Send the message again and it starts anew.")
    async with running(app_of([TextDelta("partial ans"), died], reply("", "Back again."))) as it:
        await it.say("Go on")
        await it.shown("● failed", "partial ans", "The engine's process ended. Send", "anew.")
        assert it.chat.composer.text == ""
        assert it.chat.error is died
        await it.say("Again")
        await it.shown("● done", "Back again.")
        assert it.chat.error is None


async def test_a_message_the_conversation_refused_is_given_back() -> None:
    class Refusing(ScriptedConversation):
        def send(self, text: str, cancel: object) -> Any:
            raise WrongUsage("This conversation went on elsewhere.", "Go on there.")

    async with running(ChatApp(Refusing().opener(), LABEL)) as it:
        await it.say("A long and precious message")
        await it.shown("● failed", "Go on there.")
        assert it.chat.composer.text == "A long and precious message"


async def test_a_message_that_is_too_long_is_given_back() -> None:
    full = ContextTooSmall("With this message the conversation is 5,000 tokens long.", "Shorten it.")
    async with running(app_of(reply("", "Hello."), [full], reply("", "Much better.")), (80, 24)) as it:
        await it.say("Hi")
        await it.shown("● done", "Hello.")
        await it.say("A long and precious message")
        await it.shown("● failed", "5,000 tokens long. Shorten it.")
        assert it.chat.composer.text == "A long and precious message"
        assert "▌ A long and precious message" not in it.text
        await it.press("!", "enter")
        await it.shown("● done", "▌ A long and precious message!", "Much better.", "▌ Hi")


async def test_a_larger_context_is_not_advised_where_there_is_none() -> None:
    full = ContextTooSmall("It is too long.", "Give a larger context with --ctx.")
    async with running(app_of([full], label=replace(LABEL, most=4096))) as it:
        await it.say("Hi")
        await it.shown("● failed", "It is too long. Shorten the message, or begin a new conversation")
        assert "--ctx" not in it.text


async def test_what_waits_behind_a_message_that_is_refused_comes_back_after_it() -> None:
    gate = Gate()
    async with running(app_of([gate, ContextTooSmall("Too long.", "Shorten it.")])) as it:
        for text in ("first", "second"):
            await it.say(text)
        it.chat.composer.insert("third")
        gate.open()
        await it.shown("● failed")
        await until(it.pilot.pause, lambda: it.chat.composer.text == "first\n\nsecond\n\nthird")


@pytest.mark.parametrize(
    ("label", "written", "said"),
    [
        (
            LABEL,
            4096 - 57,
            "Cut off: the context is full. Begin a new conversation (Ctrl+N), or start with a larger",
        ),
        (replace(LABEL, most=4096), 4039, "the context is full. Begin a new conversation (Ctrl+N)."),
        (LABEL, 512, "Cut off at the limit of --max-tokens."),
    ],
)
async def test_a_reply_that_was_cut_off_says_by_which_limit(label: Label, written: int, said: str) -> None:
    done = Done(Stop.LENGTH, Usage(57, 0, 0, written), Timing())
    async with running(app_of([TextDelta("It is"), done], label=label)) as it:
        await it.say("Go")
        await it.shown("● done")
        assert said in it.chat.replies[0].ending()


async def test_the_box_invites_to_what_the_model_is_for() -> None:
    app = ChatApp(ScriptedConversation().opener(), LABEL, invitation="Ask a sum, or a small problem.")
    async with running(app, (80, 24)) as it:
        await it.shown("Ask a sum, or a small problem. Enter sends, Ctrl+J starts a new line.")


async def test_a_reply_without_reasoning_has_no_line_about_it() -> None:
    async with running(app_of(reply("", "Short."))) as it:
        await it.say("Hi")
        await it.shown("● done", "Short.")
        assert "thought" not in it.text


async def test_many_malformed_tokens_take_few_rows() -> None:
    events: list[Event] = [Malformed(f"<X{n}>", "a control token out of place") for n in range(500)]
    async with running(app_of([*events, DONE])) as it:
        await it.say("Hi")
        await it.shown("● done", "set apart (a control token out of place): <X0>", "497 more")
        assert "<X3>" not in it.text


async def test_done_without_numbers_leaves_the_live_ones() -> None:
    done = Done(Stop.CANCELLED, Usage(), Timing())
    async with running(app_of([Prefill(0, 50), Prefill(50, 50), TextDelta("a"), TextDelta("b"), done])) as it:
        await it.say("Go")
        await it.shown("● stopped", "context 52 / 4,096")
        assert it.chat.replies[0].state is State.STOPPED
