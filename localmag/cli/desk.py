"""What is open behind the chat screen: one conversation, its engine, the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
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
    from localmag.engines import EngineSpec
    from localmag.engines.host import HostedEngine
    from localmag.sessions import Session, Sessions

# The conversation, its database and its engine are imported where they are opened: after the first paint.

_LOOK_S = 0.2  # between two looks at how far loading is

_DEMO_GREETING = (
    "Ask the demo for a sum, a product or a small story problem, in English or French: What is 478 + 356? "
    "Then go on: now add 12."
)
_DEMO_INVITATION = "Ask a sum, or a small problem."


@dataclass(frozen=True, slots=True)
class _Running:
    """An engine as it was asked for and as it runs, and the database."""

    asked: EngineSpec
    fits: Run
    engine: HostedEngine
    sessions: Sessions

    def serves(self, run: Run, past: Session | None) -> bool:
        """Whether that is all `past` needs. A kept context is read only by an engine that is starting."""
        from localmag.sessions import contexts

        kept = past is not None and contexts.folder(past.id).is_dir()
        return run.spec == self.asked and self.engine.pid is not None and not kept


class Desk:
    """One conversation at a time; opening another puts the one before away.

    `run` is what the first one is to have, and a new one until another is open.
    """

    def __init__(self, run: Run) -> None:
        self._opening = threading.Lock()  # a thread that was given up may still be opening
        self._things = ExitStack()
        self._running: _Running | None = None
        self._talk: Conversation | None = None
        self._run = run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._things.close()

    def opening(self, run: Run, past: Session | None = None) -> tui.Opening:
        """How the screen opens `past`, or a new conversation. Nothing is opened yet."""
        found = run.installed
        label = tui.Label(found.title, found.build, run.spec.backend, run.spec.context, found.trained)
        said = (_DEMO_GREETING, _DEMO_INVITATION) if found.model == catalogue.DEMO else (tui.GREETING,)
        return tui.Opening(partial(self._open, run, past), label, *said)

    def another(self) -> tui.Opening:
        """How the screen opens a new conversation with what runs the present one."""
        return self.opening(self._run)

    def keep_context(self) -> None:
        """At the end, on the user's own screen: what was read of the conversation is kept."""
        if self._talk:
            keep_context(self._talk, self._run.kept_context)

    def _open(self, run: Run, past: Session | None, report: tui.Report, cancel: Cancel) -> Conversation:
        with self._opening:
            self._put_away(report, cancel)
            self._run = run
            running = self._running
            if running and running.serves(run, past):
                report(tui.Fitted(running.fits.spec.context))
            else:
                running = self._start(run, past, report)
            threading.Thread(target=_watch_loading, args=(running.engine, report), daemon=True).start()
            spec = running.fits.spec
            fits = replace(run, spec=spec, max_tokens=min(run.max_tokens, spec.context))
            self._talk = conversation(fits, past, running.sessions, running.engine)
            return self._talk

    def _put_away(self, report: tui.Report, cancel: Cancel) -> None:
        """Keep what was read of the present conversation."""
        talk, self._talk = self._talk, None
        if talk:
            report(tui.Doing("keeping the context"))
            with suppress(LocalmagError):  # a disk that is full: then it is read again next time
                talk.keep_context(self._run.kept_context, cancel)

    def _start(self, run: Run, past: Session | None, report: tui.Report) -> _Running:
        """An engine of its own, once the one before has ended: it may need the memory of that."""
        from localmag.cli.fitting import fitted
        from localmag.sessions import Sessions

        self._running = None
        self._things.close()
        gave_way = [*filter(None, (what_runs(run), *run.installed.notes))]
        fits = fitted(run, tell=gave_way.append)
        report(tui.Fitted(fits.spec.context, tuple(gave_way)))
        sessions = self._things.enter_context(Sessions())
        running = self._things.enter_context(engine(fits, past))
        self._running = _Running(run.spec, fits, running, sessions)
        return self._running


def earlier() -> tuple[Session, ...]:
    """All conversations on disk, the last one first."""
    from localmag.sessions import Sessions

    with Sessions() as sessions:
        return sessions.list()


def _watch_loading(running: HostedEngine, report: Callable[[Loading], None]) -> None:
    """Report how far loading is before anything has been asked; its failure is the first reply's to say."""
    while running.pid is not None and (fraction := running.loaded) < 1:
        report(Loading(fraction))
        time.sleep(_LOOK_S)
    report(Loading(1.0))
