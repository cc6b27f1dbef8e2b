"""The chat screen, driven by keys and a scripted conversation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.events import Paste
from textual.pilot import Pilot

from localmag.errors import BadFile, EngineDied, WrongUsage
from localmag.tui.app import ChatApp
from localmag.tui.reply import State
from localmag.tui.screens.chat import ChatScreen
from localmag.tui.screens.help import HelpScreen
from localmag.tui.worker import Report
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
from tests.tui.fakes import DONE, LABEL, Gate, ScriptedConversation, Step, app_of, reply, text_of, until

pytestmark = pytest.mark.timeout(180)

THINKING = "Units: 8 + 6 = 14, write 4, carry 1. Then 7 + 5 + 1 = 13."
ANSWER = "It is **834**."


class Driver:
    """A running app and what a user can do to it."""

    def __init__(self, app: ChatApp, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def chat(self) -> ChatScreen:
        return self.app.chat

    @property
    def text(self) -> str:
        return text_of(self.app)

    async def until_shown(self, *texts: str) -> None:
        try:
            await until(self.pilot.pause, lambda: all(text in self.text for text in texts))
        except AssertionError:
            pytest.fail(f"{texts} never stood on this screen:\n{self.text}")

    async def until_gone(self, text: str) -> None:
        await until(self.pilot.pause, lambda: text not in self.text)

    async def say(self, text: str) -> None:
        self.chat.composer.insert(text)
        await self.pilot.press("enter")

    async def settle(self) -> None:
        """Until nothing is being written and all of it is drawn."""
        await until(self.pilot.pause, lambda: self.chat.opened and self.chat.current is None)
        await self.pilot.pause(0.1)


@asynccontextmanager
async def running(app: ChatApp, size: tuple[int, int] = (120, 30)) -> AsyncIterator[Driver]:
    async with app.run_test(size=size, notifications=True) as pilot:
        driver = Driver(app, pilot)
        await until(pilot.pause, lambda: app.chat.opened or bool(app.chat.opening_error))
        try:
            yield driver
        finally:
            app.chat.turns.close(20, app.chat.unsent)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


# ── A turn ────────────────────────────────────────────────────────────────────────────────────────


async def _states() -> None:
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
        await it.until_shown("● waiting", "Esc stop", "▌ What is 478 + 356?")
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
            await it.until_shown(*shown)
        assert "It is 834." in it.text
        assert "thought 2.0 s · 6 tok · 3.0 tok/s" in it.text
        assert "demo Q8_0   llama.cpp" in it.text
        assert "context 67 / 4,096 (2%)   first token 0.2 s   31 tok/s   F1 keys" in it.text


def test_the_status_line_says_what_is_going_on() -> None:
    run(_states())


def test_esc_stops_and_keeps_what_had_arrived() -> None:
    async def test() -> None:
        async with running(app_of([ThinkingDelta("half a th"), Gate(), DONE], reply("", "Fine."))) as it:
            await it.say("Go on")
            await it.until_shown("half a th")
            await it.pilot.press("escape")
            await it.until_shown("● stopped", "Stopped. What had arrived is kept.", "half a th")
            await it.say("And now?")
            await it.until_shown("● done", "Fine.")

    run(test())


def test_a_failure_is_told_and_the_next_message_goes_through() -> None:
    async def test() -> None:
        died = EngineDied("The engine's process ended.", "Send the message again and it starts anew.")
        async with running(app_of([TextDelta("partial ans"), died], reply("", "Back again."))) as it:
            await it.say("Go on")
            await it.until_shown("● failed", "partial ans", "The engine's process ended. Send", "anew.")
            assert it.chat.composer.text == ""
            assert it.chat.error is died
            await it.say("Again")
            await it.until_shown("● done", "Back again.")
            assert it.chat.error is None

    run(test())


def test_a_message_the_conversation_refused_is_given_back() -> None:
    class Refusing(ScriptedConversation):
        def send(self, text: str, cancel: object) -> Any:
            raise WrongUsage("This conversation went on elsewhere.", "Go on there.")

    async def test() -> None:
        async with running(ChatApp(Refusing().opener(), LABEL)) as it:
            await it.say("A long and precious message")
            await it.until_shown("● failed", "Go on there.")
            assert it.chat.composer.text == "A long and precious message"

    run(test())


def test_what_cannot_be_opened_is_told_and_tried_again() -> None:
    tries: list[int] = []

    def open_conversation(report: Report) -> ScriptedConversation:
        tries.append(1)
        if len(tries) < 3:
            raise BadFile("The weights are damaged.", "Pull them again.")
        return ScriptedConversation(reply("", "Here I am."))

    async def test() -> None:
        async with running(ChatApp(open_conversation, LABEL)) as it:
            await it.until_shown("● failed", "The weights are damaged. Pull them again.")
            assert it.chat.error is not None
            assert it.chat.error.exit_code == 6
            await it.say("Hello?")
            await until(it.pilot.pause, lambda: it.chat.composer.text == "Hello?")
            await it.pilot.press("enter")
            await it.until_shown("● done", "Here I am.")
            assert it.chat.error is None

    run(test())


def test_a_reply_without_reasoning_has_no_line_about_it() -> None:
    async def test() -> None:
        async with running(app_of(reply("", "Short."))) as it:
            await it.say("Hi")
            await it.until_shown("● done", "Short.")
            assert "thought" not in it.text

    run(test())


def test_many_malformed_tokens_take_few_rows() -> None:
    async def test() -> None:
        events: list[Event] = [Malformed(f"<X{n}>", "a control token out of place") for n in range(500)]
        async with running(app_of([*events, DONE])) as it:
            await it.say("Hi")
            await it.until_shown("● done", "set apart (a control token out of place): <X0>", "497 more")
            assert "<X3>" not in it.text

    run(test())


# ── Writing ───────────────────────────────────────────────────────────────────────────────────────


def test_new_lines_paste_and_growth_of_the_composer() -> None:
    async def test() -> None:
        talk = ScriptedConversation()
        async with running(ChatApp(talk.opener(), LABEL)) as it:
            composer = it.chat.composer
            assert composer.outer_size.height == 3
            await it.pilot.press("a", "ctrl+j", "b", "shift+enter", "c")
            await it.pilot.pause()
            assert composer.text == "a\nb\nc"
            assert composer.outer_size.height == 5
            composer.insert("\n" * 30)
            await it.pilot.pause()
            assert composer.outer_size.height == 10
            composer.load_text("")
            it.app.post_message(Paste("one\r\ntwo\nthree"))
            await it.pilot.pause()
            await it.pilot.press("enter")
            await it.settle()
            assert [text.splitlines() for text in talk.sent] == [["one", "two", "three"]]
            assert composer.text == ""
            await it.pilot.press("space", "enter")
            assert len(talk.sent) == 1

    run(test())


def test_up_and_down_recall_what_was_sent_and_keep_the_draft() -> None:
    async def test() -> None:
        async with running(app_of()) as it:
            for text in ("first", "second\nline", "second\nline"):
                await it.say(text)
                await it.settle()
            composer = it.chat.composer
            composer.insert("draft")
            seen = []
            for key in ("up", "up", "up", "up", "down", "down", "down"):
                await it.pilot.press(key)
                seen.append(composer.text)
            assert seen == [
                "second\nline",
                "second\nline",
                "first",
                "first",
                "second\nline",
                "draft",
                "draft",
            ]
            await it.pilot.press("up", "!", "up", "up", "down", "down")
            assert composer.text == "second\nline!"

    run(test())


def test_what_is_sent_while_a_reply_comes_in_is_sent_next() -> None:
    async def test() -> None:
        gate = Gate()
        talk = ScriptedConversation([TextDelta("one"), gate, DONE], [TextDelta("two"), DONE])
        async with running(ChatApp(talk.opener(), LABEL)) as it:
            await it.say("first")
            await it.until_shown("● answering")
            await it.say("second")
            await it.until_shown("1 to send next: second")
            assert talk.sent == ["first"]
            gate.open()
            await it.until_shown("two", "● done")
            assert "one" in it.text
            assert talk.sent == ["first", "second"]
            assert "to send next" not in it.text

    run(test())


def test_stopping_gives_back_what_was_to_be_sent_next() -> None:
    async def test() -> None:
        talk = ScriptedConversation([TextDelta("one"), Gate(), DONE])
        async with running(ChatApp(talk.opener(), LABEL)) as it:
            await it.say("first")
            await it.until_shown("● answering")
            await it.say("second")
            it.chat.composer.insert("third, half wri")
            await it.pilot.press("escape")
            await it.until_shown("● stopped")
            await it.pilot.pause()
            assert it.chat.composer.text == "second\n\nthird, half wri"
            assert talk.sent == ["first"]

    run(test())


# ── The reasoning ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("columns", "beside"), [(99, False), (100, True), (160, True)])
def test_reasoning_stands_beside_from_100_columns(columns: int, beside: bool) -> None:
    async def test() -> None:
        gate = Gate()
        async with running(app_of([*reply(THINKING, ANSWER)[:9], gate, DONE]), (columns, 30)) as it:
            await it.say("What is 478 + 356?")
            await it.until_shown("● thinking", "Units: 8")
            answer, pane = it.chat.transcript.region, it.chat.pane.region
            if beside:
                assert (pane.x, pane.y) == (answer.right, answer.y)
                assert pane.width < answer.width
            else:
                assert (pane.x, pane.y) == (answer.x, answer.bottom)
                assert pane.width == answer.width == columns

    run(test())


def test_stacked_it_collapses_at_the_answer_and_beside_it_stays() -> None:
    async def test() -> None:
        async with running(app_of(reply(THINKING, ANSWER)), (80, 30)) as it:
            await it.say("Go")
            await it.until_shown("● done")
            await it.until_shown("▸ thought 2.0 s")
            assert "Units" not in it.text
            await it.pilot.resize_terminal(120, 30)
            await it.until_shown("▾ thought 2.0 s", "Units")

    run(test())


def test_ctrl_t_and_a_click_collapse_it_and_that_is_remembered() -> None:
    async def test() -> None:
        async with running(app_of(reply(THINKING, ANSWER), reply("Second thoughts.", "Yes."))) as it:
            await it.say("Go")
            await it.until_shown("● done", "Units")
            await it.pilot.press("ctrl+t")
            await it.until_gone("Units")
            assert it.chat.pane.size.height == 1
            await it.say("More")
            await it.until_shown("Yes.", "● done")
            assert "Second thoughts." not in it.text
            await it.pilot.click("#reasoning-header")
            await it.until_shown("Second thoughts.", "▾ thought")

    run(test())


def test_typing_after_a_click_anywhere_is_writing() -> None:
    async def test() -> None:
        async with running(app_of(reply(THINKING, ANSWER))) as it:
            await it.say("Go")
            await it.until_shown("● done", "Units")
            for place in ("Transcript", "Trace", "StatusLine"):
                await it.pilot.click(place)
                await it.pilot.press("a")
            assert it.chat.composer.text == "aaa"

    run(test())


def test_earlier_replies_can_be_chosen_by_key_and_click() -> None:
    async def test() -> None:
        async with running(app_of(reply("Early thoughts.", "One."), reply("Late thoughts.", "Two."))) as it:
            await it.say("first")
            await it.settle()
            await it.say("second")
            await it.settle()
            await it.until_shown("Late thoughts.")
            await it.pilot.press("alt+up")
            await it.until_shown("Early thoughts.")
            assert "Late thoughts." not in it.text
            await it.pilot.press("alt+up", "f3")
            assert it.app.clipboard == "Early thoughts."
            await it.pilot.press("alt+down")
            await it.until_shown("Late thoughts.")
            await it.pilot.click(it.chat.transcript, offset=(6, 1))
            await it.until_shown("Early thoughts.")
            await it.pilot.press("escape")
            await it.until_shown("Late thoughts.")

    run(test())


def test_it_follows_the_tail_until_the_user_scrolls_up() -> None:
    async def test() -> None:
        gates = [Gate(), Gate()]
        lines = [ThinkingDelta(f"line {n}\n") for n in range(300)]
        async with running(
            app_of([*lines[:100], gates[0], *lines[100:200], gates[1], *lines[200:], DONE])
        ) as it:
            await it.say("Go")
            await it.until_shown("line 99")
            await it.pilot.press("shift+pageup", "shift+pageup")
            await it.until_gone("line 99")
            top = it.chat.pane.trace.scroll_offset.y
            gates[0].open()
            await until(it.pilot.pause, lambda: len(it.chat.pane.trace.wrapped) > 200)
            assert it.chat.pane.trace.scroll_offset.y == top
            for _ in range(12):
                await it.pilot.press("shift+pagedown")
            await it.until_shown("line 199")
            gates[1].open()
            await it.until_shown("line 299")

    run(test())


# ── Resuming ──────────────────────────────────────────────────────────────────────────────────────


def test_an_earlier_conversation_is_drawn_with_its_reasoning() -> None:
    async def test() -> None:
        messages = [
            Message.of("user", "an old question"),
            Message("assistant", (Thinking("old thoughts"), Text("an *old* answer"))),
        ]
        async with running(app_of(reply("", "new"), messages=messages)) as it:
            await it.until_shown("▌ an old question", "old thoughts", "an old answer")
            await it.pilot.press("up")
            assert it.chat.composer.text == "an old question"
            it.chat.composer.load_text("")
            await it.say("another")
            await it.until_shown("new", "an old answer", "● done")

    run(test())


def test_a_long_conversation_opens_at_its_end_and_draws_what_is_looked_at() -> None:
    async def test() -> None:
        messages: list[Message] = []
        for n in range(300):
            messages += [
                Message.of("user", f"question {n}."),
                Message.of("assistant", f"answer {n}.\n\n- a\n- b\n"),
            ]
        async with running(app_of(messages=messages)) as it:
            await it.until_shown("question 299.", "answer 299.")
            sections = it.chat.transcript._sections
            assert sum(section.width > 0 for section in sections) < 60
            it.chat.transcript.scroll_home(animate=False)
            await it.until_shown("question 0.", "answer 0.")
            it.chat.transcript.scroll_end(animate=False)
            await it.until_shown("question 299.", "answer 299.")

    run(test())


# ── Hostile text, odd terminals ───────────────────────────────────────────────────────────────────

HOSTILE = "t\ta\x1b]52;c;cm0=\x07b\x1b[2Jc\x9b31md\r\x08\x00e\u202ef [red]markup[/red] [@click=app.quit]x[/]"


def assert_harmless(it: Driver) -> None:
    for strip in it.app.screen._compositor.render_strips():
        assert not [char for char in strip.text if ord(char) < 32 or 127 <= ord(char) < 160], strip.text
        assert "\u202e" not in strip.text


def test_no_control_sequence_reaches_the_terminal() -> None:
    async def test() -> None:
        chunks = [HOSTILE[n : n + 3] for n in range(0, len(HOSTILE), 3)]
        events: list[Step] = [*map(ThinkingDelta, chunks), ThinkingClosed(9, 1.0), *map(TextDelta, chunks)]
        events += [Malformed(HOSTILE, HOSTILE), EngineDied(HOSTILE, HOSTILE)]
        async with running(app_of(events), (140, 40)) as it:
            it.app.post_message(Paste(HOSTILE))
            await it.pilot.pause(0.1)
            assert_harmless(it)
            await it.pilot.press("enter")
            it.chat.composer.load_text("")
            await it.until_shown("● failed")
            await it.pilot.pause(0.1)
            for strip in it.app.screen._compositor.render_strips():
                assert not [char for char in strip.text if ord(char) < 32 or 127 <= ord(char) < 160], (
                    strip.text
                )
            assert "[red]markup[/red]" in it.text

    run(test())


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (3, 30), (300, 4), (100, 8)])
def test_no_size_is_too_small(size: tuple[int, int]) -> None:
    async def test() -> None:
        async with running(
            app_of(reply(THINKING, "**a** `b`\n\n| x |\n|---|\n| 1 |\n\n- 日本語\n" * 3)), size
        ) as it:
            await it.say("Go 日本語 👩‍💻")
            await it.settle()
            for other in ((120, 30), size, (60, 12)):
                await it.pilot.resize_terminal(*other)
                await it.pilot.pause()

    run(test())


def test_resizing_while_it_streams_loses_nothing() -> None:
    async def test() -> None:
        gates = [Gate() for _ in range(4)]
        words = [ThinkingDelta(f"w{n} ") for n in range(400)]
        steps: list[Step] = []
        for n, gate in enumerate(gates):
            steps += [*words[n * 100 : n * 100 + 100], gate]
        async with running(app_of([*steps, ThinkingClosed(400, 1.0), TextDelta("end"), DONE])) as it:
            await it.say("Go")
            for gate, width in zip(gates, (60, 140, 90, 120), strict=True):
                await it.pilot.resize_terminal(width, 30)
                gate.open()
            await it.until_shown("● done", "end")
            assert it.chat.replies[0].reasoning_text.split() == [f"w{n}" for n in range(400)]
            await it.until_shown("w399")
            assert "".join(it.chat.pane.trace.wrapped.rows).split() == [f"w{n}" for n in range(400)]

    run(test())


@pytest.mark.parametrize("theme", ["localmag-light", "ansi-dark", "monokai"])
def test_a_theme_can_be_changed_at_any_time(theme: str) -> None:
    async def test() -> None:
        async with running(app_of(reply(THINKING, "```py\nx = 1\n```\n$$y$$ `z`"))) as it:
            await it.say("Go")
            await it.settle()
            before = it.text
            it.app.theme = theme
            await it.pilot.pause(0.1)
            assert it.text == before

    run(test())


def test_without_colours_it_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def test() -> None:
        async with running(app_of(reply(THINKING, ANSWER))) as it:
            await it.say("Go")
            await it.until_shown("● done", "It is 834.")
            for strip in it.app.screen._compositor.render_strips():
                for segment in strip:
                    for colour in (
                        segment.style and segment.style.color,
                        segment.style and segment.style.bgcolor,
                    ):
                        if colour and colour.triplet:
                            assert len(set(colour.triplet)) == 1, segment

    run(test())


def test_a_theme_that_does_not_exist_is_refused() -> None:
    with pytest.raises(WrongUsage, match="no theme 'nope'"):
        ChatApp(ScriptedConversation().opener(), LABEL, theme="nope")
    assert ChatApp(ScriptedConversation().opener(), LABEL, theme="monokai").theme == "monokai"


# ── Copying, help, leaving ────────────────────────────────────────────────────────────────────────


def test_copying_gives_the_source() -> None:
    async def test() -> None:
        async with running(app_of(reply(THINKING, r"**So** \( x_1 \)."))) as it:
            await it.pilot.press("f2")
            await it.until_shown("There is no answer to copy yet.")
            await it.say("Go")
            await it.settle()
            await it.pilot.press("f2")
            assert it.app.clipboard == r"**So** \( x_1 \)."
            await it.pilot.press("f3")
            assert it.app.clipboard == THINKING
            await it.until_shown("was sent to the")

    run(test())


def test_text_can_be_selected_with_the_mouse_and_copied() -> None:
    async def test() -> None:
        async with running(app_of(reply("Some thoughts.", "Plain answer."))) as it:
            await it.say("Go")
            await it.settle()
            row = next(y for y, line in enumerate(it.text.split("\n")) if "Plain answer." in line)
            at = it.text.split("\n")[row].index("Plain")
            await it.pilot.mouse_down(offset=(at, row))
            await it.pilot.hover(offset=(at + 5, row))
            await it.pilot.mouse_up(offset=(at + 5, row))
            assert it.chat.get_selected_text() == "Plain"
            await it.pilot.press("ctrl+c")
            assert it.app.clipboard == "Plain"

    run(test())


def test_help_opens_and_any_key_closes_it() -> None:
    async def test() -> None:
        async with running(app_of()) as it:
            for key in ("f1", "question_mark"):
                await it.pilot.press(key)
                await until(it.pilot.pause, lambda: isinstance(it.app.screen, HelpScreen))
                await it.until_shown("stop the reply and keep what has arrived")
                await it.pilot.press("x")
                await until(it.pilot.pause, lambda: it.app.screen is it.chat)
            assert it.chat.composer.text == ""
            await it.pilot.press("a", "question_mark")
            assert it.chat.composer.text == "a?"

    run(test())


@pytest.mark.parametrize("keys", [["ctrl+q"], ["ctrl+c", "ctrl+c"]])
def test_leaving_while_it_writes_lets_the_partial_reply_be_saved(keys: list[str]) -> None:
    talk = ScriptedConversation([TextDelta("partial"), Gate(), DONE])
    app = ChatApp(talk.opener(), LABEL)

    async def test() -> None:
        async with running(app) as it:
            await it.say("Go")
            await it.until_shown("partial")
            it.chat.composer.insert("unsent")
            await it.pilot.press(*keys)
            await until(it.pilot.pause, lambda: it.app._exit)

    run(test())
    assert app.chat.turns.close(20)
    assert talk.closed
    assert talk.kept[-1] == "unsent"
    assert app.chat.turns.kept_in == ""


def test_what_is_not_sent_is_kept_while_it_is_written_and_is_there_again() -> None:
    talk = ScriptedConversation([TextDelta("partial"), Gate(), DONE])
    talk.left = "from yesterday"

    async def test() -> None:
        async with running(ChatApp(talk.opener(), LABEL)) as it:
            assert it.chat.composer.text == "from yesterday"
            await it.pilot.press("!")
            await until(it.pilot.pause, lambda: talk.kept[-1:] == ["from yesterday!"])
            await it.pilot.press("enter")
            await it.until_shown("partial")
            await until(it.pilot.pause, lambda: talk.kept[-1:] == [""])
            await it.say("next")
            it.chat.composer.insert("after that")
            await until(it.pilot.pause, lambda: talk.kept[-1:] == ["next\n\nafter that"])

    run(test())


def test_a_message_that_was_not_taken_counts_as_not_sent() -> None:
    talk = ScriptedConversation()

    def send(text: str, cancel: Cancel) -> Iterator[Event]:
        Gate().wait(cancel)
        raise WrongUsage("It has gone on elsewhere.", "Look there.")

    talk.send = send  # type: ignore[method-assign]
    app = ChatApp(talk.opener(), LABEL)

    async def test() -> None:
        async with running(app) as it:
            await it.say("Go")
            await until(it.pilot.pause, lambda: talk.kept[-1:] == ["Go"])

    run(test())
    assert (app.chat.turns.unsent, talk.kept[-1]) == ("Go", "Go")


def test_one_ctrl_c_stops_and_only_a_second_one_leaves() -> None:
    async def test() -> None:
        async with running(app_of([TextDelta("partial"), Gate(), DONE])) as it:
            await it.say("Go")
            await it.until_shown("partial")
            await it.pilot.press("ctrl+c")
            await it.until_shown("● stopped", "Press Ctrl+C again to quit.")
            assert not it.app._exit

    run(test())


# ── Loading before the first message ──────────────────────────────────────────────────────────────


def test_loading_is_shown_before_anything_is_asked() -> None:
    async def test() -> None:
        reports: list[Report] = []

        def open_conversation(report: Report) -> ScriptedConversation:
            reports.append(report)
            return ScriptedConversation([Gate(), DONE])

        async with running(ChatApp(open_conversation, LABEL)) as it:
            reports[0](Loading(0.3))
            await it.until_shown("● loading 30%")
            reports[0](Loading(1.0))
            await it.until_shown("● ready")

    run(test())


def test_done_without_numbers_leaves_the_live_ones() -> None:
    async def test() -> None:
        done = Done(Stop.CANCELLED, Usage(), Timing())
        async with running(
            app_of([Prefill(0, 50), Prefill(50, 50), TextDelta("a"), TextDelta("b"), done])
        ) as it:
            await it.say("Go")
            await it.until_shown("● stopped", "context 52 / 4,096")
            assert it.chat.replies[0].state is State.STOPPED

    run(test())
