"""The chat screen on odd terminals, with hostile text, in other themes."""

from __future__ import annotations

import pytest
from textual.events import Paste

from localmag.errors import EngineDied
from localmag.types import Malformed, TextDelta, ThinkingClosed, ThinkingDelta
from tests.tui.driving import Driver, running
from tests.tui.fakes import ANSWER, DONE, THINKING, Gate, Step, app_of, reply

pytestmark = pytest.mark.timeout(180)


HOSTILE = "t\ta\x1b]52;c;cm0=\x07b\x1b[2Jc\x9b31md\r\x08\x00e\u202ef [red]markup[/red] [@click=app.quit]x[/]"


def assert_harmless(it: Driver) -> None:
    for strip in it.app.screen._compositor.render_strips():
        assert not [char for char in strip.text if ord(char) < 32 or 127 <= ord(char) < 160], strip.text
        assert "\u202e" not in strip.text


async def test_no_control_sequence_reaches_the_terminal() -> None:
    chunks = [HOSTILE[n : n + 3] for n in range(0, len(HOSTILE), 3)]
    events: list[Step] = [*map(ThinkingDelta, chunks), ThinkingClosed(9, 1.0), *map(TextDelta, chunks)]
    events += [Malformed(HOSTILE, HOSTILE), EngineDied(HOSTILE, HOSTILE)]
    async with running(app_of(events), (140, 40)) as it:
        it.app.post_message(Paste(HOSTILE))
        await it.pilot.pause(0.1)
        assert_harmless(it)
        await it.press("enter")
        it.chat.composer.load_text("")
        await it.shown("● failed")
        await it.pilot.pause(0.1)
        assert_harmless(it)
        assert "[red]markup[/red]" in it.text


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (3, 30), (300, 4), (100, 8)])
async def test_no_size_is_too_small(size: tuple[int, int]) -> None:
    async with running(
        app_of(reply(THINKING, "**a** `b`\n\n| x |\n|---|\n| 1 |\n\n- 日本語\n" * 3)), size
    ) as it:
        await it.say("Go 日本語 👩‍💻")
        await it.settle()
        for other in ((120, 30), size, (60, 12)):
            await it.pilot.resize_terminal(*other)
            await it.pilot.pause()


async def test_resizing_while_it_streams_loses_nothing() -> None:
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
        await it.shown("● done", "end")
        assert it.chat.replies[0].reasoning_text.split() == [f"w{n}" for n in range(400)]
        await it.shown("w399")
        assert "".join(it.chat.pane.trace.wrapped.rows).split() == [f"w{n}" for n in range(400)]


@pytest.mark.parametrize("theme", ["localmag-light", "ansi-dark", "monokai"])
async def test_a_theme_can_be_changed_at_any_time(theme: str) -> None:
    async with running(app_of(reply(THINKING, "```py\nx = 1\n```\n$$y$$ `z`"))) as it:
        await it.say("Go")
        await it.settle()
        before = it.text
        it.app.theme = theme
        await it.pilot.pause(0.1)
        assert it.text == before


async def test_without_colours_it_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running(app_of(reply(THINKING, ANSWER))) as it:
        await it.say("Go")
        await it.shown("● done", "It is 834.")
        for strip in it.app.screen._compositor.render_strips():
            for segment in strip:
                for colour in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                    if colour and colour.triplet:
                        assert len(set(colour.triplet)) == 1, segment
