"""What every engine does in its process, with codec and parser: llama.cpp, MLX and scripted, unchanged.

What a TokenModel does by itself is in test_token_models.py, and what the process adds in test_host.py.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from localmag.engines import EngineSpec
from localmag.engines.host import HostedEngine
from localmag.errors import BadFile, ContextTooSmall, EngineDied, NotFound
from localmag.prompt import Codec
from localmag.stream import fold
from localmag.types import (
    Done,
    Event,
    Loading,
    Message,
    Part,
    Prefill,
    Sampling,
    Stop,
    TextDelta,
    ThinkingDelta,
    Turn,
)
from tests.conftest import Demo
from tests.engines.conftest import mlx_runs
from tests.engines.hosting import ASKED, LONG, Hosted, asking, posix, spell
from tests.tekken import tekken, write

NEVER = threading.Event()
SUM = asking("What is 47 + 85?")
LENGTHY = asking("seven " * 1_500, most=10_000)
"""Seconds to read for a model that is slow."""

real = [pytest.param("llama.cpp"), pytest.param("mlx", marks=mlx_runs)]
Sized = Callable[..., EngineSpec]


@pytest.fixture(scope="module", params=["scripted", *real])
def sized(request: pytest.FixtureRequest, demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Sized:
    """The demo with a context of so many tokens; scripted, it gives one answer to everything."""

    def make(context: int = 512) -> EngineSpec:
        if request.param != "scripted":
            name = {"llama.cpp": "demo_f16", "mlx": "demo_bf16"}[request.param]
            return replace(request.getfixturevalue(name), context=context)
        control = Codec.load(demo.tokenizer).control
        assert control.think_open
        assert control.think_close
        ids = [control.think_open, *spell("7 + 5 = 12"), control.think_close, *spell("It is **132**.")]
        script = tmp_path_factory.mktemp("script") / "script.json"
        script.write_text(json.dumps({"replies": [ids], "context": context}), "utf-8")
        return EngineSpec("scripted", script, demo.tokenizer, context)

    return make


@pytest.fixture(scope="module")
def engine(sized: Sized) -> Iterator[HostedEngine]:
    """Shared, because each takes a second or two to start."""
    with closing(HostedEngine(sized())) as engine:
        yield engine


@pytest.fixture(params=real)
def spec(request: pytest.FixtureRequest) -> EngineSpec:
    """The demo, for what needs weights."""
    found: EngineSpec = request.getfixturevalue({"llama.cpp": "demo_f16", "mlx": "demo_bf16"}[request.param])
    return found


@pytest.fixture(scope="session")
def slow_mlx(tmp_path_factory: pytest.TempPathFactory, slow: EngineSpec) -> EngineSpec:
    from tools import mlx_build

    folder = mlx_build.write(slow.weights, tmp_path_factory.mktemp("slow-mlx"))
    return replace(slow, backend="mlx", weights=folder)


@pytest.fixture(params=["scripted", *real])
def slow_engine(
    request: pytest.FixtureRequest, tokenizer: Path, tmp_path: Path, hosted: Hosted
) -> HostedEngine:
    """Seconds to read LENGTHY, and to write what ASKED asks for."""
    if request.param != "scripted":
        return hosted(request.getfixturevalue({"llama.cpp": "slow", "mlx": "slow_mlx"}[request.param]))
    script = tmp_path / "script.json"
    told = {"replies": [LONG], "context": 8192, "chunk_s": 0.1, "id_s": 0.01}
    script.write_text(json.dumps(told), "utf-8")
    return hosted(EngineSpec("scripted", script, tokenizer, 8192))


def ends(events: list[Event]) -> Done:
    assert isinstance(events[-1], Done)
    return events[-1]


def is_written(event: Event) -> bool:
    return not isinstance(event, Loading | Prefill | Done)


# ── Replies ───────────────────────────────────────────────────────────────────────────────────────


def test_it_loads_reads_thinks_and_answers(hosted: Hosted, sized: Sized) -> None:
    events = list(hosted(sized()).reply(SUM, NEVER))
    kinds = [type(event) for event in events]
    order = [kinds.index(kind) for kind in (Loading, Prefill, ThinkingDelta, TextDelta, Done)]
    assert order == sorted(order)
    assert "**132**" in Message("assistant", fold(events[:-1])).text
    done = ends(events)
    assert done.stop is Stop.END
    assert done.usage.cached_tokens == 0
    assert done.usage.reasoning_tokens > 5
    assert done.usage.answer_tokens > 5


def test_a_follow_up_reads_what_is_new(engine: HostedEngine) -> None:
    first = list(engine.reply(SUM, NEVER))
    answer = Message("assistant", fold(first[:-1])).text
    events = list(engine.reply(asking("What is 47 + 85?", answer, "And 3 + 4?"), NEVER))
    usage = ends(events).usage
    assert usage.cached_tokens >= ends(first).usage.prompt_tokens - 1
    assert usage.prompt_tokens > usage.cached_tokens
    progress = [event for event in events if isinstance(event, Prefill)]
    assert progress[0] == Prefill(usage.cached_tokens, usage.prompt_tokens)
    assert progress[-1] == Prefill(usage.prompt_tokens, usage.prompt_tokens)


def test_a_seed_gives_its_reply_in_every_process(engine: HostedEngine, hosted: Hosted, sized: Sized) -> None:
    def told(engine: HostedEngine, seed: int) -> tuple[Part, ...]:
        return fold(engine.reply(asking("Hello!", sampling=Sampling(4.0, 1, seed), most=20), NEVER))

    several = {seed: told(engine, seed) for seed in range(4)}
    assert told(hosted(sized()), 2) == told(engine, 2) == several[2]
    assert len(set(several.values())) > 1 or sized().backend == "scripted"  # whose script is its only reply


def test_max_tokens_are_the_most(engine: HostedEngine) -> None:
    done = ends(list(engine.reply(replace(SUM, max_tokens=7), NEVER)))
    assert done.stop is Stop.LENGTH
    assert done.usage.reasoning_tokens + done.usage.answer_tokens == 7


def test_a_full_context_is_a_length(hosted: Hosted, sized: Sized) -> None:
    done = ends(list(hosted(sized(32)).reply(SUM, NEVER)))
    assert done.stop is Stop.LENGTH
    assert done.usage.context == 32


def test_a_prompt_beyond_the_context_is_refused_and_the_next_is_answered(engine: HostedEngine) -> None:
    with pytest.raises(ContextTooSmall, match="512"):
        list(engine.reply(asking("word " * 1_000), NEVER))
    assert ends(list(engine.reply(SUM, NEVER))).stop is Stop.END


# ── Cancelling, and dying ─────────────────────────────────────────────────────────────────────────


def test_cancelled_in_prefill_and_in_decode_it_goes_on_to_the_next(slow_engine: HostedEngine) -> None:
    def cancelled(turn: Turn, at: Callable[[Event], bool]) -> list[Event]:
        cancel, events = threading.Event(), list[Event]()
        for event in slow_engine.reply(turn, cancel):
            events.append(event)
            if at(event):
                cancel.set()
        return events

    events = cancelled(LENGTHY, lambda event: isinstance(event, Prefill))
    assert ends(events).stop is Stop.CANCELLED
    assert not any(is_written(event) for event in events)
    events = cancelled(ASKED, is_written)
    assert ends(events).stop is Stop.CANCELLED
    assert any(is_written(event) for event in events)
    assert ends(list(slow_engine.reply(replace(ASKED, max_tokens=3), NEVER))).stop is Stop.LENGTH


@posix
def test_killed_while_loading_reading_and_writing_it_starts_anew(slow_engine: HostedEngine) -> None:
    pids: set[int] = set()

    def killed(turn: Turn, at: Callable[[Event], bool]) -> None:
        for event in slow_engine.reply(turn, NEVER):
            pid = slow_engine.pid
            if at(event) and pid and pid not in pids:  # more may be on the way from one that is gone
                pids.add(pid)
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(EngineDied, match=r"while loading .*SIGKILL"):
        killed(ASKED, lambda event: isinstance(event, Loading))
    with pytest.raises(EngineDied, match=r"unexpectedly .*SIGKILL"):
        killed(LENGTHY, lambda event: isinstance(event, Prefill))
    with pytest.raises(EngineDied, match=r"unexpectedly .*SIGKILL"):
        killed(ASKED, is_written)
    done = ends(list(slow_engine.reply(replace(ASKED, max_tokens=3), NEVER)))
    assert done.stop is Stop.LENGTH
    assert done.usage.cached_tokens == 0
    assert slow_engine.pid not in pids
    assert len(pids) == 3


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────


def test_weights_that_are_not_there(hosted: Hosted, spec: EngineSpec, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(hosted(replace(spec, weights=tmp_path / "absent")).reply(SUM, NEVER))


def test_another_models_tokenizer(hosted: Hosted, spec: EngineSpec, tmp_path: Path) -> None:
    other = write(tekken("v13", ranks=2_000), tmp_path)
    with pytest.raises(BadFile, match="was not made for"):
        list(hosted(replace(spec, tokenizer=other)).reply(SUM, NEVER))
