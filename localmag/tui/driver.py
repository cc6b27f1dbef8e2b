"""Between terminal and application: pastes that come as keys, keys that come early, a terminal that goes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import IO, Any

from textual.driver import Driver
from textual.message import Message

from localmag.tui.bursts import BURST, gathered, written

LULL_S = 0.005
"""Seconds without another key after which keys are passed on: less than a frame."""
BURST_LULL_S = 0.06
"""The same in a burst, whose pieces may come over a network."""
AT_ONCE = 8192
"""Keys of a burst after which they are passed on although more come, so that something is seen to happen."""
STARTING_S = 0.02
"""Seconds between two looks at whether the screen is there."""
HUNG_UP = 129
"""The exit code where the terminal has gone: a shell's for SIGHUP, which not every terminal sends."""


def patient(driver: type[Driver]) -> type[Driver]:
    """`driver` with bursts gathered, early keys kept for the screen, and an end where the terminal ends."""

    class Patient(driver):  # type: ignore[valid-type, misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._clock = asyncio.get_running_loop()
            terminal: Any = self._file
            self._file: Any = _Output(terminal, self._hang_up)
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
            self._started = self._started or (bool(self._app.screen_stack) and self._app.focused is not None)
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
            while more and taken and written(taken[-1]) == "\n":  # it need not be the end of the burst
                self._arrived.appendleft(taken.pop())
            least = 1 if self._amid else BURST
            self._amid = more
            for message in gathered(taken, least):
                message.set_sender(self._app)
                super().send_message(message)

        def _sigcont_application(self, *_: object) -> None:
            """Textual takes every SIGCONT for the end of a Ctrl+Z, and would start twice after any other."""
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return  # on its way out: a terminal that goes sends one too
            stopped: bool = self._must_signal_resume
            if self._auto_restart and not stopped:
                self.suspend_application_mode()
                self._must_signal_resume: bool = True  # paint anew: a shell may have written meanwhile
            super()._sigcont_application()

        def _hang_up(self) -> None:
            """From the thread that writes."""
            self._clock.call_soon_threadsafe(self._app.exit, None, HUNG_UP)

    return Patient


class _Output:
    """The terminal as a file that does not fail when it goes: else Textual would wait for room for good."""

    def __init__(self, file: IO[str], on_gone: Callable[[], None]) -> None:
        self._file = file
        self._on_gone = on_gone
        self._gone = False

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, text: str) -> None:
        self._do(lambda: self._file.write(text))

    def flush(self) -> None:
        self._do(self._file.flush)

    def _do(self, work: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            work()
        except OSError:
            self._gone = True
            self._on_gone()
