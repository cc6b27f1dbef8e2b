"""Both engines on the demo model, each in its own process, or beside each other: the same replies."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

from localmag.engines import EngineSpec
from localmag.engines.local import LocalEngine
from localmag.errors import BadFile, ContextTooSmall, EngineDied, NotFound
from localmag.prompt import Codec
from localmag.stream import fold
from localmag.types import (
    Done,
    Event,
    Loading,
    Message,
    Prefill,
    Sampling,
    Stop,
    TextDelta,
    ThinkingClosed,
    ThinkingDelta,
    Timing,
    Turn,
)
from tests.conftest import Demo
from tests.engines.conftest import mlx_runs
from tests.engines.hosting import Hosted
from tests.tekken import tekken, write

CONTEXT = 512
GREEDY = Sampling(temperature=0)
NEVER = threading.Event()


@pytest.fixture(scope="session")
def demo_f16(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> EngineSpec:
    """The demo's numbers in halves, by llama.cpp's own quantizer."""
    import llama_cpp.llama_cpp as native

    weights = tmp_path_factory.mktemp("f16") / "demo-F16.gguf"
    params = native.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread = native.LLAMA_FTYPE_MOSTLY_F16, True, 1
    assert native.llama_model_quantize(str(demo.weights).encode(), str(weights).encode(), params) == 0
    return EngineSpec("llama.cpp", weights, demo.tokenizer, CONTEXT, threads=1)


@pytest.fixture(scope="session")
def demo_bf16(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> EngineSpec:
    from tools import mlx_build

    folder = mlx_build.write(demo.weights, tmp_path_factory.mktemp("bf16"))
    return EngineSpec("mlx", folder, demo.tokenizer, CONTEXT)


@pytest.fixture(params=["llama.cpp", pytest.param("mlx", marks=mlx_runs)])
def spec(request: pytest.FixtureRequest) -> EngineSpec:
    name = {"llama.cpp": "demo_f16", "mlx": "demo_bf16"}[request.param]
    found: EngineSpec = request.getfixturevalue(name)
    return found


def asking(*texts: str, sampling: Sampling = GREEDY, most: int = 400) -> Turn:
    """A question, and what else was said before it: user and assistant in turn."""
    roles = ("user", "assistant")
    said = [Message.of(roles[place % 2], text) for place, text in enumerate(texts)]  # type: ignore[arg-type]
    return Turn(tuple(said), sampling, most)


SUM = asking("What is 47 + 85?")


def ends(events: list[Event]) -> Done:
    assert isinstance(events[-1], Done)
    return events[-1]


# ── In a process of its own ───────────────────────────────────────────────────────────────────────


def test_it_loads_reads_thinks_and_answers(hosted: Hosted, spec: EngineSpec) -> None:
    events = list(hosted(spec).reply(SUM, NEVER))
    kinds = [type(event) for event in events]
    order = [kinds.index(kind) for kind in (Loading, Prefill, ThinkingDelta, TextDelta, Done)]
    assert order == sorted(order)
    assert "**132**" in Message("assistant", fold(events[:-1])).text
    done = ends(events)
    assert done.stop is Stop.END
    assert done.usage.cached_tokens == 0
    assert done.usage.reasoning_tokens > 5
    assert done.usage.answer_tokens > 5


def test_a_follow_up_reads_what_is_new(hosted: Hosted, spec: EngineSpec) -> None:
    engine = hosted(spec)
    first = list(engine.reply(SUM, NEVER))
    answer = Message("assistant", fold(first[:-1])).text
    usage = ends(list(engine.reply(asking("What is 47 + 85?", answer, "And 3 + 4?"), NEVER))).usage
    assert usage.cached_tokens >= ends(first).usage.prompt_tokens - 1
    assert usage.prompt_tokens > usage.cached_tokens


def test_seeds_are_kept_to(hosted: Hosted, spec: EngineSpec) -> None:
    engine = hosted(spec)
    seeds = (1, 1, 2, 3, 4)
    told = [
        fold(engine.reply(asking("Hello!", sampling=Sampling(4.0, 1, seed), most=20), NEVER))
        for seed in seeds
    ]
    assert told[0] == told[1]
    assert len(set(told)) > 1


def test_max_tokens_are_the_most(hosted: Hosted, spec: EngineSpec) -> None:
    done = ends(list(hosted(spec).reply(replace(SUM, max_tokens=7), NEVER)))
    assert done.stop is Stop.LENGTH
    assert done.usage.reasoning_tokens + done.usage.answer_tokens == 7


def test_a_full_context_is_a_length(hosted: Hosted, spec: EngineSpec) -> None:
    done = ends(list(hosted(replace(spec, context=32)).reply(SUM, NEVER)))
    assert done.stop is Stop.LENGTH
    assert done.usage.context == 32


def test_a_prompt_beyond_the_context_is_refused_and_the_next_is_answered(
    hosted: Hosted, spec: EngineSpec
) -> None:
    engine = hosted(spec)
    with pytest.raises(ContextTooSmall):
        list(engine.reply(asking("word " * 1_000), NEVER))
    assert ends(list(engine.reply(SUM, NEVER))).stop is Stop.END


@pytest.mark.parametrize("at", [Prefill, TextDelta])
def test_a_cancel_ends_it_and_the_next_is_answered(hosted: Hosted, spec: EngineSpec, at: type) -> None:
    engine, cancel, events = hosted(spec), threading.Event(), []
    for event in engine.reply(SUM, cancel):
        events.append(event)
        if isinstance(event, at):
            cancel.set()
    assert ends(events).stop in (Stop.CANCELLED, Stop.END)  # a short reply may have ended before it is heard
    assert ends(list(engine.reply(SUM, NEVER))).stop is Stop.END


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_killed_in_mid_reply_it_is_told_and_starts_anew(hosted: Hosted, spec: EngineSpec) -> None:
    engine = hosted(spec)
    with pytest.raises(EngineDied, match="SIGKILL"):
        for event in engine.reply(asking("Hello!", sampling=Sampling(5.0, 1.0)), NEVER):
            if isinstance(event, Prefill) and engine.pid:  # more may be on the way from one that is gone
                os.kill(engine.pid, signal.SIGKILL)
    assert ends(list(engine.reply(SUM, NEVER))).stop is Stop.END


def test_weights_that_are_not_there(hosted: Hosted, spec: EngineSpec, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(hosted(replace(spec, weights=tmp_path / "absent")).reply(SUM, NEVER))


def test_another_models_tokenizer(hosted: Hosted, spec: EngineSpec, tmp_path: Path) -> None:
    other = write(tekken("v13", ranks=2_000), tmp_path)
    with pytest.raises(BadFile, match="was not made for"):
        list(hosted(replace(spec, tokenizer=other)).reply(SUM, NEVER))


# ── Beside each other ─────────────────────────────────────────────────────────────────────────────


def questions(count: int) -> Iterator[Turn]:
    rng = random.Random(7)
    for number in range(count):
        a, b = rng.randint(2, 60), rng.randint(2, 60)
        some = ", ".join(str(rng.randint(1, 99)) for _ in range(3))
        yield asking((f"What is {a} + {b}?", f"{max(a, b)} - {min(a, b)}", f"Sort {some}.")[number % 3])


@mlx_runs
def test_the_same_events_but_for_time_and_progress(demo_f16: EngineSpec, demo_bf16: EngineSpec) -> None:
    from localmag.engines.llamacpp import LlamaCpp
    from localmag.engines.mlx import Mlx

    codec = Codec.load(demo_f16.tokenizer)
    with closing(LlamaCpp(demo_f16)) as ours, closing(Mlx(demo_bf16)) as theirs:
        for turn in questions(3):
            told = [list(LocalEngine(model, codec).reply(turn, NEVER)) for model in (ours, theirs)]
            first, second = ([_timeless(e) for e in events if not isinstance(e, Prefill)] for events in told)
            assert first == second


def _timeless(event: Event) -> Event:
    match event:
        case ThinkingClosed():
            return replace(event, seconds=0)
        case Done():
            return replace(event, timing=Timing(), usage=replace(event.usage, cached_tokens=0))
    return event


@mlx_runs
@pytest.mark.timeout(300)
def test_mlx_would_have_said_the_same_fifty_times(demo_f16: EngineSpec, demo_bf16: EngineSpec) -> None:
    """What llama.cpp wrote greedily, each id in its place: MLX's favourite too, or as good as equal to it.

    Sixteen bits of two kinds round differently, and where two ids are as good as equal that decides.
    """
    import mlx.core as mx
    from mlx_lm.utils import load_model

    from localmag.engines.llamacpp import LlamaCpp

    codec = Codec.load(demo_f16.tokenizer)
    model, _ = load_model(demo_bf16.weights)
    read = turned = 0
    with closing(LlamaCpp(demo_f16)) as writer:
        for turn in questions(50):
            prompt = codec.encode(turn.messages, keep_reasoning=False)
            with closing(writer.generate(prompt, GREEDY, NEVER)) as steps:
                ids = (step for step in steps if not isinstance(step, Prefill))
                reply = list(takewhile(lambda id: id != codec.control.eos, ids))
            rows = model(mx.array([*prompt, *reply])[None])[0, len(prompt) - 1 : -1]
            logits = np.array(rows.astype(mx.float32))
            lost = logits.max(1) - logits[np.arange(len(reply)), reply]
            assert lost.max() < 0.2, (turn, lost)
            turned += bool(lost.any())
            read += len(reply)
    assert read > 1_000
    assert turned <= 1
