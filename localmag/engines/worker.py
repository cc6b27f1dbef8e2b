"""The engine's process: loads, then writes replies, one after the other, until its parent is gone.

Native libraries print to file descriptors 1 and 2 and may end the process whenever they like. So both
descriptors are the log file here, frames travel on a private copy of 1, and nothing of the program but the
engine lives in this process. It ends when its pipe does, however the parent died, native code or not.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, groupby
from typing import NoReturn

from localmag.engines import EngineSpec, TokenModel, state
from localmag.engines.local import LocalEngine
from localmag.engines.state import State
from localmag.engines.vocabulary import require_as_many, require_same
from localmag.engines.wire import Ask, Failed, Frame, Garbled, Halt, Keep, Kept, Loaded, Said, Start, Wire
from localmag.errors import LocalmagError, NotFound, RunFailed, WrongUsage
from localmag.prompt import Codec
from localmag.types import Done, Event, Prefill, TextDelta, ThinkingDelta

_GATHER_S = 0.03  # frames leave at most this often: 30 per second look live, thousands choke a screen
_TEXTS = (TextDelta, ThinkingDelta)


def main() -> NoReturn:
    """Serve the parent over the pipes that are this process's standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the program, which then cancels
    faulthandler.enable()  # a native crash leaves its Python stack in the log
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # else a crash starts a debugger on this process
    threading.excepthook = _thread_failed
    wire = _take_pipes()
    start = wire.receive()
    assert isinstance(start, Start)
    outbox = Outbox(wire)
    inbox = _Inbox(wire)
    try:
        engine = _load(start.spec, outbox)
    except Exception as exc:  # the process's boundary: everything crosses it as a frame
        outbox.put(Failed.of(None, _known(exc, start.spec)))
        outbox.finish()
        os._exit(1)
    outbox.put(Loaded(1.0))
    while True:
        asked, cancel = inbox.asks.get()
        try:
            match asked:
                case Ask(number, turn):
                    for event in engine.reply(turn, cancel):
                        outbox.say(number, event)
                case Keep(number, folder, turn, most):
                    outbox.put(Kept(number, engine.keep(folder, turn, most, cancel)))
        except Exception as exc:  # as above
            outbox.put(Failed.of(asked.number, _known(exc, start.spec)))


def _take_pipes() -> Wire:
    """Keep the pipes for frames; put nothing at 0 and the log, which is 2, at 1."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return Wire(source, sink)


def _thread_failed(failed: threading.ExceptHookArgs) -> NoReturn:
    """Without its threads this process would hang; its end is something the parent sees."""
    traceback.print_exception(failed.exc_type, failed.exc_value, failed.exc_traceback)
    os._exit(1)


def _known(error: Exception, spec: EngineSpec) -> LocalmagError:
    if isinstance(error, LocalmagError):
        return error
    traceback.print_exception(error)
    return RunFailed(
        f"The engine failed in an unexpected way ({type(error).__name__}).",
        f"Its log has the details: {spec.log}." if spec.log else "Try again.",
    )


# ── Loading ───────────────────────────────────────────────────────────────────────────────────────


def _load(spec: EngineSpec, outbox: Outbox) -> LocalEngine:
    began = time.perf_counter()
    outbox.put(Loaded(0.0))
    # Reading the tokenizer is Python, reading weights is native: side by side they take the longer's time.
    codec = ThreadPoolExecutor(1).submit(Codec.load, spec.tokenizer)

    def on_load(fraction: float) -> None:
        if codec.done():
            codec.result()  # a bad tokenizer stops the loading of weights it cannot serve
        outbox.put(Loaded(min(fraction, 0.99)))

    model = _load_model(spec, on_load, codec)
    kept, notices = _load_state(model, spec)
    load_s = time.perf_counter() - began
    return LocalEngine(model, codec.result(), load_s, spec=spec, kept=kept, notices=notices)


def _load_state(model: TokenModel, spec: EngineSpec) -> tuple[State | None, list[str]]:
    """Begin with what was kept of the conversation; where that cannot be used, say why, and without it."""
    if spec.state is None:
        return None, []
    try:
        return state.load(model, spec, spec.state), []
    except NotFound:
        return None, []
    except Exception as exc:  # of whatever reads it: no reason not to load, it can be read again
        model.held.clear()
        return None, [str(_known(exc, spec))]


def _load_model(spec: EngineSpec, on_load: Callable[[float], None], codec: Future[Codec]) -> TokenModel:
    """Each backend is imported only where it runs."""
    match spec.backend:
        case "llama.cpp":
            from localmag.engines.llamacpp import LlamaCpp

            llama = LlamaCpp(spec, on_load)
            require_same(llama.vocabulary(), codec.result(), spec)
            return llama
        case "mlx":
            from localmag.engines.mlx import Mlx

            mlx = Mlx(spec, on_load)
            require_as_many(mlx.vocabulary_size, codec.result(), spec)
            if theirs := mlx.vocabulary():
                require_same(theirs, codec.result(), spec)
            return mlx
        case "scripted":
            from localmag.engines.scripted import Scripted

            return Scripted.load(spec.weights, on_load)
        case other:
            raise WrongUsage(f"The backend {other!r} cannot run here.", "Choose llama.cpp or mlx.")


# ── The two directions ────────────────────────────────────────────────────────────────────────────


class _Inbox:
    """Receives in its own thread: a cancel must arrive, and the pipe's end be seen, during native work."""

    def __init__(self, wire: Wire) -> None:
        self.asks: queue.SimpleQueue[tuple[Ask | Keep, threading.Event]] = queue.SimpleQueue()
        self._wire = wire
        threading.Thread(target=self._receive, name="inbox", daemon=True).start()

    def _receive(self) -> NoReturn:
        current, cancel = 0, threading.Event()
        try:
            while True:
                match self._wire.receive():
                    case (Ask(number) | Keep(number)) as asked:
                        cancel.set()  # whoever asks anew has given up on the reply before
                        current, cancel = number, threading.Event()
                        self.asks.put((asked, cancel))
                    case Halt(number) if number == current:
                        cancel.set()
        except (EOFError, OSError, Garbled):
            os._exit(0)  # the parent is gone; native threads are not asked


class Outbox:
    """Sends from a thread of its own, so that a slow screen never slows the model down.

    A frame leaves at once, unless text left less than `_GATHER_S` before: then it waits until that long has
    passed, and leaves together with what else has come. The last event of a reply never waits.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._waiting: deque[Frame] = deque()
        self._some = threading.Event()
        self._now = threading.Event()
        self._finishing = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def say(self, number: int, event: Event) -> None:
        self.put(Said(number, (event,)))
        if isinstance(event, Done):
            self._now.set()

    def put(self, frame: Frame) -> None:
        self._waiting.append(frame)
        if not self._some.is_set():
            self._some.set()

    def finish(self) -> None:
        """Wait until everything is sent."""
        self._finishing = True
        self._now.set()
        self._some.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._finishing or self._waiting:
                self._some.wait()
                self._some.clear()
                frames = list(gathered(self._taken()))
                for frame in frames:
                    self._wire.send(frame)
                if any(_holds_text(frame) for frame in frames):
                    self._now.wait(_GATHER_S)
                self._now.clear()
        except (OSError, ValueError):
            os._exit(0)  # the parent is gone

    def _taken(self) -> Iterator[Frame]:
        while self._waiting:
            yield self._waiting.popleft()


def _holds_text(frame: Frame) -> bool:
    return isinstance(frame, Said) and not isinstance(frame.events[-1], Prefill | Done)


def gathered(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The same in fewer frames: a reply's events together, deltas joined, of progress only the newest."""
    for (kind, number), run in groupby(frames, lambda frame: (type(frame), getattr(frame, "number", None))):
        if kind is Said and number is not None:
            said = chain.from_iterable(frame.events for frame in run if isinstance(frame, Said))
            yield Said(number, tuple(_joined(said)))
        elif kind is Loaded:
            *_, newest = run
            yield newest
        else:
            yield from run


def _joined(events: Iterable[Event]) -> Iterator[Event]:
    for kind, run in groupby(events, type):
        if issubclass(kind, _TEXTS):
            deltas = [event for event in run if isinstance(event, _TEXTS)]
            yield kind("".join(delta.text for delta in deltas), sum(delta.tokens for delta in deltas))
        else:
            yield from run
