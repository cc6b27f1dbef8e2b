"""Before anything loads: what does not hold is refused with what would, and nothing gives way silently."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from localmag import mlxfiles, store
from localmag.cli.fitting import fitted
from localmag.cli.options import Run
from localmag.engines import EngineSpec, select
from localmag.errors import BadFile, DoesNotFit
from localmag.fit import mlx
from localmag.fit.weights import of_folder
from localmag.hardware import Device, Machine
from localmag.types import Sampling
from tests.conftest import Demo
from tests.store.make import hollow
from tests.test_mlxfiles import MAGISTRAL
from tools import synthetic_gguf

GIB = 2**30
MIB = 2**20


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    """Small weights whose KV cache is not: 48 KiB a token, 3 GiB at 65,536."""
    file = tmp_path_factory.mktemp("deep") / "deep.gguf"
    shape = synthetic_gguf.llama(layers=48, width=256, heads=2, kv_heads=2, ffn=32)
    synthetic_gguf.write(file, demo.tokenizer, shape, context=131_072)
    return file


@pytest.fixture
def run(weights: Path, demo: Demo) -> Run:
    """A chat with them that would like 65,536 tokens."""
    found = store.Installed(
        "deep",
        "Deep",
        "deep.gguf",
        "llama.cpp",
        weights,
        demo.tokenizer,
        None,
        65_536,
        131_072,
        65_536,
        0.7,
        1.0,
    )
    return Run(
        installed=found,
        stands_in=False,
        backend=select.Choice("llama.cpp", "", ()),
        spec=EngineSpec("llama.cpp", weights, demo.tokenizer, context=65_536),
        sampling=Sampling(),
        seed=None,
        max_tokens=65_536,
        asked_context=False,
        asked_kv_type=None,
        keep_reasoning=False,
        kept_context=0,
        system=None,
        system_is_template=False,
        theme=None,
        show_thinking=True,
    )


def machine(free: float, *devices: Device) -> Callable[[], Machine]:
    return lambda: Machine("Linux", "x86_64", "", 4, 8, 64 * GIB, round(free * GIB), devices)


class Told(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


def test_with_room_nothing_changes_and_nothing_is_said(run: Run) -> None:
    told = Told()
    made = fitted(run, machine(32), told)
    assert made.spec == replace(run.spec, gpu_layers=0)
    assert made.max_tokens == run.max_tokens
    assert told == []


def test_what_gives_way_is_said_in_one_line(run: Run) -> None:
    told = Told()
    made = fitted(run, machine(6.5), told)
    assert made.spec.kv_type == "q8_0"
    assert made.max_tokens == made.spec.context <= 65_536
    assert len(told) == 1
    assert "q8_0" in told[0]


def test_a_shorter_context_is_said_with_both_numbers(run: Run) -> None:
    told = Told()
    made = fitted(replace(run, asked_kv_type="f16"), machine(5.7), told)
    assert 2048 <= made.spec.context < 65_536
    assert f"{made.spec.context:,} tokens instead of 65,536" in told[0]


def test_a_context_that_was_asked_for_is_refused_with_one_that_fits(run: Run) -> None:
    asked = replace(run, asked_context=True, asked_kv_type="f16")
    with pytest.raises(DoesNotFit) as caught:
        fitted(asked, machine(5.7), Told())
    assert caught.value.exit_code == 4
    assert "65,536 tokens need" in caught.value.what
    assert "--ctx" in caught.value.todo


def test_where_nothing_holds_the_demo_is_left(run: Run) -> None:
    with pytest.raises(DoesNotFit, match="localmag chat demo"):
        fitted(run, machine(4.05), Told())


def test_layers_go_to_the_gpu_as_far_as_it_holds_them(run: Run) -> None:
    card = Device("NVIDIA T1000", "cuda", 4 * GIB, round(2.2 * GIB), ("llama.cpp",), id="CUDA0")
    told = Told()
    made = fitted(replace(run, asked_context=True, asked_kv_type="f16"), machine(32, card), told)
    assert 0 < made.spec.gpu_layers < 49
    assert f"{made.spec.gpu_layers} of 49 layers are on the GPU" in told[0]


def test_a_trifle_is_not_weighed(run: Run, demo: Demo) -> None:
    def asked() -> Machine:
        raise AssertionError("half a second for nothing")

    small = replace(run, spec=replace(run.spec, weights=demo.weights, context=1024))
    assert fitted(small, asked) is small


def test_a_damaged_file_is_refused_here_already(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(run.spec.weights.read_bytes()[:5000])
    with pytest.raises(BadFile):
        fitted(replace(run, spec=replace(run.spec, weights=broken)), machine(32))


# ── MLX ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def of_mlx(run: Run, tmp_path: Path) -> Run:
    """The same chat with an MLX build of Magistral's shape in 4 bits, whose 13 GB take no space."""
    folder = tmp_path / "Deep-MLX-4bit"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(MAGISTRAL))
    size = 13_260_000_000
    tensor = {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}
    table = json.dumps({"language_model.model.norm.weight": tensor}).encode()
    head = struct.pack("<Q", len(table)) + table
    hollow(folder / "model.safetensors", head, len(head) + size)
    return replace(run, spec=replace(run.spec, backend="mlx", weights=folder))


def a_mac(memory: float, working_set: float) -> Callable[[], Machine]:
    limit = round(working_set * GIB)
    gpu = Device("Apple M2", "metal", limit, limit, ("mlx",), unified=True, working_set=limit)
    whole = round(memory * GIB)
    return lambda: Machine("Darwin", "arm64", "Apple M2", 8, 8, whole, whole * 3 // 4, (gpu,), mlx=True)


def test_an_mlx_build_with_room_stays_as_it_is(of_mlx: Run) -> None:
    told = Told()
    made = fitted(of_mlx, a_mac(128, 107.5), told)
    assert (made.spec.context, made.spec.kv_type, told) == (65_536, "f16", [])


def test_an_mlx_build_gives_way_within_the_working_set(of_mlx: Run) -> None:
    told = Told()
    made = fitted(of_mlx, a_mac(32, 21.33), told)
    (said,) = told
    assert said.startswith("To fit this machine, ")
    assert (made.spec.kv_type, made.spec.context) != ("f16", 65_536)
    measured = mlxfiles.measured(made.spec.weights)
    assert measured
    shape, contents = measured
    need = mlx.need(shape, of_folder(contents), made.spec.context, made.spec.kv_type)
    assert need.total < 21.33 * GIB


def test_an_mlx_build_that_is_too_large_is_refused(of_mlx: Run) -> None:
    with pytest.raises(DoesNotFit, match="Deep"):
        fitted(of_mlx, a_mac(16, 10.67))
