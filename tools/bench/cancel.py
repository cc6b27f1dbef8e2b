"""From the moment a reply is cancelled to its last event, while it reads a long prompt and while it writes.

Measured at the engine's process, on the synthetic model of 100 M parameters, at 20 random moments each; the
median and the worst are shown in milliseconds.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Iterator

from localmag.engines import EngineSpec
from localmag.engines.host import HostedEngine
from localmag.types import Message, Sampling, Turn
from tools.bench.decode import LARGE, synthetic

TRIES = 20


def rows() -> Iterator[tuple[str, ...]]:
    spec = EngineSpec("llama.cpp", synthetic(), LARGE / "tekken.json", context=8192)
    engine = HostedEngine(spec)
    try:
        reply(engine, "Hi", 1, None)  # loads the weights
        yield row("prefill", engine, words=3500, after=(0.1, 1.5))
        yield row("decode", engine, words=3, after=(0.3, 1.0))
    finally:
        engine.close()


def row(what: str, engine: HostedEngine, *, words: int, after: tuple[float, float]) -> tuple[str, ...]:
    rng = random.Random(0)
    took = []
    for n in range(TRIES):
        # Another first word each time, so that no prefix is reused.
        took.append(1000 * reply(engine, f"{n} " + "seven " * words, 4000, rng.uniform(*after)))
    return (
        f"cancel during {what}, {TRIES} times",
        f"median {statistics.median(took):.0f} ms",
        f"worst {max(took):.0f} ms",
        "",
        "≤ 200 ms",
    )


def reply(engine: HostedEngine, text: str, max_tokens: int, after: float | None) -> float:
    """Seconds from the cancel, `after` seconds into the reply, to the reply's end."""
    cancel = threading.Event()
    cancelled = [time.perf_counter()]

    def stop() -> None:
        cancelled[0] = time.perf_counter()
        cancel.set()

    timer = threading.Timer(after or 0, stop)
    if after is not None:
        timer.start()
    turn = Turn((Message.of("user", text),), Sampling(temperature=0), max_tokens)
    for _ in engine.reply(turn, cancel):
        pass
    timer.cancel()
    return time.perf_counter() - cancelled[0]
