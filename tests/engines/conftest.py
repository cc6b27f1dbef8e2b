"""Small models with a true Tekken vocabulary: random weights, made once, real llama.cpp on the CPU.

One thread each: two threads of a busy machine wait for each other at every node of the graph.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from localmag.engines import EngineSpec
from localmag.engines.host import HostedEngine, engine_for
from localmag.prompt import Codec
from tests.conftest import Demo
from tests.engines.hosting import Hosted
from tests.tekken import tekken, write
from tools import synthetic_gguf

CONTEXT = 512

mlx_runs = pytest.mark.skipif(
    find_spec("mlx_lm") is None, reason="MLX is for Apple silicon, and for Linux with glibc 2.35 or newer"
)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tekken("v13", ranks=3_096), tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def codec(tokenizer: Path) -> Codec:
    return Codec.load(tokenizer)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> EngineSpec:
    """A model of 0.6 million parameters, thousands of ids per second."""
    weights = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    synthetic_gguf.write(weights, tokenizer, synthetic_gguf.llama())
    return EngineSpec("llama.cpp", weights, tokenizer, CONTEXT, threads=1)


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> EngineSpec:
    """A model whose long prompt takes seconds to read."""
    weights = tmp_path_factory.mktemp("slow") / "slow.gguf"
    shape = synthetic_gguf.llama(layers=6, width=512, heads=8, ffn=2048)
    synthetic_gguf.write(weights, tokenizer, shape, context=8192)
    return EngineSpec("llama.cpp", weights, tokenizer, 8192, threads=1)


@pytest.fixture(scope="session")
def tiny_mlx(tmp_path_factory: pytest.TempPathFactory, tiny: EngineSpec) -> EngineSpec:
    """`tiny` as an MLX build: the same numbers in bfloat16."""
    from tools import mlx_build

    return EngineSpec(
        "mlx", mlx_build.write(tiny.weights, tmp_path_factory.mktemp("mlx")), tiny.tokenizer, CONTEXT
    )


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


@pytest.fixture
def scripted(tmp_path: Path, tokenizer: Path) -> Callable[..., EngineSpec]:
    """A spec whose engine plays a script: the arguments are Scripted's."""

    def make(*replies: list[int], **arguments: Any) -> EngineSpec:
        script = tmp_path / "script.json"
        script.write_text(json.dumps({"replies": replies, **arguments}), "utf-8")
        return EngineSpec("scripted", script, tokenizer, arguments.get("context", 4096))

    return make


@pytest.fixture
def hosted() -> Iterator[Hosted]:
    """Makes engines that are closed at the end."""
    made: list[HostedEngine] = []

    def make(spec: EngineSpec) -> HostedEngine:
        made.append(engine_for(spec))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
