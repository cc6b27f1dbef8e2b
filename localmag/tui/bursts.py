"""A flood of keys is a paste, and what is typed before the screen is there waits for it.

Terminals mark a paste as one (bracketed paste), but not all of them, and none before it is asked to: tmux's
`paste-buffer`, a console's mouse and whatever is pasted while the program starts come as keys. Handled key by
key, a hundred kilobytes would hold up the next paint for minutes, and each line end in them would send.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from textual.driver import Driver
from textual.events import Key, Paste
from textual.message import Message

BURST = 40
"""Keys come together from which they are a paste. Nobody types as many while a screen is painted."""
LULL_S = 0.005
"""Seconds without another key after which keys are passed on: less than a frame."""
BURST_LULL_S = 0.06
"""The same in a burst, whose pieces may come over a network."""
AT_ONCE = 8192
"""Keys of a burst after which they are passed on although more come, so that something is seen to happen."""
STARTING_S = 0.02
"""Seconds between two looks at whether the screen is there."""

_WRITES = {"enter": "\n", "ctrl+j": "\n", "tab": "\t"}


def gathered(messages: Iterable[Message], least: int = BURST) -> Iterator[Message]:
    """The same with each run of `least` keys that write or more as one `Paste`.

    The line end that closes a run stays the Enter that sends it.
    """
    for writes, run in groupby(messages, lambda message: bool(_written(message))):
        keys = list(run)
        if not writes or len(keys) < least:
            yield from keys
            continue
        text = "".join(map(_written, keys))
        if pasted := text.rstrip("\n"):
            yield Paste(pasted)
        yield from keys[len(pasted) : len(pasted) + 1]


def _written(message: Message) -> str:
    """The one character that a key writes; empty for one that does something else, and for no key."""
    if not isinstance(message, Key):
        return ""
    return _WRITES.get(message.key) or (message.character or "" if message.is_printable else "")


def gathering(driver: type[Driver]) -> type[Driver]:
    """`driver` with bursts gathered between its input thread and the application."""

    class Gathering(driver):  # type: ignore[valid-type, misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._clock = asyncio.get_running_loop()
            self._arrived: deque[Message] = deque()
            self._watching = False
            self._started = False
            self._amid = False  # a burst, of which a part has been passed on

        def send_message(self, message: Message) -> None:
            """From any thread."""
            self._arrived.append(message)
            if not self._watching:
                self._watching = True
                self._clock.call_soon_threadsafe(self._watch, 0)

        def _watch(self, seen: int) -> None:
            """Pass on what has arrived once nothing more does."""
            count = len(self._arrived)
            self._started = self._started or self._app.focused is not None
            if not self._started:
                self._clock.call_later(STARTING_S, self._watch, 0)
            elif count != seen:
                if count >= AT_ONCE:
                    self._pass_on(more=True)
                self._clock.call_later(LULL_S if count < BURST else BURST_LULL_S, self._watch, count)
            else:
                self._watching = False  # before the queue is emptied: what comes now is seen
                self._pass_on(more=False)

        def _pass_on(self, *, more: bool) -> None:
            taken = [self._arrived.popleft() for _ in range(len(self._arrived))]
            while more and taken and _written(taken[-1]) == "\n":  # it need not be the end of the burst
                self._arrived.appendleft(taken.pop())
            least = 1 if self._amid else BURST
            self._amid = more
            for message in gathered(taken, least):
                message.set_sender(self._app)
                super().send_message(message)

    return Gathering
