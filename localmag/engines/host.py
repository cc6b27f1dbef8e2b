"""An Engine in a process of its own: native code may crash there without taking the conversation along.

The child is `engines/worker.py`, started by itself rather than forked or spawned by multiprocessing: it
must not import the program that started it, and forking a process with threads and a screen is unsafe.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import localmag
from localmag import paths
from localmag.engines import EngineSpec, lastwords
from localmag.engines.state import State, clear_up
from localmag.engines.wire import Ask, Failed, Frame, Garbled, Halt, Keep, Kept, Loaded, Said, Start, Wire
from localmag.errors import EngineDied, LocalmagError, RunFailed, WrongUsage
from localmag.types import Cancel, Done, Event, Loading, Stop, Timing, Turn, Usage

_POLL_S = 0.03  # how often `cancel` is looked at while nothing arrives
_PATIENCE_S = 10.0  # from a cancel to the end of a reply; a child that takes longer hangs
_KEEP_S = 60.0  # that keeping a context may take: 6 GB on a slow hard disk
_LOGS_KEPT = 10

# The child finds this very package, and nothing in the working directory (-P): a stray `random.py` there
# would run otherwise.
_CODE = "import sys; sys.path.insert(0, sys.argv.pop()); from localmag.engines.worker import main; main()"


def engine_for(spec: EngineSpec) -> HostedEngine:
    """The engine that runs `spec`, not started yet."""
    return HostedEngine(spec)


class HostedEngine:
    """Runs `spec` in a child process, started by `start` or by the first reply, and again after it died.

    `reply` may be called from any thread, `start` and `close` from any other. A new reply ends the one
    before. The child's output and llama.cpp's log go to `spec.log`, or else to a new file in `paths.logs()`,
    or nowhere if none can be written there.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._numbers = count(1)
        self._lock = threading.Lock()  # over the two below
        self._child: _Child | None = None
        self._closed = False

    def start(self) -> None:
        """Begin loading in the background, if that has not begun. Failures come out of the next reply."""
        self._running()

    def reply(self, turn: Turn, cancel: Cancel) -> Iterator[Event]:
        """See Engine. Yields `Loading` until the weights are in memory.

        Raises what the engine raised; EngineDied, after the events that had arrived, if its process ended,
        and DoesNotFit if that was for want of memory.
        """
        child = self._running()
        number = next(self._numbers)
        with child.asked(Ask(number, turn)) as frames:
            yield from _events(child, number, frames, cancel)

    def keep(self, folder: Path, turn: Turn, most: int, cancel: Cancel) -> State | None:
        """See Engine. None also where no child runs; a `cancel` ends the child.

        Raises what the child raised; EngineDied if its process ended; RunFailed, and ends it, if it takes
        longer than `_KEEP_S`.
        """
        child = self._child
        if child is None or child.has_ended() or child.fraction < 1:
            return None
        answer: Frame | None = None
        try:
            answer = _answer(child, Keep(next(self._numbers), folder, turn, most), cancel)
        finally:
            if answer is None:  # also after a second Ctrl+C
                child.close()
                clear_up(folder, child.pid)
        match answer:
            case Kept(state=state):
                return state
            case Failed() as failed:
                raise failed.error()
        return None

    @property
    def loaded(self) -> float:
        """How much of the weights is in memory, 0 to 1; 0 while no child runs."""
        child = self._child
        return child.fraction if child and not child.has_ended() else 0.0

    @property
    def pid(self) -> int | None:
        """The child's process id while one runs."""
        child = self._child
        return child.pid if child and not child.has_ended() else None

    @property
    def log(self) -> Path | None:
        """Where the child writes its log, once started; None for nowhere."""
        return self._child.log if self._child else self._spec.log

    def close(self) -> None:
        """End the child; a reply under way ends as cancelled. Safe to call twice."""
        with self._lock:
            self._closed = True
            child = self._child
        if child:
            child.close()

    def _running(self) -> _Child:
        with self._lock:
            if self._closed:
                raise RunFailed("The engine is closed.", "Start localmag again.")
            child = self._child
            if child is None or (child.failure is None and child.has_ended()):
                spec = self._spec
                if child and child.fraction < 1:  # perhaps for what it was to begin with
                    spec = replace(spec, state=None)
                child = self._child = _Child(spec)
            return child


def _answer(child: _Child, keep: Keep, cancel: Cancel) -> Frame | None:
    """None where it was cancelled."""
    until = time.monotonic() + _KEEP_S
    with child.asked(keep) as frames:
        while not cancel.is_set():
            with suppress(queue.Empty):
                if answer := frames.get(timeout=_POLL_S):
                    return answer
                raise EngineDied(
                    f"The context was not kept: the engine's process ended ({_how(child.process.poll())}).",
                    _NOT_KEPT,
                )
            if time.monotonic() > until:
                raise RunFailed(
                    f"The context was not kept: that took longer than {_KEEP_S:.0f} seconds.",
                    "Nothing is lost; with a smaller `kept_context_gb` in config.toml it is not tried again.",
                )
    return None


_NOT_KEPT = "Nothing is lost: the conversation is read again when it goes on."


def _events(
    child: _Child, number: int, frames: queue.SimpleQueue[Frame | None], cancel: Cancel
) -> Iterator[Event]:
    if child.fraction < 1:
        yield Loading(child.fraction)
    patience: float | None = None
    while True:
        if cancel.is_set():
            if child.fraction < 1:  # it goes on loading, for the next question
                yield _CANCELLED
                return
            if patience is None:
                child.send(Halt(number))
                patience = time.monotonic() + _PATIENCE_S
            elif time.monotonic() > patience:
                child.kill()
                yield _CANCELLED
                return
        try:
            frame = frames.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        match frame:
            case Loaded():
                yield Loading(frame.fraction)
            case Said(events=events):
                yield from events
                if isinstance(events[-1], Done):
                    return
            case Failed():
                child.failure = None
                raise frame.error()
            case None:
                if not child.closing:
                    raise child.death()
                yield _CANCELLED
                return


_CANCELLED = Done(Stop.CANCELLED, Usage(), Timing())  # of a reply of which nothing is known


class _Child:
    """One child process, from its start to its end."""

    def __init__(self, spec: EngineSpec) -> None:
        self.weights = spec.name
        self.log = spec.log or _new_log()
        self._log_start = lastwords.size(self.log)
        self.fraction = 0.0
        """How much is loaded; 1 when replies can begin."""
        self.failure: Failed | None = None
        """Why loading failed, until a reply has said so."""
        self.closing = False
        self._lock = threading.Lock()  # over the two below
        self._ended = False
        self._mailboxes: dict[int, queue.SimpleQueue[Frame | None]] = {}
        self.process = _spawn(self.log)
        self.pid = self.process.pid  # until it says its own
        assert self.process.stdin and self.process.stdout
        self._wire = Wire(self.process.stdout, self.process.stdin)
        self._outgoing: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        threading.Thread(target=self._receive, name="engine-events", daemon=True).start()
        threading.Thread(target=self._send, name="engine-asks", daemon=True).start()
        self.send(Start(replace(spec, log=self.log)))

    @contextmanager
    def asked(self, ask: Ask | Keep) -> Iterator[queue.SimpleQueue[Frame | None]]:
        """Ask, and receive its frames inside the block; None says that the process has ended."""
        frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        with self._lock:
            self._mailboxes[ask.number] = frames
            if self._ended:
                frames.put(self.failure)
        self.send(ask)
        try:
            yield frames
        finally:  # also where the caller lost interest halfway
            with self._lock:
                del self._mailboxes[ask.number]
            self.send(Halt(ask.number))

    def send(self, frame: Frame) -> None:
        """Returns at once: a child that hangs reads nothing, and a long turn fills the pipe."""
        self._outgoing.put(frame)

    def _send(self) -> None:
        with suppress(OSError, ValueError):  # it has ended, and its mailboxes will say so
            while (frame := self._outgoing.get()) is not None:
                self._wire.send(frame)

    def has_ended(self) -> bool:
        """Whether it is no use any more; what it said before may not have been received yet."""
        return self._ended or self.process.poll() is not None

    def kill(self) -> None:
        self._ended = True
        self.process.kill()

    def death(self) -> LocalmagError:
        if lastwords.died_of_memory(self.process.poll(), lastwords.tail(self.log, self._log_start)):
            what = f"while loading {self.weights}" if self.fraction < 1 else "while replying"
            return lastwords.out_of_memory(what, self.log)
        how = _how(self.process.poll())
        log = f"; its log may say more: {self.log}" if self.log else ""
        if self.fraction < 1:
            return EngineDied(
                f"The engine's process ended while loading {self.weights} ({how}).",
                f"The file may be damaged or memory too small{log}.",
            )
        return EngineDied(
            f"The engine's process ended unexpectedly ({how}).",
            f"Send the message again and it starts anew{log}.",
        )

    def close(self) -> None:
        """End it at once: it holds nothing that is not on disk, and its memory goes with it."""
        self.closing = True
        self.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=2)

    def _receive(self) -> None:
        try:
            while True:
                self._deliver(self._wire.receive())
        except (EOFError, OSError, ValueError, Garbled):
            self._bury()

    def _deliver(self, frame: Frame) -> None:
        with self._lock:
            match frame:
                case Said(number) | Kept(number) | Failed(int(number)):
                    if number in self._mailboxes:  # else it was abandoned
                        self._mailboxes[number].put(frame)
                    return
                case Loaded():
                    self.fraction, self.pid = frame.fraction, frame.pid
                case Failed():
                    self.failure, self._ended = frame, True
            for frames in self._mailboxes.values():
                frames.put(frame)

    def _bury(self) -> None:
        self._ended = True
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:  # its pipe is closed or garbled, but it lives
            self.process.kill()
            self.process.wait()
        self._outgoing.put(None)
        self._wire.close()
        with self._lock:
            for frames in self._mailboxes.values():
                frames.put(None)


def _spawn(log: Path | None) -> subprocess.Popen[bytes]:
    home = str(Path(localmag.__file__).parent.parent)
    # Its own session or console: Ctrl+C in the terminal is meant for the program alone. No
    # PR_SET_PDEATHSIG: Linux sends that when the starting *thread* ends; the pipe's end is enough.
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NO_WINDOW}
    try:
        with Path(log or os.devnull).open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-P", "-X", "utf8", "-c", _CODE, home],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                **apart,
            )
    except OSError as exc:
        raise RunFailed(
            f"The engine's process cannot be started ({exc}).", "Free some memory and try again."
        ) from exc


def _new_log() -> Path | None:
    """A new log file; of the old ones the newest few are kept. None where none can be written."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    with suppress(WrongUsage, OSError):  # a disk may be full or read-only: no reason not to answer
        log = paths.logs() / f"engine-{stamp}-{os.getpid()}-{next(_LOG_NUMBERS)}.log"
        log.touch()
        for old in sorted(log.parent.glob("engine-*.log"))[:-_LOGS_KEPT]:
            with suppress(OSError):  # Windows holds on to the log of a running engine
                old.unlink()
        return log
    return None


_LOG_NUMBERS = count(1)


def _how(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "it does not answer"
    if code >= 0:
        return f"exit code {code:#x}" if code > 255 else f"exit code {code}"  # Windows' are status words
    with suppress(ValueError):  # not every signal has a name
        name = signal.Signals(-code).name
        return f"{name}, perhaps because memory ran out" if name == "SIGKILL" else name
    return f"signal {-code}"
