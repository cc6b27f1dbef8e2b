"""Both engines on the demo model beside each other, in this process: the same replies."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import takewhile

import numpy as np
import pytest
from mistral_common.protocol.instruct.messages import UserMessage

from localmag.engines import EngineSpec
from localmag.engines.local import LocalEngine
from localmag.prompt import Codec
from localmag.types import Done, Event, Prefill, ThinkingClosed, Timing, Turn
from tests.cli.test_dry_run import HOSTILE, theirs
from tests.engines.conftest import mlx_runs
from tests.engines.hosting import GREEDY, asking

NEVER = threading.Event()


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
    with closing(LlamaCpp(demo_f16)) as first, closing(Mlx(demo_bf16)) as second:
        for turn in questions(3):
            told = [list(LocalEngine(model, codec).reply(turn, NEVER)) for model in (first, second)]
            ours, others = ([_timeless(e) for e in events if not isinstance(e, Prefill)] for events in told)
            assert ours == others


@mlx_runs
def test_what_is_typed_reaches_the_weights_as_the_ids_of_mistral_common(
    demo_f16: EngineSpec, demo_bf16: EngineSpec
) -> None:
    """Control tokens spelled out are text for both engines, as is all else that somebody may paste."""
    from localmag.engines.llamacpp import LlamaCpp
    from localmag.engines.mlx import Mlx

    codec = Codec.load(demo_f16.tokenizer)
    texts = [text for text in HOSTILE if text.encode(errors="replace") == text.encode(errors="ignore")]
    assert len(texts) == len(HOSTILE) - 2  # those that hold halves of surrogate pairs
    with closing(LlamaCpp(demo_f16)) as llama, closing(Mlx(demo_bf16)) as mlx:
        for text in (*texts, "".join(texts)):
            ids = theirs(UserMessage(content=text))
            for model in (llama, mlx):
                *_, done = LocalEngine(model, codec).reply(asking(text, most=3), NEVER)
                assert isinstance(done, Done)
                assert done.usage.prompt_tokens == len(ids)
                assert model.held[: len(ids)] == ids


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
