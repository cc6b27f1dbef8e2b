"""MLX's arithmetic. Nobody has measured it on a Mac: these hold the formulas, not the truth."""

from __future__ import annotations

import pytest

from localmag import catalogue
from localmag.config import KVType
from localmag.fit import mlx
from localmag.fit.weights import Weights
from localmag.shape import Shape

KIB = 2**10


def magistral() -> Shape:
    shape = catalogue.find("magistral")[0].shape
    assert shape
    return shape


@pytest.mark.parametrize(("kv_type", "per_token"), [("f16", 160), ("q8_0", 85), ("q4_0", 45)])
def test_groups_of_the_cache_have_scales_and_biases(kv_type: KVType, per_token: int) -> None:
    assert mlx.kv(magistral(), 256, kv_type) == 256 * per_token * KIB


def test_a_quantized_cache_makes_attention_keep_its_scores() -> None:
    plain, quantized = (mlx.compute(magistral(), 40_960, kind) for kind in ("f16", "q8_0"))
    assert quantized - plain > 40_960 * mlx.PREFILL_QUANTIZED * magistral().heads * 4


def test_it_is_all_one_memory() -> None:
    need = mlx.need(magistral(), Weights(0, (), (), 13_260_000_000), 32_768, "f16")
    assert need.total == need.weights + need.kv + need.compute + need.process
    assert need.weights == 13_260_000_000
