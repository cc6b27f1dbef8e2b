"""What ask and chat do alike: start the engine, build the conversation, let Ctrl+C stop a reply."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from localmag import catalogue
from localmag.cli.options import Run, how_to_get_magistral
from localmag.cli.output import warn
from localmag.types import Message

if TYPE_CHECKING:
    from localmag.engines.host import HostedEngine
    from localmag.sessions import Setup

# What runs a turn is imported by the functions that need it: the screen paints before they are called.


class Interruptible:
    """A `Cancel` that Ctrl+C sets: the first stops the reply and keeps it, a second leaves at once."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def is_set(self) -> bool:
        return self._event.is_set()

    def __enter__(self) -> Interruptible:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is not signal.SIG_IGN:  # ignored by who started us: it stays so
            signal.signal(signal.SIGINT, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()


def say_what_stands_in(run: Run) -> None:
    """Nobody should take the demo for Magistral."""
    if run.stands_in:
        warn(f"No Magistral is on this machine yet, so the bundled demo answers. {how_to_get_magistral()}")


@contextmanager
def engine(run: Run) -> Iterator[HostedEngine]:
    """The run's engine, loading already, closed at the end whatever happens."""
    from localmag.engines.host import HostedEngine

    running = HostedEngine(run.spec)
    try:
        running.start()
        yield running
    finally:
        running.close()


def system_of(run: Run) -> Message | None:
    """The system message; [THINK] markers are control tokens in a prompt file only, never in typed text."""
    from localmag.prompt import system_message

    if run.system is None:
        return None
    return system_message(run.system) if run.system_is_template else Message.of("system", run.system)


def prompt_messages(run: Run, text: str) -> list[Message]:
    """A first turn's messages."""
    system = system_of(run)
    return [*([system] if system else []), Message.of("user", text)]


def setup_of(run: Run) -> Setup:
    """What is kept on disk of how a reply was written; a file the user pointed at is kept by its path."""
    from localmag.sessions import Setup

    found = run.installed
    return Setup(
        model=found.model if catalogue.is_name(found.model) else str(found.weights.absolute()),
        build=found.build,
        backend=run.spec.backend,
        sampling=run.sampling,
        max_tokens=run.max_tokens,
        keep_reasoning=run.keep_reasoning,
    )
