"""What a terminal shows while something is kept at the end."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

import fcntl
import os
import pty
import select
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyte

from localmag.cli import turns
from localmag.errors import RunFailed


@contextmanager
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A stderr that is a terminal of 30 columns; where to read what it is sent."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 30, 0, 0))
    with os.fdopen(there, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        yield here
    os.close(here)


def shown(terminal: int, screen: pyte.Screen) -> list[str]:
    stream = pyte.ByteStream(screen)
    while select.select([terminal], [], [], 0.2)[0]:
        stream.feed(os.read(terminal, 4096))
    return [line.rstrip() for line in screen.display if line.strip()]


class Talk:
    """One whose context cannot be kept."""

    def __init__(self, shown: Callable[[], list[str]]) -> None:
        self._shown = shown
        self.meanwhile: list[str] = []

    def keep_context(self, most: int, cancel: object) -> int:
        self.meanwhile = self._shown()
        raise RunFailed("It failed.", "Go on.")


def test_keeping_the_context_is_one_row_of_a_narrow_terminal_and_leaves_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = pyte.Screen(30, 10)
    with narrow(monkeypatch) as terminal:
        talk = Talk(lambda: shown(terminal, screen))
        turns.keep_context(talk, 10**9)  # type: ignore[arg-type]
        assert talk.meanwhile == ["keeping the context for --res"]
        assert shown(terminal, screen) == ["localmag: It failed. Go on."]
