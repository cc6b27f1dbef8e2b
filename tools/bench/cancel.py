"""From the moment a reply is cancelled to its last event, while it reads a long prompt and while it writes.

Measured at the engine's process, on the synthetic model of 100 M parameters, at 20 random moments each; the
median and the worst are shown in milliseconds. For MLX the model is of 8 bits, which on a CPU are read at ten
ids per second: as slowly as a model of 24 billion parameters on a machine that is barely up to it.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing

from localmag.engines import EngineSpec
from localmag.engines.host import HostedEngine
from localmag.engines.select import host
from localmag.types import Done, Event, Loading, Message, Prefill, Sampling, Stop, Turn
from tools.bench.decode import LARGE, synthetic, synthetic_mlx

TRIES = 20


def rows() -> Iterator[tuple[str, ...]]:
    specs = [EngineSpec("llama.cpp", synthetic(), LARGE / "tekken.json", context=8192)]
    if "mlx" in host().able():
        specs.append(EngineSpec("mlx", synthetic_mlx(), LARGE / "tekken.json", context=8192))
    for spec in specs:
        with closing(HostedEngine(spec)) as engine:
            reply(engine, "Hi", 1, None)  # loads the weights
            yield row(engine, f"prefill, {spec.backend}", words=3500, reading=True)
            yield row(engine, f"decode, {spec.backend}", words=3, reading=False)


def row(engine: HostedEngine, what: str, *, words: int, reading: bool) -> tuple[str, ...]:
    rng = random.Random(0)
    took = []
    for n in range(TRIES):
        # Another first word each time, so that no prefix is reused.
        text = f"{n} " + "seven " * words
        took.append(1000 * reply(engine, text, 4000, rng.uniform(0.1, 1.0), reading))
    return (
        f"cancel during {what}, {TRIES} times",
        f"median {statistics.median(took):.0f} ms",
        f"worst {max(took):.0f} ms",
        "",
        "≤ 200 ms",
    )


def reply(
    engine: HostedEngine, text: str, max_tokens: int, after: float | None, reading: bool = True
) -> float:
    """Seconds from the cancel to the reply's end. It comes after so many of reading, or else of writing."""
    cancel = threading.Event()
    cancelled = time.perf_counter()

    def stop() -> None:
        nonlocal cancelled
        cancelled = time.perf_counter()
        cancel.set()

    timer = None
    turn = Turn((Message.of("user", text),), Sampling(temperature=0), max_tokens)
    event: Event | None = None
    for event in engine.reply(turn, cancel):
        under_way = not isinstance(event, Loading) and isinstance(event, Prefill) == reading
        if after is not None and under_way and timer is None:
            timer = threading.Timer(after, stop)
            timer.start()
    took = time.perf_counter() - cancelled
    if timer and not (isinstance(event, Done) and event.stop is Stop.CANCELLED):
        raise RuntimeError(f"The reply had ended before it could be cancelled: {event}")
    return took
