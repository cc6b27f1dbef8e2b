"""One pull in a thread of its own, and its state, at which the screen looks whenever it draws.

The hub's client is imported in that thread: it takes a third of a second, and only who pulls needs it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmag.catalogue import Build, Model
from localmag.errors import LocalmagError, RunFailed
from localmag.tui.getting.progress import FileProgress, Progress

if TYPE_CHECKING:
    from localmag.store.pull import Plan

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asking:
    """The hub is being asked what there is; `note` is what it answers meanwhile."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """The hub has said what there is, and the user may now say yes."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Going:
    progress: Progress
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """By the user; what had arrived is kept."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Failed:
    """`progress` is None if it failed before anything was fetched."""

    error: LocalmagError
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """All of it is here and verified. `notes` are sentences that the user should read."""

    notes: tuple[str, ...] = ()


State = Asking | Ready | Going | Stopped | Failed | Finished


class Pull:
    """The pull of one build: `ask`, then `fetch` if the user agrees. All but `close` return at once."""

    def __init__(self, model: Model, build: Build) -> None:
        self.model, self.build = model, build
        self.state: State = Asking()
        """Replaced as a whole, by the thread or by `stop`; each is frozen, so that any may be drawn."""
        self._agreed: Plan | None = None
        self._thread: threading.Thread | None = None
        self._cancel = threading.Event()

    @property
    def title(self) -> str:
        return f"{self.model.title} {self.build.quant}"

    @property
    def active(self) -> bool:
        """Whether bytes are being fetched or checked."""
        return isinstance(self.state, Going)

    def ask(self) -> None:
        """Ask the hub what there is and what of it is here; becomes Ready, Finished or Failed."""
        self.state = Asking()
        self._run(self._ask)

    def fetch(self, plan: Plan) -> None:
        """Do what the user agreed to: becomes Going, and then Finished, Stopped or Failed."""
        self._agreed = plan
        waiting = tuple(FileProgress(f.path, f.size, f.here, "waiting") for f in plan.files)
        self.state = Going(Progress(waiting))
        self._run(lambda cancel: self._fetch(plan, cancel))

    def again(self) -> None:
        """Ask again, and go on at once if the user has agreed to these very files already."""
        self.state = Asking()
        self._run(self._ask_again)

    def stop(self) -> None:
        """Stop fetching, and keep what has arrived. A question to the hub is left unanswered."""
        self._cancel.set()
        if isinstance(self.state, Going):
            self.state = Going(self.state.progress, stopping=True)

    def close(self, timeout: float) -> None:
        """Stop, and wait so many seconds at most for the thread's end."""
        self.stop()
        if self._thread:
            self._thread.join(timeout)

    def _run(self, work: Callable[[threading.Event], State]) -> None:
        self._cancel = cancel = threading.Event()
        before = self._thread

        def run() -> None:
            if before:
                before.join()  # it holds the file's lock until it has noticed that it was stopped
            state = _carefully(work, cancel)
            if self._cancel is cancel:
                self.state = state

        self._thread = threading.Thread(target=run, name="localmag-pull", daemon=True)
        self._thread.start()

    def _ask(self, cancel: threading.Event) -> State:
        from localmag.store import pull as store

        def tell(note: str) -> None:
            if self._cancel is cancel:
                self.state = Asking(note)

        plan = store.plan(self.model, self.build, tell)
        return Finished() if plan.done else Ready(plan)

    def _ask_again(self, cancel: threading.Event) -> State:
        state = self._ask(cancel)
        if isinstance(state, Ready) and _same(state.plan, self._agreed) and not cancel.is_set():
            return self._fetch(state.plan, cancel)
        return state

    def _fetch(self, plan: Plan, cancel: threading.Event) -> State:
        from localmag.store import pull as store
        from localmag.tui.getting.tally import Tally

        tally = Tally(plan)
        self.state = Going(tally.progress())
        steps = store.fetch(plan)
        try:
            for step in steps:
                tally.take(step)
                if cancel.is_set():
                    return Stopped(tally.progress())
                self.state = Going(tally.progress())
            return Finished(tuple(f"{line}." for line in store.contradictions(plan)))
        except LocalmagError as exc:
            return Failed(exc, tally.progress())
        finally:
            steps.close()  # type: ignore[attr-defined]  # a generator: it lets go of the file and its lock


def _same(plan: Plan, agreed: Plan | None) -> bool:
    return agreed is not None and [f.remote for f in plan.files] == [f.remote for f in agreed.files]


def _carefully(work: Callable[[threading.Event], State], cancel: threading.Event) -> State:
    try:
        return work(cancel)
    except LocalmagError as exc:
        return Failed(exc)
    except Exception as exc:  # the thread's boundary: the screen must say it, not wait for ever
        _log.error("a pull failed", exc_info=exc)
        what = f"localmag itself failed: {type(exc).__name__}: {exc}."
        return Failed(RunFailed(what, "What had arrived is kept; try again, and please report this."))
