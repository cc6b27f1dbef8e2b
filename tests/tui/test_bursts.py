"""Keys that come in a flood, as without bracketed paste, and keys that come before the screen does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from textual.driver import Driver
from textual.events import Key, MouseMove, Paste
from textual.message import Message

from localmag.tui import bursts
from localmag.tui.bursts import BURST, gathered, gathering

CODE = "def f(x):\n\treturn x\n" * 40


def keys(text: str) -> list[Message]:
    named = {"\n": "enter", "\t": "tab"}
    return [Key(named.get(character, character), character) for character in text]


def told(messages: Sequence[Message]) -> list[str]:
    """A paste by its text, a key by its name."""
    return [m.text if isinstance(m, Paste) else m.key if isinstance(m, Key) else "?" for m in messages]


def test_what_a_person_types_stays_keys() -> None:
    assert told(list(gathered(keys("2+2\n")))) == [*"2+2", "enter"]


def test_a_flood_is_one_paste_whose_line_ends_do_not_send() -> None:
    assert told(list(gathered(keys(CODE + "end")))) == [CODE + "end"]


def test_the_enter_behind_a_flood_sends_it_once() -> None:
    assert told(list(gathered(keys(CODE + "\n\n")))) == [CODE.rstrip("\n"), "enter"]
    assert told(list(gathered(keys("\n" * BURST)))) == ["enter"]


def test_keys_that_write_nothing_and_the_mouse_part_a_flood_from_what_follows() -> None:
    between = [Key("escape", "\x1b"), MouseMove(None, 0, 0, 0, 0, 0, False, False, False)]
    found = list(gathered([*keys("x" * BURST), *between, *keys("hello")]))
    assert told(found) == ["x" * BURST, "escape", "?", *"hello"]


class Recorder(Driver):
    """What reaches the application."""

    sent: list[Message]

    def send_message(self, message: Message) -> None:
        self.sent.append(message)

    def write(self, data: str) -> None: ...

    def start_application_mode(self) -> None: ...

    def disable_input(self) -> None: ...

    def stop_application_mode(self) -> None: ...


class App:
    """As much of an application as a driver looks at."""

    focused: object = None

    def _get_message_pump(self) -> App:
        return self


async def _passed_on(text: str) -> list[Message]:
    app = App()
    driver = gathering(Recorder)(app)  # type: ignore[arg-type]
    driver.sent = []  # type: ignore[attr-defined]
    for message in keys(text):
        driver.process_message(message)
    await asyncio.sleep(0.1)
    assert driver.sent == []  # type: ignore[attr-defined]
    app.focused = object()
    await asyncio.sleep(0.4)
    found: list[Message] = driver.sent  # type: ignore[attr-defined]
    return found


def test_what_is_typed_before_the_screen_is_there_waits_for_it() -> None:
    assert told(asyncio.run(_passed_on("hello"))) == [*"hello"]


def test_a_long_flood_comes_in_parts_and_sends_nothing_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bursts, "AT_ONCE", 100)
    found = told(asyncio.run(_passed_on(CODE + "end")))
    assert "".join(found) == CODE + "end"
    assert "enter" not in found
