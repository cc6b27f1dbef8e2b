"""Going on with a conversation: its context read anew, beside read back from disk.

The model is synthetic: the KV cache of Magistral Small (40 layers, 8 KV heads of 128: 160 KiB a token) and
little else, so that what is compared is the worst case: weights so small that reading anew is quick.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from localmag.engines import EngineSpec
from localmag.engines.host import HostedEngine
from localmag.types import Done, Message, Sampling, Text, Turn, Usage
from tools.bench.decode import DEMO

WORDS = 700
SAID = Turn((Message.of("user", "seven " * WORDS),), Sampling(temperature=0), 1)


def rows() -> Iterator[tuple[str, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        spec, kept = made(Path(folder)), Path(folder) / "kept"
        anew, used = answered(spec)
        with closing(HostedEngine(spec)) as engine:
            reply(engine)
            began = time.perf_counter()
            state = engine.keep(kept, after_it(), 10**12, threading.Event())
            took = time.perf_counter() - began
        assert state
        yield (
            f"keeping {state.tokens:,} tokens, {state.bytes / 1e6:.0f} MB",
            f"{took:.2f} s",
            f"{state.bytes / took / 1e6:.0f} MB/s",
            "",
            "",
        )
        back, again = answered(replace(spec, state=kept))
        yield (
            f"first token, {again.cached_tokens:,} of {used.prompt_tokens:,} tokens read back / read anew",
            f"{back:.2f} s",
            f"{anew:.2f} s",
            f"{back / anew:.3f}",
            "< 1",
        )


def made(folder: Path) -> EngineSpec:
    from tools import synthetic_gguf

    weights, tokenizer = folder / "wide.gguf", DEMO / "tekken.json"
    shape = synthetic_gguf.llama(layers=40, width=1024, heads=8, kv_heads=8, ffn=512)
    synthetic_gguf.write(weights, tokenizer, shape, context=8192)
    return EngineSpec("llama.cpp", weights, tokenizer, 8192)


def answered(spec: EngineSpec) -> tuple[float, Usage]:
    """Seconds from a cold start to the first token."""
    began = time.perf_counter()
    with closing(HostedEngine(spec)) as engine:
        usage = reply(engine)
    return time.perf_counter() - began, usage


def reply(engine: HostedEngine) -> Usage:
    *_, done = engine.reply(SAID, threading.Event())
    assert isinstance(done, Done)
    return done.usage


def after_it() -> Turn:
    return replace(SAID, messages=(*SAID.messages, Message("assistant", (Text("So."),))))
