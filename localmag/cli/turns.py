"""What ask and chat do alike: find or begin the conversation, start the engine, let Ctrl+C stop a reply."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from localmag import catalogue
from localmag.cli.options import Run, how_to_get_magistral
from localmag.cli.output import dispensable, say_error, warn
from localmag.engines import select, selection
from localmag.errors import LocalmagError, WrongUsage
from localmag.types import Message

if TYPE_CHECKING:
    from localmag.chat import Conversation
    from localmag.engines import Engine
    from localmag.engines.host import HostedEngine
    from localmag.sessions import Session, Sessions, Setup

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


def what_runs(run: Run) -> str:
    """Why this backend, where another could have run it, and somebody brought a build for that here."""
    told = run.backend.open and run.installed.model != catalogue.DEMO
    return f"{run.backend.backend} runs it: {run.backend.why}." if told else ""


def say_what_runs(run: Run) -> None:
    """Nobody should take the demo for Magistral, or wonder why one backend runs and not the other."""
    if said := what_runs(run):
        warn(said)
    if not run.stands_in:
        return
    if lies := selection.idle(select.host()):
        warn(f"The bundled demo answers. {lies.what} {lies.todo}")
    else:
        warn(f"No Magistral is on this machine yet, so the bundled demo answers. {how_to_get_magistral()}")


@contextmanager
def engine(run: Run, past: Session | None = None) -> Iterator[HostedEngine]:
    """The run's engine, loading already, closed at the end whatever happens.

    It begins with what was kept of `past`, if anything was.
    """
    from localmag.engines.host import HostedEngine
    from localmag.sessions import contexts

    running = HostedEngine(replace(run.spec, state=contexts.folder(past.id) if past else None))
    try:
        running.start()
        yield running
    finally:
        running.close()


def keep_context(talk: Conversation, most: int) -> None:
    """At the end: what was read is kept, so that --resume goes on at once. Ctrl+C skips it."""
    try:
        with _passing("keeping the context for --resume; Ctrl+C skips that"), Interruptible() as cancel:
            talk.keep_context(most, cancel)
    except LocalmagError as exc:
        say_error(exc)


@contextmanager
def _passing(text: str) -> Iterator[None]:
    """On a terminal, a line that is there while the block runs; one row, or only its last would go."""
    if not sys.stderr.isatty():
        yield
        return
    text = text[: _columns() - 1]
    with dispensable():
        print(text, end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        with dispensable():
            print("\r" + " " * len(text), end="\r", file=sys.stderr, flush=True)


def _columns() -> int:
    """Of the terminal that stderr is: stdout may be another, or none."""
    with suppress(OSError):
        if columns := os.get_terminal_size(sys.stderr.fileno()).columns:  # some do not say
            return columns
    return 80


def past_of(continue_: bool, resume: str | None, system: str | None) -> Session | None:
    """The conversation that --continue or --resume means; None for a new one."""
    if continue_ and resume is not None:
        raise WrongUsage("--continue and --resume name two conversations.", "Give one of them.")
    if not continue_ and resume is None:
        return None
    if system is not None:
        raise WrongUsage("A conversation keeps the system prompt it began with.", "Leave --system out.")
    from localmag.sessions import Sessions

    with Sessions() as sessions:
        return sessions.latest() if resume is None else sessions.load(resume).session


def model_of(past: Session | None, backend: str, quant: str | None) -> str | None:
    """What wrote the conversation so far, by the name that finds it again.

    Without its build, which is one backend's, where the user wants another quant or backend.
    """
    if past is None:
        return None
    other = quant or backend not in ("auto", past.backend)
    return past.model if other or not catalogue.is_name(past.model) else f"{past.model}:{past.build}"


def conversation(run: Run, past: Session | None, sessions: Sessions | None, running: Engine) -> Conversation:
    """`past` taken further, or a new one; kept in `sessions`, or nowhere if there are none."""
    from localmag.chat import Conversation

    if past and sessions:
        return Conversation.resume(sessions, past.id, running, _setup_of(run), seed=run.seed)
    return Conversation.new(sessions, running, _setup_of(run), system=system_of(run), seed=run.seed)


def prompt_messages(run: Run, past: Session | None, text: str) -> list[Message]:
    """What the engine would be told if `text` were said now. Nothing is loaded, nothing is saved."""
    from localmag.engines.host import engine_for

    with saved(past) as sessions:
        so_far = conversation(run, past, sessions, engine_for(run.spec)).history()
    return [*so_far, Message.of("user", text)]


def saved(past: Session | None) -> AbstractContextManager[Sessions | None]:
    """Where `past` is kept, open; None where there is nothing to go on with."""
    if past is None:
        return nullcontext()
    from localmag.sessions import Sessions

    return Sessions()


def system_of(run: Run) -> Message | None:
    """The system message; [THINK] markers are control tokens in a prompt file only, never in typed text."""
    from localmag.prompt import system_message

    if run.system is None:
        return None
    return system_message(run.system) if run.system_is_template else Message.of("system", run.system)


def _setup_of(run: Run) -> Setup:
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
