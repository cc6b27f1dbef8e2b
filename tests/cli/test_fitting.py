"""Before anything loads: what does not hold is refused with what would, and nothing gives way silently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from localmag import store
from localmag.cli.fitting import fitted
from localmag.cli.options import Run
from localmag.engines import EngineSpec, select
from localmag.errors import BadFile, DoesNotFit
from localmag.hardware import Device, Machine
from localmag.types import Sampling
from tests.conftest import Demo
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
