"""The chat screen's first paint beside an empty Textual app's, each in a pseudo-terminal of its own.

A paint is the moment the words that only a drawn screen holds leave the program: the composer's placeholder
for ours, a label for the empty app. POSIX only, as pseudo-terminals are.
"""

from __future__ import annotations

import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROUNDS = 9
SECONDS = 20
EMPTY = """
from textual.app import App
from textual.widgets import Label
class Empty(App):
    def compose(self):
        yield Label("painted-now")
Empty().run()
"""


def rows() -> Iterator[tuple[str, ...]]:
    if sys.platform == "win32":
        yield ("first paint", "not measured on Windows", "", "", "")
        return
    program = str(Path(sys.executable).with_name("localmag"))
    ours, empty = [], []
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"LOCALMAG_HOME": home, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for _ in range(ROUNDS):
            ours.append(first_paint([program, "chat", "demo"], b"Enter", environment))
            empty.append(first_paint([sys.executable, "-c", EMPTY], b"painted-now", environment))
    a, b = statistics.median(ours), statistics.median(empty)
    yield ("first paint: chat demo / empty Textual app", f"{a:.3f} s", f"{b:.3f} s", f"{a / b:.2f}", "≤ 2")


def first_paint(command: list[str], words: bytes, environment: dict[str, str]) -> float:
    """Seconds from the start of `command` until `words` came out of its terminal."""
    import pty  # not on Windows

    here, there = pty.openpty()
    os.set_blocking(here, False)
    subprocess.run(["stty", "rows", "40", "cols", "120"], stdin=there, check=True)
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=there, stdout=there, stderr=there, env=environment, start_new_session=True
    )
    os.close(there)
    seen = b""
    try:
        while words not in seen:
            left = SECONDS - (time.perf_counter() - start)
            if left <= 0 or not select.select([here], [], [], left)[0]:
                raise TimeoutError(f"{command} painted no {words!r} in {SECONDS} s; it wrote {seen[-300:]!r}")
            seen += os.read(here, 65536)
        return time.perf_counter() - start
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(here)
