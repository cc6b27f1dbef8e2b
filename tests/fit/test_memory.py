"""What llama.cpp needs: the arithmetic in the open, and beside llama.cpp's own log for small models."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from localmag import catalogue, gguf
from localmag.config import KVType
from localmag.engines import EngineSpec
from localmag.engines.llamacpp import LlamaCpp
from localmag.fit import Setting, memory, weights
from localmag.fit.memory import Gpu, Need
from localmag.fit.weights import Weights
from localmag.shape import Shape
from tests.conftest import Demo
from tools import synthetic_gguf

KIB, MIB, GIB = 2**10, 2**20, 2**30
DENSE = synthetic_gguf.llama(layers=3, width=256, heads=4, kv_heads=2, ffn=1024)
MIXTURE = synthetic_gguf.mixture()


def magistral() -> Shape:
    shape = catalogue.find("magistral")[0].shape
    assert shape
    return shape


# ── The arithmetic ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kv_type", "per_token", "at_40k"), [("f16", 160, 6.25), ("q8_0", 85, 3.32), ("q4_0", 45, 1.76)]
)
def test_magistrals_kv_cache(kv_type: KVType, per_token: int, at_40k: float) -> None:
    token = memory.kv_row(magistral(), kv_type) * magistral().layers
    assert token == per_token * KIB
    assert token * 40_960 / GIB == pytest.approx(at_40k, abs=0.005)


def test_latent_attention_keeps_one_vector_for_all_heads() -> None:
    shape = catalogue.find("mistral-small:4")[0].shape
    assert shape
    assert memory.kv_row(shape, "f16") * shape.layers == 22.5 * KIB  # as its reviewers count it


def test_the_cache_holds_whole_cells() -> None:
    assert [memory.cells(n) for n in (1, 256, 257, 40_960)] == [256, 256, 512, 40_960]


def test_more_context_or_a_finer_cache_never_needs_less() -> None:
    def total(context: int, kv_type: KVType) -> int:
        held = Weights(100, (10,) * 40, (0,) * 40, 100)
        return sum(n.total for n in memory.llama_cpp(magistral(), held, Setting(context, kv_type)))

    sizes = [total(context, "q8_0") for context in range(1024, 65_536, 1024)]
    assert sizes == sorted(sizes)
    assert total(8192, "q4_0") < total(8192, "q8_0") < total(8192, "f16")


# ── Beside llama.cpp ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("shape", "mix", "context", "kv_type"),
    [
        (DENSE, "Q8_0", 1024, "f16"),
        (DENSE, "Q4_K_M", 3000, "q8_0"),
        (DENSE, "F16", 256, "q4_0"),
        (replace(DENSE, tied=True), "Q8_0", 2048, "f16"),
        (MIXTURE, "Q8_0", 1024, "f16"),
        (MIXTURE, "Q4_K_M", 2048, "q8_0"),
    ],
)
def test_what_is_predicted_is_what_llama_cpp_reports(
    tmp_path: Path, demo: Demo, shape: Shape, mix: str, context: int, kv_type: KVType
) -> None:
    file, log = tmp_path / "made.gguf", tmp_path / "log"
    synthetic_gguf.write(file, demo.tokenizer, shape, mix)
    header = gguf.read_model(file)
    with closing(LlamaCpp(EngineSpec("llama.cpp", file, demo.tokenizer, context, kv_type, log=log))):
        pass
    held = weights.of_header(header)
    (need,) = memory.llama_cpp(header.shape(), held, Setting(context, kv_type))
    assert need.kv == pytest.approx(_reported(log, "KV"), abs=0.01 * MIB)
    assert need.weights == pytest.approx(_reported(log, "model"), rel=0.01, abs=0.02 * MIB)
    assert need.compute == pytest.approx(_reported(log, "compute"), rel=0.15)


def _reported(log: Path, kind: str) -> float:
    sizes = re.findall(rf"{kind} buffer size = +([\d.]+) MiB", log.read_text("utf-8"))
    return sum(map(float, sizes)) * MIB


# ── Where things go ───────────────────────────────────────────────────────────────────────────────

HELD = Weights(embedding=7, layers=(10, 20, 30, 40), experts=(4, 4, 4, 4), output=5)
FOUR = replace(magistral(), layers=4)


def placed(setting: Setting, *gpus: Gpu, shape: Shape = FOUR) -> tuple[Need, ...]:
    return memory.llama_cpp(shape, HELD, setting, gpus)


def test_without_a_gpu_all_is_in_memory() -> None:
    (need,) = placed(Setting(1024))
    assert need.weights == HELD.total == 112
    assert need.kv == 4 * memory.kv_row(FOUR, "f16") * 1024


def test_all_layers_on_a_gpu_leave_the_embedding_in_memory() -> None:
    here, gpu = placed(Setting(1024, gpu_layers=5), Gpu("CUDA0", "cuda"))
    assert (here.weights, gpu.weights) == (7, 105)
    assert here.kv == 0
    assert gpu.place == "CUDA0"
    assert gpu.process > 0


def test_layers_leave_the_gpu_from_the_bottom_and_take_their_cache_along() -> None:
    here, gpu = placed(Setting(1024, gpu_layers=3), Gpu("CUDA0", "cuda"))
    assert (here.weights, gpu.weights) == (7 + 10 + 20, 30 + 40 + 5)
    assert here.kv == gpu.kv


def test_two_gpus_share_by_their_free_memory() -> None:
    _, large, small = placed(Setting(1024, gpu_layers=5), Gpu("A", "cuda", 3.0), Gpu("B", "cuda", 2.0))
    assert (large.weights, small.weights) == (10 + 20 + 30, 40 + 5)


def test_experts_stay_in_memory_while_their_layers_cache_is_on_the_gpu() -> None:
    here, gpu = placed(Setting(1024, gpu_layers=5, cpu_experts=2), Gpu("CUDA0", "cuda"))
    assert (here.weights, gpu.weights) == (7 + 4 + 4, 105 - 8)
    assert here.kv == 0


def test_a_tied_embedding_is_on_the_gpu_once_more() -> None:
    here, gpu = placed(Setting(1024, gpu_layers=5), Gpu("CUDA0", "cuda"), shape=replace(FOUR, tied=True))
    assert (here.weights, gpu.weights) == (7, 105 + 7)


def test_cuda_reads_a_quantized_cache_through_a_copy() -> None:
    (_, plain), (_, quantized) = (
        placed(Setting(8192, kv, 5), Gpu("CUDA0", "cuda")) for kv in ("f16", "q8_0")
    )
    assert quantized.compute - plain.compute >= memory.kv_row(FOUR, "f16") * 8192
