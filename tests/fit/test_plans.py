"""Which build to take on machines of several kinds: the answers that people must be able to rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localmag import catalogue, fit
from localmag.errors import NotFound
from localmag.fit import Plan
from localmag.hardware import Machine
from localmag.hardware.probes import Probes
from localmag.hardware.reading import read
from tests.hardware import machines
from tests.hardware.machines import GIB

MAC_32 = replace(machines.M2, mlx=True)
BARE_24 = machines.sized(machines.LINUX, 8, 16, 24, 22)
LAPTOP_8 = machines.LAPTOP
KINDS = {
    "RTX 4090": machines.RTX_4090,
    "two GPUs": machines.TWO_GPUS,
    "laptop, 8 GB": LAPTOP_8,
    "M2, 32 GB": MAC_32,
    "M4 Max, 128 GB": machines.M4_MAX,
    "24 GB, no GPU": BARE_24,
    "integrated GPU": machines.IRIS,
    "Spark": machines.SPARK,
    "Radeon": machines.RADEON,
}


def best(probes: Probes, name: str = "magistral", **wanted: object) -> Plan:
    return fit.plans(catalogue.find(name)[0], read(probes), **wanted)[0]  # type: ignore[arg-type]


# ── The answers that are required ─────────────────────────────────────────────────────────────────


def test_an_rtx_4090_runs_magistral_whole_with_40k() -> None:
    plan = best(machines.RTX_4090)
    assert plan.fits
    assert plan.build.quant in ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0")
    assert plan.setting.context >= 40_960
    assert plan.on_gpu
    assert plan.where == "all on the GPU"
    assert plan.comfortable


def test_a_mac_of_32_gb_runs_it_in_4_bits_by_mlx() -> None:
    plan = best(MAC_32)
    assert (plan.backend, plan.build.quant) == ("mlx", "4bit")
    assert plan.setting.context >= 32_768


def test_a_mac_refuses_what_goes_over_the_working_set() -> None:
    machine = read(MAC_32)
    (device,) = machine.devices
    assert device.working_set
    plans = fit.plans(catalogue.find("magistral")[0], machine)
    assert not next(p for p in plans if p.build.quant == "8bit").fits  # 25 GB of 32, but not of the 21.3
    for plan in plans:
        on_gpu = [need for need in plan.needs if need.place != "memory"]
        assert not plan.fits or all(need.total < device.working_set for need in on_gpu)


def test_24_gb_without_a_gpu_is_told_honestly_and_offered_something_smaller() -> None:
    plan = best(BARE_24)
    assert plan.fits
    assert plan.build.quant == "Q4_K_M"
    assert plan.where == "CPU"
    assert plan.speed == pytest.approx(2.5, abs=0.3)  # 14 GB for each token at 50 GB/s and 0.7
    assert "slower than you read" in plan.why
    smaller = fit.sibling(plan, read(BARE_24))
    assert smaller
    assert smaller.model.name.startswith("ministral")
    assert smaller.comfortable


def test_a_laptop_of_8_gb_is_refused_the_24_billion_and_offered_3() -> None:
    plan = best(LAPTOP_8)
    assert not plan.fits
    assert "GiB can be had" in plan.why
    smaller = fit.sibling(plan, read(LAPTOP_8))
    assert smaller
    assert smaller.model.name == "ministral-3-3b"


def test_a_mixture_keeps_experts_on_the_cpu_of_a_machine_with_one_card() -> None:
    roomy = replace(machines.RTX_4090, memory_total=128 * GIB, memory_free=120 * GIB)
    plan = best(roomy, "mistral-small:4")
    assert plan.fits
    assert 0 < plan.setting.cpu_experts <= 36
    assert "experts" in plan.where
    assert plan.speed > fit.plans(catalogue.find("magistral")[0], read(BARE_24))[0].speed


def test_an_idle_card_counts_for_nothing() -> None:
    plan = best(machines.RTX_4090_ON_CPU_BUILD)
    assert plan.where == "CPU"


# ── What is asked for ─────────────────────────────────────────────────────────────────────────────


def test_a_context_that_is_asked_for_is_had_or_refused() -> None:
    assert best(machines.RTX_4090, context=60_000).setting.context == 60_000
    plan = best(BARE_24, context=131_072, kv_type="f16")
    assert not plan.fits
    assert plan.setting.context == 131_072
    assert plan.setting.kv_type == "f16"


def test_a_quant_a_kv_type_and_a_backend_are_kept() -> None:
    plan = best(machines.M4_MAX, quant="Q6_K", kv_type="q4_0", backend="llama.cpp")
    assert (plan.build.quant, plan.setting.kv_type, plan.backend) == ("Q6_K", "q4_0", "llama.cpp")


def test_mlx_without_a_gpu_promises_no_speed() -> None:
    assert best(MAC_32, backend="mlx").speed > 0
    plan = best(replace(BARE_24, mlx=True), backend="mlx")
    assert (plan.fits, plan.speed) == (True, 0)


def test_what_there_is_not_is_named() -> None:
    model = catalogue.find("magistral:1.0")[0]
    with pytest.raises(NotFound, match="no build for mlx"):
        fit.plans(model, read(MAC_32), backend="mlx")
    with pytest.raises(NotFound, match="Q9_K"):
        fit.plans(model, read(MAC_32), quant="Q9_K")
    with pytest.raises(NotFound, match="shape"):
        fit.plans(catalogue.find("demo")[0], read(MAC_32))


# ── What must hold everywhere ─────────────────────────────────────────────────────────────────────


def models() -> list[catalogue.Model]:
    return [model for model in catalogue.models() if model.shape]


@pytest.mark.parametrize("probes", KINDS.values(), ids=KINDS)
def test_nothing_is_picked_that_does_not_hold(probes: Probes) -> None:
    for model in models():
        for plan in fit.plans(model, read(probes)):
            require_sound(plan, read(probes))


@settings(max_examples=60)
@given(
    st.integers(0, 256), st.integers(0, 100), st.sampled_from(models()), st.sampled_from(list(KINDS.values()))
)
def test_with_any_memory_nothing_is_picked_that_does_not_hold(
    total: int, free_percent: int, model: catalogue.Model, probes: Probes
) -> None:
    memory = total * GIB
    machine = read(replace(probes, memory_total=memory, memory_free=memory * free_percent // 100))
    for plan in fit.plans(model, machine):
        require_sound(plan, machine)


def require_sound(plan: Plan, machine: Machine) -> None:
    """It fits where it says so, with the margin left, and what shares a memory fits into it together."""
    roomy = all(n.total <= r.free - r.margin for n, r in zip(plan.needs, plan.rooms, strict=True))
    assert roomy or not plan.fits
    assert all(room.margin >= GIB // 2 for room in plan.rooms)
    if machine.unified and plan.fits and machine.memory_free:
        assert sum(need.total for need in plan.needs) <= machine.memory_free - GIB
    assert plan.setting.context <= plan.model.context
    assert bool(plan.why) or plan.fits


@pytest.mark.parametrize("probes", KINDS.values(), ids=KINDS)
def test_more_memory_never_makes_it_worse(probes: Probes) -> None:
    model = catalogue.find("ministral:14b")[0]
    contexts = []
    for total in (8, 16, 24, 48, 96):
        more = replace(probes, memory_total=total * GIB, memory_free=(total - 2) * GIB)
        plans = fit.plans(model, read(more), quant="Q4_K_M", backend="llama.cpp")
        contexts.append(plans[0].setting.context if plans[0].fits else 0)
    assert contexts == sorted(contexts)
