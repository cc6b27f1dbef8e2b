"""How fast a model loads, reads and writes here: through the engine's own process and a chat's whole path.

Rows are named as llama-bench names them: `pp512`, 512 ids of a prompt read; `tg128`, 128 ids written, both
after as many ids as ` @ d4096` says. They cost more here than there, by all that a user waits for too: the
codec, the sampler on the whole vocabulary, the parser, and the pipe between the processes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import psutil

from localmag.engines import EngineSpec
from localmag.engines.host import HostedEngine
from localmag.errors import Cancelled, ContextTooSmall, RunFailed
from localmag.types import Cancel, Done, Event, Loading, Message, Prefill, Sampling, Turn

READ, WRITTEN = 512, 128
"""Ids of a run of each kind; llama-bench's defaults."""
DEPTHS = (0, 4096, 16384, 32768)
"""Ids that the KV cache holds before a run; as many of these as the context has room for."""
RUNS = 5
_FEWEST, _PATIENCE_S = 3, 20.0  # once so many runs have taken so long, they are enough
_MOST_S = 90.0  # of reading what only goes before; and after so long, one run is enough
_SPARE = 64  # ids of the question and of what marks a turn
_SEEDS = 2**32 - 1  # how many there are
_QUESTION = "What is 4781 + 3562? Think it through, step by step."


@dataclass(frozen=True, slots=True)
class Opened:
    """`load_s` runs from starting the engine's process until it can read; `ttft_s`, from a conversation's
    first question, its system prompt included (`prompt_tokens` in all), to the first sign of a reply.
    """

    load_s: float
    ttft_s: float
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Several runs of one kind: `rates` are ids per second, one for each run."""

    kind: Literal["pp", "tg"]
    tokens: int
    depth: int
    rates: tuple[float, ...]

    @property
    def name(self) -> str:
        return f"{self.kind}{self.tokens}" + (f" @ d{self.depth}" if self.depth else "")

    @property
    def median(self) -> float:
        return statistics.median(self.rates)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A depth that was not measured, because reading so many ids first would take `seconds`."""

    depth: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of memory of the engine's process at the end. What lies on a graphics card is not among them."""

    memory: int


Finding = Opened | Speed | LeftOut | Held


def measure(
    spec: EngineSpec,
    cancel: Cancel,
    *,
    sampling: Sampling,
    system: Message | None = None,
    depths: Sequence[int] = (),
    runs: int = RUNS,
    written: int | None = None,
) -> Generator[Finding]:
    """Start the engine, measure, and close it; each finding as soon as it is there.

    Without `depths`, those of DEPTHS for which the context has room, as long as filling it takes no minutes.
    `written` are the ids of a run that writes; else WRITTEN, or fewer in a small context. Prompts and draws
    follow from the seed in `sampling`.

    Raises Cancelled when `cancel` is set, ContextTooSmall for a run or a depth without room, before anything
    is loaded, and what the engine does.
    """
    bench = _Bench(spec, cancel, sampling, runs, written, max(depths, default=0))
    try:
        yield bench.opened(system)
        rate = 0.0
        for depth in depths or [d for d in DEPTHS if d + bench.room <= spec.context]:
            seconds = depth / rate if rate else 0.0
            if seconds > _MOST_S and not depths:
                yield LeftOut(depth, seconds)
                continue
            bench.fill(depth)
            read = bench.speed("pp", depth)
            yield read
            yield bench.speed("tg", depth)
            rate = read.median
        yield bench.held()
    finally:
        bench.close()


class _Bench:
    """One engine, asked over and over. A prompt is digits: each is an id of its own in every Tekken."""

    def __init__(
        self,
        spec: EngineSpec,
        cancel: Cancel,
        sampling: Sampling,
        runs: int,
        written: int | None,
        deepest: int,
    ) -> None:
        self._cancel = cancel
        self._sampling = sampling
        self._runs = runs
        self._asked = 0
        self._random = Random(sampling.seed)  # the same digits on every machine
        self._filling = ""
        read, written = min(READ, spec.context // 2), written or min(WRITTEN, spec.context // 8)
        self._tokens = {"pp": read, "tg": written}
        self.room = max(read, written + _SPARE) + 8
        """Ids that are used besides those of a depth."""
        if self.room > spec.context:
            raise ContextTooSmall(
                f"Writing {written:,} tokens takes a context of {self.room:,}, and this one holds"
                f" {spec.context:,}.",
                "Give a larger context with --ctx, or fewer tokens with --max-tokens.",
            )
        if deepest + self.room > spec.context:
            raise ContextTooSmall(
                f"A depth of {deepest:,} takes a context of {deepest + self.room:,}, and this one holds"
                f" {spec.context:,}.",
                f"Give a larger context with --ctx, or a --depth of {spec.context - self.room} or less.",
            )
        self._began = time.perf_counter()
        self._engine = HostedEngine(spec)

    def opened(self, system: Message | None) -> Opened:
        messages = (*([system] if system else []), Message.of("user", _QUESTION))
        ready = first = 0.0
        self._engine.start()
        for event in self._events(messages, _SPARE // 4):
            now = time.perf_counter()
            if isinstance(event, Done):
                return Opened(ready - self._began, (first or now) - ready, event.usage.prompt_tokens)
            if not isinstance(event, Loading):
                ready = ready or now
                first = first or (0.0 if isinstance(event, Prefill) else now)
        raise AssertionError("a reply ends with Done")

    def fill(self, depth: int) -> None:
        """Read `depth` ids; what is measured next begins with them."""
        self._filling = self._digits(depth)
        if depth:
            self._reply(self._filling, 1)

    def speed(self, kind: Literal["pp", "tg"], depth: int) -> Speed:
        run = self._read if kind == "pp" else self._written
        run()  # once unmeasured: memory is touched, caches and clocks warm up
        rates: list[float] = []
        began = time.monotonic()
        while len(rates) < self._runs:
            rates.append(run())
            spent = time.monotonic() - began
            if spent > _MOST_S or (spent > _PATIENCE_S and len(rates) >= _FEWEST):
                break
        return Speed(kind, self._tokens[kind], depth, tuple(rates))

    def _read(self) -> float:
        """Ids per second of reading what the KV cache does not hold yet."""
        # The first digit after the filling is another one each time, or the cache would hold more of it.
        new = str(self._asked % 10) + self._digits(self._tokens["pp"] - 2)
        done = self._reply(self._filling + new, 1)
        return (done.usage.prompt_tokens - done.usage.cached_tokens) / done.timing.prefill_s

    def _written(self) -> float:
        """Ids per second of writing, over as many replies as it takes: the model may end one early."""
        wanted, drawn, seconds = self._tokens["tg"], 0, 0.0
        for _ in range(wanted):
            timing = self._reply(f"{self._filling}\n\n{_QUESTION}", wanted - drawn + 1).timing
            drawn += round(timing.decode_tps * timing.decode_s)
            seconds += timing.decode_s
            if drawn >= wanted:
                break
        if not drawn:
            raise RunFailed("The model ends every reply at once.", "Measure another model or build.")
        return drawn / seconds

    def _reply(self, text: str, most: int) -> Done:
        for event in self._events((Message.of("user", text),), most):
            if isinstance(event, Done):
                return event
        raise AssertionError("a reply ends with Done")

    def _events(self, messages: tuple[Message, ...], most: int) -> Iterator[Event]:
        """Of a reply of at most so many ids. Raises Cancelled."""
        self._asked += 1
        seed = (self._sampling.seed + self._asked) % _SEEDS
        turn = Turn(messages, replace(self._sampling, seed=seed), most)
        for event in self._engine.reply(turn, self._cancel):
            if self._cancel.is_set():
                raise Cancelled("The bench was stopped.", "What is above was measured before.")
            yield event

    def _digits(self, count: int) -> str:
        return "".join(self._random.choices("0123456789", k=count))

    def held(self) -> Held:
        assert self._engine.pid is not None
        return Held(psutil.Process(self._engine.pid).memory_info().rss)

    def close(self) -> None:
        self._engine.close()
