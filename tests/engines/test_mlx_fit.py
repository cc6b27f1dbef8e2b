"""What fit predicts of MLX builds beside what the engine really holds of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from localmag import mlxfiles
from localmag.config import KVType
from localmag.engines import EngineSpec
from localmag.fit import mlx as fit
from localmag.fit.weights import of_folder
from tests.conftest import Demo
from tests.engines.test_mlx_loading import Change, changed, seeing

pytest.importorskip("mlx_lm", reason="MLX is for Apple silicon, and for Linux with glibc 2.35 or newer")

import mlx.core as mx

from localmag.engines.mlx import Mlx
from tools import mlx_build

__all__ = ["changed"]

_TRIFLE = 64  # bytes of arrays that are neither weights nor cache, as the two ids of the first evaluation


def held(spec: EngineSpec) -> int:
    """Bytes that MLX has allocated once a model is loaded: weights and cache."""
    mx.clear_cache()
    before = mx.get_active_memory()
    with closing(Mlx(spec)):
        return mx.get_active_memory() - before


def predicted(spec: EngineSpec) -> int:
    told = mlxfiles.measured(spec.weights)
    assert told
    shape, contents = told
    need = fit.need(shape, of_folder(contents), spec.context, spec.kv_type)
    return need.weights + need.kv


def agree(spec: EngineSpec) -> bool:
    return abs(predicted(spec) - held(spec)) <= _TRIFLE


@pytest.mark.parametrize("kv_type", ["f16", "q8_0", "q4_0"])
def test_the_demo(demo: Demo, kv_type: KVType) -> None:
    assert agree(EngineSpec("mlx", demo.mlx, demo.tokenizer, 8192, kv_type=kv_type))


@pytest.mark.parametrize("bits", [None, 4, 6, 8])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_builds_of_every_width(
    tiny: EngineSpec, tiny_mlx: EngineSpec, tmp_path: Path, bits: int | None, dtype: str
) -> None:
    folder = mlx_build.write(tiny.weights, tmp_path / "build", dtype, bits)
    assert agree(replace(tiny_mlx, weights=folder, context=4096))


def test_weights_for_images_are_not_counted(
    changed: Callable[[Change], EngineSpec], tiny_mlx: EngineSpec
) -> None:
    seen = changed(seeing)
    told = mlxfiles.measured(seen.weights)
    assert told and told[1].images == 4 * (64 * 14 * 14 * 3 + 64 * 64)
    assert predicted(seen) == predicted(tiny_mlx)
    assert agree(seen)
