"""The real program in a pseudo-terminal, its screen read by a terminal emulator. POSIX only."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from types import TracebackType

import pyte

# Queries and modes that the emulator does not know and would print the ends of.
_UNKNOWN = re.compile(rb"\x1b\[(?:\?[\d;]*\$p|>[\d;]*[a-z]|=[\d;]*[a-z]|<[\d;]*u)")
_HALF = re.compile(rb"\x1b[^a-zA-Z]*$")


class Terminal:
    """`with Terminal(["chat", "demo"]) as it:` types and reads as a user would."""

    def __init__(self, args: list[str], columns: int = 120, rows: int = 32, **environ: str) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._pending = b""
        self.raw = b""
        self._hung_up = False
        self._here, there = pty.openpty()
        _resize(there, columns, rows)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "localmag", *args],
            stdin=there,
            stdout=there,
            stderr=there,
            env={**os.environ, "COLORTERM": "truecolor", **environ},
            start_new_session=True,
        )
        os.close(there)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if not self._hung_up:
            os.close(self._here)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def type(self, keys: str) -> None:
        os.write(self._here, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        _resize(self._here, columns, rows)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def hang_up(self, seconds: float = 60) -> int:
        """Close the window; returns the program's exit code. No SIGHUP comes: nothing is controlled by it."""
        self._hung_up = True
        os.close(self._here)
        return self.process.wait(seconds)

    def pause(self, seconds: float) -> None:
        """Read for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._read(0.05):
            pass

    def echoes(self) -> bool:
        """Whether the terminal is as a shell leaves it."""
        return bool(termios.tcgetattr(self._here)[3] & termios.ECHO)

    def until(self, *texts: str, seconds: float = 90) -> None:
        """Read until all of these stand on the screen."""
        deadline = time.monotonic() + seconds
        while not all(text in self.text for text in texts):
            if time.monotonic() > deadline or not self._read(0.2):
                raise AssertionError(f"{texts} never stood on this screen:\n{self.text}")

    def end(self, seconds: float = 60) -> int:
        """Read until the program has ended; returns its exit code."""
        deadline = time.monotonic() + seconds
        while self._read(0.1) and time.monotonic() < deadline:
            pass
        return self.process.wait(timeout=max(1.0, deadline - time.monotonic()))

    def _read(self, wait: float) -> bool:
        """Feed what has arrived to the emulator; False once there is nothing more to come."""
        if not select.select([self._here], [], [], wait)[0]:
            return True
        try:
            data = os.read(self._here, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self.raw += data
        data = self._pending + data
        half = _HALF.search(data)
        self._pending = data[half.start() :] if half else b""
        self._stream.feed(_UNKNOWN.sub(b"", data[: half.start()] if half else data))
        return bool(data)


def _resize(descriptor: int, columns: int, rows: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
