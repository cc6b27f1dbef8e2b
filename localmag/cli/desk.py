"""What is open behind the chat screen: one conversation, its engine, the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from localmag import catalogue, tui
from localmag.cli.options import Run
from localmag.cli.turns import conversation, engine, keep_context, what_runs
from localmag.errors import LocalmagError
from localmag.types import Cancel, Loading

if TYPE_CHECKING:
    from localmag.chat import Conversation
    from localmag.engines.host import HostedEngine
    from localmag.sessions import Session

# The conversation, its database and its engine are imported where they are opened: after the first paint.

_LOOK_S = 0.2  # between two looks at how far loading is

_DEMO_GREETING = (
    "Ask the demo for a sum, a product or a small story problem, in English or French: What is 478 + 356? "
    "Then go on: now add 12."
)


class Desk:
    """One conversation at a time; opening another puts the one before away. Used by one thread at a time."""

    def __init__(self) -> None:
        self._things = ExitStack()
        self._talk: Conversation | None = None
        self._kept_context = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._things.close()

    def opening(self, run: Run, past: Session | None = None) -> tui.Opening:
        """How the screen opens `past`, or a new conversation. Nothing is opened yet."""
        found = run.installed
        return tui.Opening(
            partial(self._open, run, past),
            tui.Label(found.title, found.build, run.spec.backend, run.spec.context),
            _DEMO_GREETING if found.model == catalogue.DEMO else tui.GREETING,
        )

    def keep_context(self) -> None:
        """At the end, on the user's own screen: what was read of the conversation is kept."""
        if self._talk:
            keep_context(self._talk, self._kept_context)

    def _open(self, run: Run, past: Session | None, report: tui.Report, cancel: Cancel) -> Conversation:
        from localmag.cli.fitting import fitted
        from localmag.sessions import Sessions

        self._put_away(report, cancel)
        gave_way = [*filter(None, (what_runs(run), *run.installed.notes))]
        fits = fitted(run, tell=gave_way.append)
        report(tui.Fitted(fits.spec.context, tuple(gave_way)))
        sessions = self._things.enter_context(Sessions())
        running = self._things.enter_context(engine(fits, past))
        threading.Thread(target=_watch_loading, args=(running, report), daemon=True).start()
        self._kept_context = run.kept_context
        self._talk = conversation(fits, past, sessions, running)
        return self._talk

    def _put_away(self, report: tui.Report, cancel: Cancel) -> None:
        """Close what is open, with its engine, whose memory the next one may need."""
        if self._talk:
            report(tui.Doing("keeping the context"))
            with suppress(LocalmagError):  # a disk that is full: then it is read again next time
                self._talk.keep_context(self._kept_context, cancel)
        self._talk = None
        self._things.close()


def _watch_loading(running: HostedEngine, report: Callable[[Loading], None]) -> None:
    """Report how far loading is before anything has been asked; its failure is the first reply's to say."""
    while running.pid is not None and (fraction := running.loaded) < 1:
        report(Loading(fraction))
        time.sleep(_LOOK_S)
    report(Loading(1.0))
