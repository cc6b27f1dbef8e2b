"""What a plain terminal or pipe sees of a reply: the answer on stdout, all the rest on stderr."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from localmag.errors import Cancelled, LocalmagError, WrongUsage
from localmag.sanitize import Sanitizer, sanitize
from localmag.types import (
    Done,
    Event,
    Loading,
    Malformed,
    Notice,
    Prefill,
    Stop,
    TextDelta,
    ThinkingClosed,
    ThinkingDelta,
    ToolCallReady,
)

_SILENT_S = 3.0  # that people wait without wondering
_ENDINGS = {
    Stop.LENGTH: "cut off: the context or the token limit is full; raise --ctx or --max-tokens",
    Stop.CANCELLED: "stopped",
    Stop.BUDGET: "the thinking budget ran out",
    Stop.LOOP: "it repeated itself",
    Stop.ERROR: "the engine failed",
}


def warn(text: str) -> None:
    """A line on stderr that scripts may ignore; on a terminal, broken between words."""
    line = f"localmag: {sanitize(text)}"
    with dispensable():
        print("\n".join(_broken(line)) if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


@contextmanager
def told_if_long(text: str) -> Iterator[None]:
    """A warning, if what is done meanwhile takes seconds."""
    notice = threading.Timer(_SILENT_S, warn, [text])
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()


def _broken(text: str) -> Iterator[str]:
    """In lines that fit the terminal: no word, path or `command to copy` is cut."""
    width = max(1, shutil.get_terminal_size().columns - 1)
    whole = re.sub(r"`[^`\n]+`", lambda command: command[0].replace(" ", "\xa0"), text)
    for line in whole.split("\n"):
        lines = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
        yield from (line.replace("\xa0", " ") for line in lines or [""])


@contextmanager
def dispensable() -> Iterator[None]:
    """Writing to stderr: where that fails, the answer on stdout goes on, unless both are the same pipe."""
    try:
        yield
    except OSError:
        if os.path.sameopenfile(1, 2):
            raise


def note(text: str) -> None:
    """A line on stderr for people at a terminal: what goes with a listing or a question."""
    with dispensable():
        print(one_line(text), file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """Made safe to show where it stands among other texts: nothing in it can pass for another line or column,
    and nothing is there that cannot be seen. What joins letters and emoji stays.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _in_a_line(c) for c in sanitize(text))


def _in_a_line(char: str) -> str:
    """What stands for one that is not printable, as this Python's Unicode has it."""
    from unicodedata import category  # which only odd texts need

    if char in _PICTURES:
        return _PICTURES[char]
    match category(char):
        case "Zs":
            return " "
        case "Cn" | "Co":  # an emoji that is newer than it, or a symbol of the user's font
            return char
    return "\ufffd"


_PICTURES = {"\n": "␊", "\t": "␉", "\u200d": "\u200d"}
"""The last one makes one emoji of several; it shows by itself nowhere else."""


def say_error(error: LocalmagError) -> None:
    """What happened and what to do, in one line on stderr."""
    warn(str(error))


def say(text: str) -> None:
    """A line of data on stdout, made safe if that is a terminal."""
    print(sanitize(text) if sys.stdout.isatty() else text, flush=True)


def confirm(question: str) -> None:
    """Go on only after a yes. Raises WrongUsage where no terminal is there to ask, Cancelled after a no."""
    if not sys.stdin.isatty():
        raise WrongUsage("There is no terminal to ask at.", "Say yes beforehand with --yes.")
    print(f"{sanitize(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Cancelled("Nothing was done.", "Answer y to go on.")


def exhausted(events: Iterable[Event]) -> Done | None:
    """Take every event, show notices only, and return the last."""
    done = None
    for event in events:
        if isinstance(event, Notice):
            warn(event.text)
        elif isinstance(event, Done):
            done = event
    return done


class Printer:
    """Draws one reply after another as its events come.

    The answer goes to stdout as it is (control characters made visible if that is a terminal); reasoning,
    progress and notes go to stderr, dimmed where colour is wanted. Nothing it writes depends on what came
    before the current line, so a token costs the same however long the reply is.
    """

    def __init__(self, *, hide_thinking: bool = False) -> None:
        self._hide = hide_thinking
        self._out, self._err = _Channel(sys.stdout), _Notes(sys.stderr)
        self._live = sys.stderr.isatty()
        self._dim = self._live and _may_be_dim(sys.stderr)
        self._status = ""

    def show(self, events: Iterable[Event]) -> Done | None:
        """Draw every event, and return the last one. The line is left finished also if `events` raises.

        Where drawing fails, the reply is stopped, so that what had arrived of it is kept.
        """
        done = None
        try:
            for event in events:
                self._draw(event)
                if isinstance(event, Done):
                    done = event
        finally:
            if isinstance(events, Generator):
                events.close()
            self._clear()
            self._err.end_line()
            self._out.end_line()
        if done and done.stop in _ENDINGS:
            warn(_ENDINGS[done.stop] + ".")
        return done

    def _draw(self, event: Event) -> None:
        match event:
            case Loading(fraction) if fraction < 1:
                self._say(f"loading {fraction:.0%}")
            case Prefill(done, total) if done < total:
                self._say(f"reading the prompt {done / total:.0%}")
            case ThinkingDelta(text) if not self._hide:
                self._clear()
                self._err.write(text, dim=self._dim)
            case ThinkingDelta():
                self._say("thinking")
            case ThinkingClosed(tokens, seconds):
                self._clear()
                if not self._hide:
                    self._err.end_line()
                    self._err.write(f"[thought {seconds:.1f} s · {tokens:,} tokens]", dim=self._dim)
                    self._err.end_line()
            case TextDelta(text):
                self._clear()
                self._out.write(text)
            case ToolCallReady(call):
                warn(
                    f"the model asks for the tool {call.name}({call.arguments}), which localmag does not run."
                )
            case Notice(text):
                self._clear()
                warn(text)
            case Malformed(text, why):
                warn(f"{why}: {text!r}" if text else why)
            case _:
                self._clear()

    def _say(self, status: str) -> None:
        """A progress line that replaces the last one; only on a terminal."""
        if self._live and status != self._status:
            self._clear()
            self._status = status
            with dispensable():
                print(status, end="", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._status:
            with dispensable():
                print("\r" + " " * len(self._status), end="\r", file=sys.stderr, flush=True)
            self._status = ""


class _Channel:
    """One stream, with a sanitizer if it is a terminal, that knows whether its line is finished."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._sanitizer = Sanitizer() if stream.isatty() else None
        self._open = False

    def write(self, text: str, *, dim: bool = False) -> None:
        if self._sanitizer:
            text = self._sanitizer.feed(text)
        if not text:
            return
        self._put(f"\x1b[2m{text}\x1b[22m" if dim else text)
        self._open = not text.endswith("\n")

    def end_line(self) -> None:
        if self._open:
            self._open = False
            self._put("\n")

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class _Notes(_Channel):
    """What the answer can do without."""

    def _put(self, text: str) -> None:
        with dispensable():
            super()._put(text)


def _may_be_dim(terminal: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    if sys.platform == "win32":  # consoles older than Windows Terminal must be asked to obey escape sequences
        import ctypes
        import msvcrt

        handle, mode = ctypes.c_void_p(msvcrt.get_osfhandle(terminal.fileno())), ctypes.c_uint32()
        console = ctypes.windll.kernel32
        return bool(
            console.GetConsoleMode(handle, ctypes.byref(mode))
            and console.SetConsoleMode(handle, mode.value | 4)  # ENABLE_VIRTUAL_TERMINAL_PROCESSING
        )
    return True
