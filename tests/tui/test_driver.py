"""Keys that come before the screen does, floods in parts, and a terminal that goes."""

from __future__ import annotations

import asyncio
import io

import pytest
from textual.driver import Driver
from textual.message import Message

from localmag.tui import driver
from localmag.tui.driver import HUNG_UP, patient
from tests.tui.test_bursts import CODE, keys, told


class Lost(io.StringIO):
    """A terminal that has gone."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


class Recorder(Driver):
    """What reaches the application."""

    _file: io.StringIO | Lost = io.StringIO()
    sent: list[Message]

    def send_message(self, message: Message) -> None:
        self.sent.append(message)

    def write(self, data: str) -> None: ...

    def start_application_mode(self) -> None: ...

    def disable_input(self) -> None: ...

    def stop_application_mode(self) -> None: ...


class App:
    """As much of an application as a driver looks at."""

    screen_stack = (object(),)
    focused: object = None
    left: tuple[object, ...] = ()

    def exit(self, *how: object) -> None:
        self.left = how

    def _get_message_pump(self) -> App:
        return self


async def _passed_on(text: str) -> list[Message]:
    app = App()
    there = patient(Recorder)(app)  # type: ignore[arg-type]
    there.sent = []  # type: ignore[attr-defined]
    for message in keys(text):
        there.process_message(message)
    await asyncio.sleep(0.1)
    assert there.sent == []  # type: ignore[attr-defined]
    app.focused = object()
    await asyncio.sleep(0.4)
    found: list[Message] = there.sent  # type: ignore[attr-defined]
    return found


async def test_what_is_typed_before_the_screen_is_there_waits_for_it() -> None:
    assert told(await _passed_on("hello")) == [*"hello"]


async def test_a_long_flood_comes_in_parts_and_sends_nothing_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "AT_ONCE", 100)
    found = told(await _passed_on(CODE + "end"))
    assert "".join(found) == CODE + "end"
    assert "enter" not in found


async def _left() -> tuple[object, ...]:
    app = App()
    there = patient(Recorder)(app)  # type: ignore[arg-type]
    for _ in range(100):  # more than Textual's own queue holds
        there._file.write("x")  # type: ignore[attr-defined]
        there._file.flush()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    return app.left


async def test_a_terminal_that_goes_ends_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder, "_file", Lost())
    assert await _left() == (None, HUNG_UP)
