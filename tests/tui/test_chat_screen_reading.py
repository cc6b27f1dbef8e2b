"""Reading on the chat screen: the reasoning beside the answer, earlier replies, copying."""

from __future__ import annotations

import pytest

from localmag.types import ThinkingDelta
from tests.tui.driving import running
from tests.tui.fakes import ANSWER, DONE, THINKING, Gate, app_of, reply, until

pytestmark = pytest.mark.timeout(180)


# ── The reasoning ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("columns", "beside"), [(99, False), (100, True), (160, True)])
async def test_reasoning_stands_beside_from_100_columns(columns: int, beside: bool) -> None:
    gate = Gate()
    async with running(app_of([*reply(THINKING, ANSWER)[:9], gate, DONE]), (columns, 30)) as it:
        await it.say("What is 478 + 356?")
        await it.shown("● thinking", "Units: 8")
        answer, pane = it.chat.transcript.region, it.chat.pane.region
        if beside:
            assert (pane.x, pane.y) == (answer.right, answer.y)
            assert pane.width < answer.width
        else:
            assert (pane.x, pane.y) == (answer.x, answer.bottom)
            assert pane.width == answer.width == columns


async def test_stacked_it_collapses_at_the_answer_and_beside_it_stays() -> None:
    async with running(app_of(reply(THINKING, ANSWER)), (80, 30)) as it:
        await it.say("Go")
        await it.shown("● done")
        await it.shown("▸ thought 2.0 s")
        assert "Units" not in it.text
        await it.pilot.resize_terminal(120, 30)
        await it.shown("▾ thought 2.0 s", "Units")


async def test_ctrl_t_and_a_click_collapse_it_and_that_is_remembered() -> None:
    async with running(app_of(reply(THINKING, ANSWER), reply("Second thoughts.", "Yes."))) as it:
        await it.say("Go")
        await it.shown("● done", "Units")
        await it.press("ctrl+t")
        await it.gone("Units")
        assert it.chat.pane.size.height == 1
        await it.say("More")
        await it.shown("Yes.", "● done")
        assert "Second thoughts." not in it.text
        await it.pilot.click("#reasoning-header")
        await it.shown("Second thoughts.", "▾ thought")


async def test_typing_after_a_click_anywhere_is_writing() -> None:
    async with running(app_of(reply(THINKING, ANSWER))) as it:
        await it.say("Go")
        await it.shown("● done", "Units")
        for place in ("Transcript", "Trace", "StatusLine"):
            await it.pilot.click(place)
            await it.press("a")
        assert it.chat.composer.text == "aaa"


async def test_earlier_replies_can_be_chosen_by_key_and_click() -> None:
    async with running(app_of(reply("Early thoughts.", "One."), reply("Late thoughts.", "Two."))) as it:
        await it.say("first")
        await it.settle()
        await it.say("second")
        await it.settle()
        await it.shown("Late thoughts.")
        await it.press("alt+up")
        await it.shown("Early thoughts.")
        assert "Late thoughts." not in it.text
        await it.press("alt+up", "f3")
        assert it.app.clipboard == "Early thoughts."
        await it.press("alt+down")
        await it.shown("Late thoughts.")
        await it.pilot.click(it.chat.transcript, offset=(6, 1))
        await it.shown("Early thoughts.")
        await it.press("escape")
        await it.shown("Late thoughts.")


async def test_it_follows_the_tail_until_the_user_scrolls_up() -> None:
    gates = [Gate(), Gate()]
    lines = [ThinkingDelta(f"line {n}\n") for n in range(300)]
    async with running(app_of([*lines[:100], gates[0], *lines[100:200], gates[1], *lines[200:], DONE])) as it:
        await it.say("Go")
        await it.shown("line 99")
        await it.press("shift+pageup", "shift+pageup")
        await it.gone("line 99")
        top = it.chat.pane.trace.scroll_offset.y
        gates[0].open()
        await until(it.pilot.pause, lambda: len(it.chat.pane.trace.wrapped) > 200)
        assert it.chat.pane.trace.scroll_offset.y == top
        for _ in range(12):
            await it.press("shift+pagedown")
        await it.shown("line 199")
        gates[1].open()
        await it.shown("line 299")


# ── Copying ───────────────────────────────────────────────────────────────────────────────────────


async def test_copying_gives_the_source() -> None:
    async with running(app_of(reply(THINKING, r"**So** \( \frac{x_1}{2} \)."))) as it:
        await it.press("f2")
        await it.shown("There is no answer to copy yet.")
        await it.say("Go")
        await it.shown("So x₁/2.")
        await it.settle()
        await it.press("f2")
        assert it.app.clipboard == r"**So** \( \frac{x_1}{2} \)."
        await it.press("f3")
        assert it.app.clipboard == THINKING
        await it.shown("was sent to the")


async def test_text_can_be_selected_with_the_mouse_and_copied() -> None:
    async with running(app_of(reply("Some thoughts.", "Plain answer."))) as it:
        await it.say("Go")
        await it.settle()
        row = next(y for y, line in enumerate(it.text.split("\n")) if "Plain answer." in line)
        at = it.text.split("\n")[row].index("Plain")
        await it.pilot.mouse_down(offset=(at, row))
        await it.pilot.hover(offset=(at + 5, row))
        await it.pilot.mouse_up(offset=(at + 5, row))
        assert it.chat.get_selected_text() == "Plain"
        await it.press("ctrl+c")
        assert it.app.clipboard == "Plain"
