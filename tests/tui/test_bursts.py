"""Keys that come in a flood, as without bracketed paste."""

from __future__ import annotations

from collections.abc import Sequence

from textual.events import Key, MouseMove, Paste
from textual.message import Message

from localmag.tui.bursts import BURST, gathered

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


def test_what_was_typed_while_nobody_took_it_is_no_flood() -> None:
    typed = keys("What is 478 + 356?\nAnd 12 more than that, please?\n")
    for place, key in enumerate(typed):
        key.time = place * 0.08  # 150 words a minute
    assert [name for name in told(list(gathered(typed))) if len(name) > 1] == ["enter", "enter"]


def test_a_flood_in_pieces_behind_something_typed_is_one() -> None:
    flood = keys("x" + CODE + "end")
    for place, key in enumerate(flood):
        key.time = 2.0 + place // 100 if place else 0.0
    assert told(list(gathered(flood))) == ["x" + CODE + "end"]


def test_keys_that_write_nothing_and_the_mouse_part_a_flood_from_what_follows() -> None:
    between = [Key("escape", "\x1b"), MouseMove(None, 0, 0, 0, 0, 0, False, False, False)]
    found = list(gathered([*keys("x" * BURST), *between, *keys("hello")]))
    assert told(found) == ["x" * BURST, "escape", "?", *"hello"]
