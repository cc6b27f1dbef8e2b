"""A flood of keys is a paste.

Terminals mark a paste as one (bracketed paste), but not all of them, and none before it is asked to: tmux's
`paste-buffer`, a console's mouse and whatever is pasted while the program starts come as keys. Handled key by
key, a hundred kilobytes would hold up the next paint for minutes, and each line end in them would send.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise

from textual.events import Key, Paste
from textual.message import Message

BURST = 40
"""Keys come together from which they are a paste."""
TYPED_S = 0.01
"""Seconds between most keys from which they were typed after all, while nobody took them."""

_WRITES = {"enter": "\n", "ctrl+j": "\n", "tab": "\t"}


def gathered(messages: Iterable[Message], least: int = BURST) -> Iterator[Message]:
    """The same with each run of `least` keys that write or more as one `Paste`.

    The line end that closes a run stays the Enter that sends it.
    """
    for writes, run in groupby(messages, lambda message: bool(written(message))):
        keys = list(run)
        if not writes or len(keys) < least or _typed(keys):
            yield from keys
            continue
        text = "".join(map(written, keys))
        if pasted := text.rstrip("\n"):
            yield Paste(pasted)
        yield from keys[len(pasted) : len(pasted) + 1]


def _typed(keys: list[Message]) -> bool:
    """By the median: a paste may come in pieces, and somebody may have typed before it."""
    between = sorted(key.time - before.time for before, key in pairwise(keys))
    return len(keys) > 1 and between[len(between) // 2] > TYPED_S


def written(message: Message) -> str:
    """The one character that a key writes; empty for one that does something else, and for no key."""
    if not isinstance(message, Key):
        return ""
    return _WRITES.get(message.key) or (message.character or "" if message.is_printable else "")
