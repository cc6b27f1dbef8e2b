"""The real MLX, on the CPU, on small models with random weights."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from localmag.config import KVType
from localmag.engines import EngineSpec, mlx_memory
from localmag.engines.sampler import Sampler
from localmag.errors import DoesNotFit, RunFailed
from localmag.types import Prefill, Sampling
from tests.engines.hosting import AtLook
from tests.engines.test_sampler import chi_square, nucleus

pytest.importorskip("mlx_lm", reason="MLX is for Apple silicon, and for Linux with glibc 2.35 or newer")

import mlx.core as mx

from localmag.engines import mlx as engine
from localmag.engines.mlx import Mlx
from localmag.engines.mlx_guess import Guesser

GREEDY = Sampling(temperature=0)
PROMPT = list(range(1_100, 1_200))
NEVER = threading.Event()


@pytest.fixture(scope="module")
def model(tiny_mlx: EngineSpec) -> Iterator[Mlx]:
    with closing(Mlx(tiny_mlx)) as model:
        yield model


@pytest.fixture(autouse=True)
def _limits_as_before() -> Iterator[None]:
    """They are the process's."""
    memory, cache = mx.set_memory_limit(1 << 40), mx.set_cache_limit(0)
    mx.set_memory_limit(memory)
    mx.set_cache_limit(cache)
    yield
    mx.set_memory_limit(memory)
    mx.set_cache_limit(cache)


def ids_of(model: Mlx, prompt: list[int], count: int, sampling: Sampling = GREEDY) -> list[int]:
    with closing(model.generate(prompt, sampling, NEVER)) as steps:
        return list(islice((step for step in steps if not isinstance(step, Prefill)), count))


# ── Generating ────────────────────────────────────────────────────────────────────────────────────


def test_greedy_is_what_mlx_lm_gives(model: Mlx, tiny_mlx: EngineSpec) -> None:
    from mlx_lm.generate import generate_step
    from mlx_lm.utils import load_model

    reference, _ = load_model(tiny_mlx.weights)
    expected = [id for id, _ in generate_step(mx.array(PROMPT), reference, max_tokens=30)]
    assert ids_of(model, PROMPT, 30) == expected


def test_first_ids_are_distributed_as_the_models_own_logits_say(model: Mlx, tiny_mlx: EngineSpec) -> None:
    from mlx_lm.utils import load_model

    count = 500
    for _ in range(2):  # the second time as all times after it: with the prompt in the cache
        ids_of(model, PROMPT, 1)
    reference, _ = load_model(tiny_mlx.weights)
    logits = np.array(reference(mx.array(PROMPT)[None])[0, -1].astype(mx.float32))
    expected = nucleus(logits, 0.7, 0.95) * count
    drawn = [ids_of(model, PROMPT, 1, Sampling(0.7, 0.95, seed))[0] for seed in range(count)]
    seen = np.bincount(drawn, minlength=expected.size)
    assert seen[expected == 0].sum() <= 2  # bfloat16 at the nucleus's edge
    statistic, freedom = chi_square(seen, expected)
    assert freedom > 4
    assert statistic <= freedom + 5 * (2 * freedom) ** 0.5


def test_different_seeds_give_different_replies(model: Mlx) -> None:
    assert len({tuple(ids_of(model, PROMPT, 10, Sampling(seed=seed))) for seed in range(5)}) == 5


@pytest.mark.parametrize("wrong", [1, 3])
def test_wrong_guesses_change_nothing(model: Mlx, monkeypatch: pytest.MonkeyPatch, wrong: int) -> None:
    """All of them, or each third."""
    expected = ids_of(model, PROMPT, 40, Sampling(seed=5))
    calls = itertools.count()

    class Wrong(Guesser):
        def __call__(self, logits: mx.array) -> mx.array:
            guess = super().__call__(logits)
            return guess + 1 if next(calls) % wrong == 0 else guess

    with monkeypatch.context() as patch:
        patch.setattr(engine, "Guesser", Wrong)
        drawn = ids_of(model, PROMPT, 40, Sampling(seed=5))
        assert drawn == expected
        assert model.held == [*PROMPT, *drawn]
    longer = [*PROMPT, *drawn, 1_500]
    with closing(Mlx(model._spec)) as fresh:
        assert ids_of(model, longer, 5) == ids_of(fresh, longer, 5)


@pytest.mark.parametrize(
    "sampling", [GREEDY, Sampling(0.7, 0.95, 3), Sampling(1.0, 1.0, 4), Sampling(2.0, 0.3, 5)]
)
def test_guesses_are_what_is_drawn(sampling: Sampling) -> None:
    shapes = np.random.default_rng(1).standard_normal((300, 4_096)).astype(np.float32)
    shapes *= np.linspace(0.1, 8, 300, dtype=np.float32)[:, None]
    draw, guess = Sampler(sampling), Guesser(sampling)
    missed = 0
    for number, logits in enumerate(shapes):
        if number % 10 == 0:
            guess(mx.array(shapes[0]))
            guess.take_back()
        missed += guess(mx.array(logits)).item() != draw(logits)
    assert missed <= 1


def test_a_reused_prefix_changes_nothing(model: Mlx, tiny_mlx: EngineSpec) -> None:
    first = ids_of(model, PROMPT, 40)
    longer = [*PROMPT, *first[:30], *PROMPT]
    with closing(Mlx(tiny_mlx)) as fresh:
        assert ids_of(model, longer, 20) == ids_of(fresh, longer, 20)


@pytest.mark.parametrize("context", [2, 16, 300])
def test_any_context_is_kept_to_the_token(tiny_mlx: EngineSpec, context: int) -> None:
    with closing(Mlx(replace(tiny_mlx, context=context))) as model:
        prompt = PROMPT[: context // 2]
        assert len(prompt) + len(ids_of(model, prompt, 20_000)) == context


def test_memory_is_taken_once_and_given_back(tiny_mlx: EngineSpec) -> None:
    before = mx.get_active_memory()
    with closing(Mlx(tiny_mlx)) as model:
        loaded = mx.get_active_memory()
        assert loaded > before + 10**6
        ids_of(model, PROMPT, 10_000)
        assert mx.get_active_memory() < loaded + 10**6
    assert mx.get_active_memory() < before + 10**4


def test_an_id_outside_the_vocabulary_is_an_error_and_the_model_goes_on(model: Mlx) -> None:
    before = ids_of(model, PROMPT, 5)
    for stray in (10**6, -1, model.vocabulary_size):
        with pytest.raises(RunFailed):
            ids_of(model, [*PROMPT, stray], 1)
    assert ids_of(model, PROMPT, 5) == before


def test_a_failure_of_mlx_is_an_error_and_the_model_goes_on(
    model: Mlx, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ids_of(model, PROMPT, 5)

    def fail(*_: object) -> None:
        raise RuntimeError("[matmul] Last dimension of first input\nhas a stack trace after it")

    with monkeypatch.context() as patch, pytest.raises(RunFailed, match="first input"):
        patch.setattr(engine.mx, "eval", fail)
        ids_of(model, PROMPT[:-1], 5)
    assert ids_of(model, PROMPT, 5) == before


@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
def test_a_cancel_is_heard_within_a_chunk_which_is_then_as_if_never_begun(
    tiny_mlx: EngineSpec, kv_type: KVType
) -> None:
    """At the third look: before the chunk, before its first layer, before its second."""
    spec = replace(tiny_mlx, kv_type=kv_type)
    with closing(Mlx(spec)) as model, closing(Mlx(spec)) as fresh:
        held = mx.get_active_memory()
        for _ in range(3):
            assert list(model.generate(PROMPT, GREEDY, AtLook(3))) == [Prefill(0, len(PROMPT))]
        assert mx.get_active_memory() < held + 10**4
        assert ids_of(model, PROMPT, 20) == ids_of(fresh, PROMPT, 20)


def test_a_cancelled_chunk_after_a_failure_that_took_the_caches(tiny_mlx: EngineSpec) -> None:
    with closing(Mlx(tiny_mlx)) as model, closing(Mlx(tiny_mlx)) as fresh:
        with pytest.raises(KeyboardInterrupt), model._foreign():
            raise KeyboardInterrupt
        list(model.generate(PROMPT, GREEDY, AtLook(3)))
        assert ids_of(model, PROMPT, 20) == ids_of(fresh, PROMPT, 20)


def test_nothing_reaches_the_terminal(tiny_mlx: EngineSpec, capfd: pytest.CaptureFixture[str]) -> None:
    with closing(Mlx(tiny_mlx)) as model:
        ids_of(model, PROMPT, 3)
    assert capfd.readouterr() == ("", "")


# ── KV types ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kv_type", "bits"), [("f16", 16), ("q8_0", 9), ("q4_0", 5)])
def test_every_kv_type_runs_and_takes_what_it_should(
    tiny_mlx: EngineSpec, kv_type: KVType, bits: int
) -> None:
    """Heads of 32 numbers: a scale and a bias of 16 bits for each group of them is one bit more for each."""
    with closing(Mlx(replace(tiny_mlx, kv_type=kv_type))) as model:
        assert len(ids_of(model, PROMPT, 10)) == 10
        assert model._caches
        layers, heads, head_size = 2, 1, 32
        assert model._caches.nbytes == layers * 2 * tiny_mlx.context * heads * head_size * bits // 8


def test_a_quantized_cache_is_reused_as_well(tiny_mlx: EngineSpec) -> None:
    with closing(Mlx(replace(tiny_mlx, kv_type="q8_0"))) as model:
        first = ids_of(model, PROMPT, 40)
        steps = model.generate([*PROMPT, *first[:30], 1_500], GREEDY, NEVER)
        assert next(steps) == Prefill(len(PROMPT) + 30, len(PROMPT) + 31)
        steps.close()


def test_eight_bits_hardly_differ_from_sixteen(tiny_mlx: EngineSpec) -> None:
    found = []
    for kv_type in ("f16", "q8_0"):
        with closing(Mlx(replace(tiny_mlx, kv_type=kv_type))) as model:
            step = model._begin(mx.array(PROMPT), Guesser(GREEDY))
            found.append(model._logits(step).copy())
    plain, quantized = found
    assert 0 < np.abs(plain - quantized).max() < 0.1 * plain.std()


# ── Memory ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("context", [1 << 30, 1 << 31, 1 << 40, 1 << 62])
def test_a_context_that_memory_does_not_hold(tiny_mlx: EngineSpec, context: int) -> None:
    with pytest.raises(DoesNotFit, match=f"{context:,} tokens") as raised:
        Mlx(replace(tiny_mlx, context=context))
    assert raised.value.exit_code == 4


def limited(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    """As on a Mac whose working set is that many bytes."""
    monkeypatch.setattr(mlx_memory, "limits", lambda _: mlx_memory.Limits(memory, memory // 16))


def test_weights_beyond_the_working_set_are_refused_unread(
    tiny_mlx: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 10**6)
    fractions: list[float] = []
    with pytest.raises(DoesNotFit):
        Mlx(tiny_mlx, fractions.append)
    assert fractions == []


def test_a_prompt_that_takes_more_than_the_working_set_is_an_error_and_the_model_goes_on(
    tiny_mlx: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 10**9)
    with closing(Mlx(tiny_mlx)) as model:
        before = ids_of(model, PROMPT[:10], 5)
        model._limits = mlx_memory.Limits(10**6, 10**5)
        with pytest.raises(DoesNotFit):
            ids_of(model, PROMPT, 5)
        model._limits = mlx_memory.Limits(10**9, 10**8)
        assert ids_of(model, PROMPT[:10], 5) == before


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere `ulimit -v` is not kept to")
def test_addresses_that_ulimit_does_not_leave_are_not_asked_for(tiny_mlx: EngineSpec) -> None:
    """MLX ends the process where it gets none."""
    code = (
        "import resource, sys; from pathlib import Path; from localmag.engines import EngineSpec;"
        "from localmag.engines.mlx import Mlx; from localmag.errors import DoesNotFit;"
        "from localmag.hardware.limits import addresses;"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)); used = (1 << 40) - addresses();"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), used + (1 << 30)));"
        "weights, tokenizer = map(Path, sys.argv[1:])\n"
        "for context in (512, 1 << 22):\n"
        "    try: Mlx(EngineSpec('mlx', weights, tokenizer, context)).close(); print('loads')\n"
        "    except DoesNotFit: print('does not fit')"
    )
    command = [sys.executable, "-c", code, str(tiny_mlx.weights), str(tiny_mlx.tokenizer)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split("\n") == ["loads", "does not fit", ""]


def test_as_many_files_may_be_opened_as_before() -> None:
    """mlx_lm lowers the limit when it is imported, and fails where it cannot."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (900, 1_000));"
        "import localmag.engines.mlx; print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "(900, 1000)"
