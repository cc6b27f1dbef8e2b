"""The status line: what gives way where there is little room, and what never does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from localmag.tui.widgets.status import Figures, Pieces, fitted
from localmag.types import Prefill, TextDelta
from tests.tui.driving import running
from tests.tui.fakes import Gate, app_of

BUSY = Figures(
    state="● reading the prompt 30%",
    model="Magistral Small 1.2",
    build="Q4_K_M",
    backend="llama.cpp",
    context="context 12,345 / 40,960",
    share="(30%)",
    first="first token 0.2 s",
    speed="31 tok/s",
    aside="↓ 45%",
    stop="Esc stop",
)
IDLE = replace(BUSY, state="● done", mood="idle", menu="Ctrl+P menu", keys="F1 keys", aside="", stop="")


def line(figures: Figures, width: int) -> str:
    left, right = fitted(figures, width)
    said, tail = _text(left), _text(right)
    assert cell_len(said + tail) <= width
    return said + " " * (width - cell_len(said + tail)) + tail


def _text(pieces: Pieces) -> str:
    return "".join(text for _, text in pieces)


@pytest.mark.parametrize("width", [12, 20, 30, 40, 60, 76, 96, 200])
def test_how_to_stop_is_said_however_narrow_the_screen(width: int) -> None:
    assert line(BUSY, width).endswith("Esc stop")
    assert line(replace(BUSY, tight=True, share="(90%, nearly full)"), width).endswith("Esc stop")


def test_what_gives_way_goes_in_its_order() -> None:
    said = [line(BUSY, width) for width in range(160, 40, -1)]
    last = {
        text: max(n for n, told in enumerate(said) if text in told) for text in ("tok/s", "(30%)", "Q4_K_M")
    }
    assert last["tok/s"] < last["(30%)"] < last["Q4_K_M"]


def test_the_hints_of_an_idle_chat_stand_where_there_is_room() -> None:
    assert line(IDLE, 150).endswith("31 tok/s   Ctrl+P menu   F1 keys")
    assert line(IDLE, 100).endswith("31 tok/s   F1 keys")
    fresh = replace(IDLE, first="", speed="", share="(0%)", context="context 0 / 40,960")
    assert line(fresh, 96).endswith("Ctrl+P menu   F1 keys")


async def test_at_80_columns_a_reply_that_comes_in_says_how_to_stop_it() -> None:
    gates = Gate(), Gate()
    steps = [Prefill(9, 200), gates[0], TextDelta("one "), TextDelta("two"), gates[1]]
    async with running(app_of(steps), (80, 24)) as it:
        assert "F1 keys" in it.text
        await it.say("Go on")
        await it.shown("● reading the prompt", "Esc stop")
        gates[0].open()
        await it.shown("● answering", "context 202 / 4,096", "Esc stop")
        gates[1].open()


async def test_a_context_that_is_nearly_full_is_told() -> None:
    gate = Gate()
    steps = [Prefill(3480, 3480), TextDelta("one"), gate, TextDelta("two"), Gate()]
    async with running(app_of(steps), (80, 24)) as it:
        await it.say("Go on")
        await it.shown("● answering", "context 3,481 / 4,096", "Esc stop")
        assert "nearly full" not in it.text
        gate.open()
        await it.shown("context 3,482 / 4,096 (85%, nearly full)", "Esc stop")
