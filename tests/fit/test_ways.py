"""The search for a way to run weights: what gives way first, and that the longest context is the longest."""

from __future__ import annotations

import pytest

from localmag import catalogue
from localmag.fit import Way, best, weights
from localmag.fit.ways import LEAST_CONTEXT
from localmag.hardware import Device, Machine
from localmag.shape import Shape

GIB = 2**30


def shape() -> Shape:
    found = catalogue.find("ministral:8b")[0].shape
    assert found
    return found


def way(gpu: float, memory: float = 64, wanted: int = 40_960, **asked: object) -> Way:
    """Ministral 8B in Q4_K_M on a card with so many GiB free."""
    card = Device("NVIDIA GeForce RTX 4060 Laptop GPU", "cuda", 24 * GIB, round(gpu * GIB), ("llama.cpp",))
    machine = Machine("Linux", "x86_64", "", 8, 16, round(memory * GIB), round(memory * GIB), (card,))
    held = weights.of_build(shape(), catalogue.find("ministral:8b")[0].build("Q4_K_M"))
    return best(shape(), held, machine, wanted=wanted, **asked)  # type: ignore[arg-type]


def test_with_room_nothing_gives_way() -> None:
    found = way(16)
    assert found.fits
    assert found.whole
    assert (found.setting.context, found.setting.kv_type) == (40_960, "f16")


def test_first_the_cache_gets_coarser_then_the_context_shorter_then_layers_leave() -> None:
    finer, shorter, coarser, partly = (way(free).setting for free in (9.2, 7.5, 6.5, 4))
    assert (finer.context, finer.kv_type) == (40_960, "q8_0")
    assert 16_384 <= shorter.context < 40_960
    assert shorter.kv_type == "q8_0"
    assert coarser.kv_type == "q4_0"
    assert partly.gpu_layers < shape().layers + 1


def test_the_longest_context_is_the_longest() -> None:
    found = way(7.5)
    assert found.fits
    longer = way(7.5, wanted=found.setting.context + 1024, exact=True, kv_type=found.setting.kv_type)
    assert not longer.whole or not longer.fits


def test_what_is_wanted_exactly_is_not_shortened() -> None:
    found = way(2, memory=4, wanted=131_072, exact=True, kv_type="f16")
    assert not found.fits
    assert (found.setting.context, found.setting.kv_type) == (131_072, "f16")
    assert found.missing > 0


def test_where_nothing_holds_the_least_is_told() -> None:
    found = way(1, memory=3)
    assert not found.fits
    assert found.setting.context == LEAST_CONTEXT
    assert "2,048 tokens need" in found.refusal


@pytest.mark.parametrize("layers", [0, 7, 35, 99])
def test_gpu_layers_that_were_asked_for_are_kept(layers: int) -> None:
    assert way(16, gpu_layers=layers).setting.gpu_layers == min(layers, 35)
