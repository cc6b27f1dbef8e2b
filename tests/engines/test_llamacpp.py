"""The real llama.cpp on small models with random weights."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from localmag.engines import EngineSpec
from localmag.engines.llamacpp import LlamaCpp, native
from localmag.engines.vocabulary import require_same
from localmag.errors import BadFile, LocalmagError, NotFound, RunFailed
from localmag.prompt import Codec
from localmag.types import Prefill, Sampling
from tests.engines.test_sampler import chi_square, nucleus
from tests.tekken import tekken, write
from tools import synthetic_gguf

GREEDY = Sampling(temperature=0)
PROMPT = list(range(1_100, 1_200))
NEVER = threading.Event()


@pytest.fixture(scope="module")
def model(tiny: EngineSpec) -> Iterator[LlamaCpp]:
    with closing(LlamaCpp(tiny)) as model:
        yield model


def ids_of(model: LlamaCpp, prompt: list[int], count: int, sampling: Sampling = GREEDY) -> list[int]:
    with closing(model.generate(prompt, sampling, NEVER)) as steps:
        return list(islice((step for step in steps if not isinstance(step, Prefill)), count))


class Bare:
    """The reference: a context of its own, one llama_decode for the whole prompt, logits copied out."""

    def __init__(self, spec: EngineSpec) -> None:
        self._model = native.llama_model_load_from_file(
            str(spec.weights).encode(), native.llama_model_default_params()
        )
        params = native.llama_context_default_params()
        params.n_ctx, params.n_threads, params.n_threads_batch = spec.context, 1, 1
        self._ctx = native.llama_init_from_model(self._model, params)
        self._size = native.llama_vocab_n_tokens(native.llama_model_get_vocab(self._model))

    def logits_after(self, ids: list[int]) -> np.ndarray:
        array = (ctypes.c_int32 * len(ids))(*ids)
        assert native.llama_decode(self._ctx, native.llama_batch_get_one(array, len(ids))) == 0
        return np.ctypeslib.as_array(native.llama_get_logits_ith(self._ctx, -1), (self._size,)).copy()

    def close(self) -> None:
        native.llama_free(self._ctx)
        native.llama_model_free(self._model)


@pytest.fixture
def bare(tiny: EngineSpec) -> Iterator[Bare]:
    with closing(Bare(tiny)) as bare:
        yield bare


# ── Generating ────────────────────────────────────────────────────────────────────────────────────


def test_greedy_is_what_a_bare_decode_loop_gives(model: LlamaCpp, bare: Bare) -> None:
    expected = []
    logits = bare.logits_after(PROMPT)
    for _ in range(30):
        expected.append(int(logits.argmax()))
        logits = bare.logits_after(expected[-1:])
    assert ids_of(model, PROMPT, 30) == expected


def test_first_ids_are_distributed_as_the_models_own_logits_say(model: LlamaCpp) -> None:
    count = 1_000
    for _ in range(2):  # the second time as all times after it: with the prompt in the cache
        ids_of(model, PROMPT, 1)
    expected = nucleus(model._last_logits().copy(), 0.7, 0.95) * count
    drawn = [ids_of(model, PROMPT, 1, Sampling(0.7, 0.95, seed))[0] for seed in range(count)]
    seen = np.bincount(drawn, minlength=expected.size)
    assert not seen[expected == 0].any()
    statistic, freedom = chi_square(seen, expected)
    assert freedom > 10
    assert statistic <= freedom + 5 * (2 * freedom) ** 0.5


def test_different_seeds_give_different_replies(model: LlamaCpp) -> None:
    assert len({tuple(ids_of(model, PROMPT, 10, Sampling(seed=seed))) for seed in range(5)}) == 5


def test_a_reused_prefix_changes_nothing(model: LlamaCpp, tiny: EngineSpec) -> None:
    first = ids_of(model, PROMPT, 40)
    longer = [*PROMPT, *first[:30], *PROMPT]
    with closing(LlamaCpp(tiny)) as fresh:
        assert ids_of(model, longer, 20) == ids_of(fresh, longer, 20)


@pytest.mark.parametrize("kv_type", ["f16", "q8_0", "q4_0"])
def test_every_kv_type_runs(tiny: EngineSpec, kv_type: str) -> None:
    with closing(LlamaCpp(replace(tiny, kv_type=kv_type))) as model:
        assert len(ids_of(model, PROMPT, 10)) == 10


@pytest.mark.parametrize("context", [2, 16, 100, 1_100])
def test_any_context_is_kept_to_the_token(tiny: EngineSpec, context: int) -> None:
    with closing(LlamaCpp(replace(tiny, context=context))) as model:
        prompt = PROMPT[: context // 2]
        assert len(prompt) + len(ids_of(model, prompt, 20_000)) == context


def test_an_id_outside_the_vocabulary_is_an_error_and_the_model_goes_on(model: LlamaCpp) -> None:
    before = ids_of(model, PROMPT, 5)
    with pytest.raises(RunFailed):
        ids_of(model, [*PROMPT, 10**6], 1)
    assert ids_of(model, PROMPT, 5) == before


def test_a_long_prompt_is_cancelled_inside_a_chunk(slow: EngineSpec) -> None:
    """Else it would tell of the chunk, which takes seconds."""
    with closing(LlamaCpp(slow)) as model:
        model.rate = 1e9  # so that the whole prompt is one chunk
        cancel, prompt = threading.Event(), [1_100 + i % 500 for i in range(8_000)]
        steps = model.generate(prompt, GREEDY, cancel)
        next(steps)
        threading.Timer(0.3, cancel.set).start()
        assert list(steps) == []
        assert model.held == []
        assert ids_of(model, prompt[:50], 5) == ids_of(model, prompt[:50], 5)


def test_nothing_reaches_the_terminal_and_the_log_has_it(
    tiny: EngineSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "native.log"
    with closing(LlamaCpp(replace(tiny, log=log))) as model:
        ids_of(model, PROMPT, 3)
    assert capfd.readouterr() == ("", "")
    assert "llama_kv_cache" in log.read_text("utf-8")


# ── Loading ───────────────────────────────────────────────────────────────────────────────────────


def refused(spec: EngineSpec, codec: Codec | None = None) -> LocalmagError:
    """The error of a model that must not load, held to the house's form."""
    with pytest.raises(LocalmagError) as raised, closing(LlamaCpp(spec)) as model:
        if codec:
            require_same(model.vocabulary(), codec, model._spec)
    for sentence in (raised.value.what, raised.value.todo):
        assert sentence[0].isupper() or sentence[0] in "/abcdefghijklmnopqrstuvwxyz"
        assert sentence.endswith(".")
        assert "\n" not in sentence
    return raised.value


def test_a_missing_file_is_not_found(tiny: EngineSpec, tmp_path: Path) -> None:
    error = refused(replace(tiny, weights=tmp_path / "absent.gguf"))
    assert isinstance(error, NotFound)
    assert error.exit_code == 3


@pytest.mark.parametrize("content", [b"", b"GGUF", b"PK\x03\x04 a zip", b"GGUF" + bytes(100)])
def test_another_file_is_a_bad_file(tiny: EngineSpec, tmp_path: Path, content: bytes) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(content)
    error = refused(replace(tiny, weights=wrong))
    assert isinstance(error, BadFile)
    assert error.exit_code == 6


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_a_bad_file(tiny: EngineSpec, tmp_path: Path, kept: float) -> None:
    cut = tmp_path / "cut.gguf"
    whole = tiny.weights.read_bytes()
    cut.write_bytes(whole[: int(len(whole) * kept)])
    assert isinstance(refused(replace(tiny, weights=cut)), BadFile)


def patched(spec: EngineSpec, folder: Path, before: bytes, after: bytes) -> EngineSpec:
    """The model with one thing in its header changed, in place."""
    whole = spec.weights.read_bytes()
    assert len(before) == len(after)
    assert before in whole
    weights = folder / "patched.gguf"
    weights.write_bytes(whole.replace(before, after))
    return replace(spec, weights=weights)


def test_an_architecture_llama_cpp_does_not_know(tiny: EngineSpec, tmp_path: Path) -> None:
    error = refused(patched(tiny, tmp_path, b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lhama"))
    assert isinstance(error, BadFile)
    assert "architecture" in error.what


LIMITED = """
import resource, sys
from pathlib import Path
from localmag.engines import EngineSpec
from localmag.engines.llamacpp import LlamaCpp
from localmag.errors import LocalmagError

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
try:
    LlamaCpp(EngineSpec("llama.cpp", Path(sys.argv[1]), Path(sys.argv[2]), 1 << 23, threads=1))
except LocalmagError as error:
    print(type(error).__name__, error.exit_code, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to an address space")
def test_a_context_that_memory_does_not_hold(tiny: EngineSpec) -> None:
    command = [sys.executable, "-c", LIMITED, str(tiny.weights), str(tiny.tokenizer)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("DoesNotFit 4 ")
    assert f"{1 << 23:,} tokens" in said


def test_a_missing_tensor(tiny: EngineSpec, tmp_path: Path) -> None:
    error = refused(patched(tiny, tmp_path, b"blk.1.ffn_up.weight", b"blk.1.ffn_ub.weight"))
    assert isinstance(error, BadFile)
    assert "blk.1.ffn_up.weight" in error.what


def test_another_vocabulary(tiny: EngineSpec, tmp_path: Path) -> None:
    error = refused(patched(tiny, tmp_path, b"tekken", b"llama3"))
    assert isinstance(error, BadFile)
    assert "Tekken" in error.what


def test_the_right_vocabulary_passes(model: LlamaCpp, codec: Codec) -> None:
    require_same(model.vocabulary(), codec, model._spec)


def test_a_text_id_that_means_other_bytes(tiny: EngineSpec, tmp_path: Path, codec: Codec) -> None:
    known = next(id for id in range(1_000 + 256, codec.vocabulary) if codec.pieces[id] == b" that")
    spec = patched(tiny, tmp_path, "\u0120that".encode(), "\u0120thaT".encode())
    error = refused(spec, codec)
    assert isinstance(error, BadFile)
    assert f"id {known} " in error.what


def test_a_control_token_of_another_name(tiny: EngineSpec, tmp_path: Path, codec: Codec) -> None:
    error = refused(patched(tiny, tmp_path, b"[/THINK]", b"[/WHINK]"), codec)
    assert isinstance(error, BadFile)
    assert "[/THINK]" in error.what


def test_fillers_may_have_any_name(tiny: EngineSpec, tmp_path: Path, codec: Codec) -> None:
    with closing(LlamaCpp(patched(tiny, tmp_path, b"<SPECIAL_99>", b"<SOMETHING_>"))) as model:
        require_same(model.vocabulary(), codec, model._spec)


def test_a_tokenizer_of_another_size(model: LlamaCpp, tmp_path: Path) -> None:
    smaller = Codec.load(write(tekken("v13", ranks=2_000), tmp_path))
    with pytest.raises(BadFile, match="4,096 ids"):
        require_same(model.vocabulary(), smaller, model._spec)


def test_a_path_with_any_letters(tiny: EngineSpec, tmp_path: Path) -> None:
    odd = tmp_path / "un modèle 模型.gguf"
    shutil.copy(tiny.weights, odd)
    with closing(LlamaCpp(replace(tiny, weights=odd))) as model:
        assert ids_of(model, PROMPT, 1)


def test_full_precision_weights_load_too(tmp_path: Path, tiny: EngineSpec) -> None:
    weights = tmp_path / "f16.gguf"
    synthetic_gguf.write(weights, tiny.tokenizer, synthetic_gguf.llama(), "F16")
    with closing(LlamaCpp(replace(tiny, weights=weights))) as model:
        assert ids_of(model, PROMPT, 3)
