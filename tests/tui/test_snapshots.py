"""Whole screens as text, compared with `snapshots/`; `SNAPSHOTS=write pytest …` draws them anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from localmag.errors import EngineDied
from localmag.tui.app import ChatApp
from localmag.types import Message, Prefill, Text, TextDelta, Thinking, ThinkingDelta
from tests.tui.fakes import DONE, LABEL, Gate, ScriptedConversation, Step, reply, text_of, until

FOLDER = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("SNAPSHOTS") == "write"

THINKING = (
    "I need to add 478 and 356. Units: 8 + 6 = 14, write 4, carry 1. Tens: 7 + 5 + 1 = 13, write 3, carry 1. "
    "Hundreds: 4 + 3 + 1 = 8.\n\nSo the digits are 8, 3, 4."
)
ANSWER = r"""The sum of 478 and 356 is

$$478 + 356 = 834$$

### How it goes

1. **Units**: 8 + 6 = 14, write 4, carry 1
2. **Tens**: 7 + 5 + 1 = 13, write 3, carry 1
3. **Hundreds**: 4 + 3 + 1 = 8

In short \( \frac{a_1 * b}{c * d} \) reads well, and `code` stays:

```python
def add(a: int, b: int) -> int:
    return a + b
```

| digit | sum |
|-------|----:|
| units |  14 |
| tens  |  13 |

> Always check by subtracting. 日本語も 👍"""

QUESTION = "What is 478 + 356?\nShow how."
DIED = EngineDied(
    "The engine's process ended unexpectedly (SIGKILL).", "Send the message again and it starts anew."
)
OLD = (
    Message.of("user", "What is 1 + 1?"),
    Message("assistant", (Thinking("Easy."), Text("It is 2."))),
)


def held() -> list[Step]:
    """A reply that stays in its reasoning."""
    return [Prefill(57, 57), *map(ThinkingDelta, THINKING.splitlines(keepends=True)), Gate(), DONE]


SCREENS: dict[str, tuple[tuple[int, int], Callable[[], ChatApp], str]] = {
    "done-wide": ((120, 40), lambda: app(reply(THINKING, ANSWER)), "● done"),
    "done-narrow": ((80, 40), lambda: app(reply(THINKING, ANSWER)), "● done"),
    "thinking-wide": ((100, 24), lambda: app(held()), "8, 3, 4."),
    "thinking-narrow": ((99, 24), lambda: app(held()), "8, 3, 4."),
    "reading": ((100, 12), lambda: app([Prefill(0, 900), Prefill(360, 900), Gate(), DONE]), "40%"),
    "failed": ((100, 16), lambda: app([TextDelta("It is 8"), DIED]), "● failed"),
    "resumed": ((100, 20), lambda: app(reply("", "It is 834."), messages=OLD), "● done"),
    "small": ((40, 12), lambda: app(reply(THINKING, "It is **834**.")), "● done"),
}


def app(*turns: Iterable[Step], messages: tuple[Message, ...] = ()) -> ChatApp:
    talk = ScriptedConversation(*turns, messages=messages)
    return ChatApp(talk.opener(), LABEL, greeting="Ask something.")


@pytest.mark.parametrize("name", SCREENS)
async def test_the_screen_is_as_it_was(name: str) -> None:
    size, make, last = SCREENS[name]
    compare(name, await drawn(make(), size, last, ask=True))


async def test_the_empty_screen_is_as_it_was() -> None:
    compare("empty", await drawn(app(), (100, 16), "● ready", ask=False))


async def test_the_help_is_as_it_was() -> None:
    compare("help", await drawn(app(), (100, 28), "closes this.", ask=False, key="f1"))


async def drawn(made: ChatApp, size: tuple[int, int], last: str, *, ask: bool, key: str = "") -> str:
    made.chat.clock = lambda: 1000.0
    async with made.run_test(size=size) as pilot:
        if ask:
            await until(pilot.pause, lambda: made.chat.opened)
            made.chat.composer.insert(QUESTION)
            await pilot.press("enter")
        if key:
            await until(pilot.pause, lambda: made.chat.opened)
            await pilot.press(key)
        await until(pilot.pause, lambda: last in text_of(made))
        await pilot.pause(0.3)
        text = text_of(made)
    made.chat.turns.close(20)
    return text


def compare(name: str, text: str) -> None:
    kept = FOLDER / f"{name}.txt"
    if WRITE:
        FOLDER.mkdir(exist_ok=True)
        kept.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == kept.read_text(encoding="utf-8")
