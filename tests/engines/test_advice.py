"""Which build to take, on machines of several kinds: what fit, pull, the first run's table and doctor say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localmag import catalogue
from localmag.engines.advice import Advice, advise, to_pull
from localmag.engines.select import Host
from localmag.errors import DoesNotFit, NotFound, WrongUsage
from localmag.hardware.probes import Probes
from localmag.hardware.reading import read
from localmag.tui.getting.looking import sight
from localmag.tui.getting.offers import Wish
from tests.hardware import machines
from tests.hardware.machines import GIB

PC = Host(apple_silicon=False, obstacles={})
MAC = Host(apple_silicon=True, obstacles={})
NO_MLX = {"mlx": "mlx and mlx_lm are not installed"}
MAC_WITHOUT = Host(apple_silicon=True, obstacles=NO_MLX)
BARE_24 = replace(machines.LINUX, memory_total=24 * GIB, memory_free=22 * GIB, cores=8, threads=16)
MAC_32 = replace(machines.M2, mlx=True)
EVERY = {
    "RTX 4090": (machines.RTX_4090, PC),
    "two GPUs": (machines.TWO_GPUS, PC),
    "24 GB, no GPU": (BARE_24, PC),
    "laptop, 8 GB": (machines.LAPTOP, PC),
    "M2, 32 GB": (MAC_32, MAC),
    "M2, 32 GB, without MLX": (machines.M2, MAC_WITHOUT),
    "M4 Max, 128 GB": (machines.M4_MAX, MAC),
    "Radeon": (machines.RADEON, PC),
}


def asked(probes: Probes, host: Host, name: str = "magistral", **how: object) -> Advice:
    return advise(catalogue.find(name)[0], read(probes), host, **how)  # type: ignore[arg-type]


def pulled(probes: Probes, host: Host, **how: object) -> str:
    build, _ = to_pull(asked(probes, host, **how))
    return f"{build.backend} {build.quant}"


# ── What pull takes where nobody names a build ────────────────────────────────────────────────────


def test_on_an_rtx_4090_it_is_q4_k_m_or_better_all_on_the_gpu() -> None:
    advice = asked(machines.RTX_4090, PC)
    build, why = to_pull(advice)
    assert build.backend == "llama.cpp"
    assert build.quant in ("Q4_K_M", "Q5_K_M", "Q6_K")
    assert why.startswith(f"magistral:{build.quant} fits this machine best: 40,960 tokens of context, all on")
    assert advice.best.on_gpu


def test_on_a_mac_of_32_gb_it_is_mlx_in_4_bits_and_why_is_said() -> None:
    build, why = to_pull(asked(MAC_32, MAC))
    assert (build.backend, build.quant) == ("mlx", "4bit")
    assert "Apple silicon" in why
    assert "\n" not in why


def test_on_the_same_mac_without_mlx_it_is_llama_cpps() -> None:
    assert pulled(machines.M2, MAC_WITHOUT) == "llama.cpp Q4_K_M"


def test_with_24_gb_and_no_gpu_it_is_said_how_slow_that_is_and_what_would_be_quicker() -> None:
    build, why = to_pull(asked(BARE_24, PC))
    assert build.quant == "Q4_K_M"
    assert "about 3 tokens/s" in why or "about 2 tokens/s" in why
    assert "ministral" in why and "quicker" in why


def test_where_no_build_fits_it_is_refused_with_what_would_and_how_to_insist() -> None:
    with pytest.raises(DoesNotFit, match="GiB can be had") as caught:
        to_pull(asked(machines.LAPTOP, PC))
    assert caught.value.exit_code == 4
    assert "localmag pull ministral:3b:" in caught.value.todo
    assert "localmag pull magistral:" in caught.value.todo


def test_a_pull_that_was_begun_goes_on_whatever_fits_best_today() -> None:
    model = catalogue.find("magistral")[0]
    begun = model.build("Q8_0")
    advice = asked(machines.RTX_4090, PC)
    build, why = to_pull(advice, [begun])
    assert build is begun
    assert f"{model.called(advice.best.build)} would fit this machine better" in why
    assert to_pull(advice, [begun, advice.best.build]) == (advice.best.build, "")
    assert to_pull(asked(machines.LAPTOP, PC), [begun]) == (begun, "")


# ── What is named ─────────────────────────────────────────────────────────────────────────────────


def test_a_quant_implies_its_backend() -> None:
    for quant in ("4bit", "6bit", "8BIT"):
        advice = asked(MAC_32, MAC, quant=quant)
        assert {plan.backend for plan in advice.plans} == {"mlx"}
        assert advice.choice and advice.choice.backend == "mlx"
    assert not asked(MAC_32, MAC, quant="8bit").best.fits


def test_a_backend_is_kept() -> None:
    advice = asked(MAC_32, MAC, backend="llama.cpp")
    assert {plan.backend for plan in advice.plans} == {"llama.cpp"}
    assert asked(MAC_32, MAC, backend="mlx").best.build.quant == "4bit"


def test_what_is_named_is_weighed_even_where_it_cannot_run_and_that_is_said() -> None:
    for how in ({"backend": "mlx"}, {"quant": "4bit"}):
        advice = asked(BARE_24, Host(False, NO_MLX), **how)
        assert advice.choice is None
        assert "mlx and mlx_lm are not installed" in advice.obstacle
        assert advice.best.fits


def test_a_quant_of_another_backend_is_not_found() -> None:
    with pytest.raises(NotFound):
        asked(MAC_32, MAC, quant="4bit", backend="llama.cpp")
    with pytest.raises(NotFound):
        asked(MAC_32, MAC, quant="Q9_K")


def test_where_nothing_can_run_it_says_what_is_missing() -> None:
    nothing = Host(False, {"llama.cpp": "llama_cpp is not installed", **NO_MLX})
    with pytest.raises(WrongUsage, match="llama_cpp is not installed"):
        asked(BARE_24, nothing)


def test_a_context_is_wanted_of_the_smaller_model_as_well() -> None:
    advice = asked(machines.LAPTOP, PC, context=8192)
    assert advice.smaller
    assert advice.smaller.setting.context == 8192


# ── Nobody disagrees ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("context", [0, 8192])
def test_fit_pull_and_the_table_say_the_same(kind: str, context: int) -> None:
    probes, host = EVERY[kind]
    machine = read(probes)
    advice = asked(probes, host, context=context)
    first_run = sight(machine, host, Wish(context=context))
    starred = [offer.name for offer in first_run.offers if offer.chosen]
    taken = advice.taken
    assert starred == ([taken.model.called(taken.build)] if taken else [])
    if advice.best.fits:
        build, _ = to_pull(advice)
        assert [advice.best.model.called(build)] == starred
    else:
        with pytest.raises(DoesNotFit, match="does not fit") as caught:
            to_pull(advice)
        assert not starred or starred[0] in caught.value.todo


@pytest.mark.parametrize("kind", EVERY)
def test_the_model_that_was_asked_for_stands_first(kind: str) -> None:
    probes, host = EVERY[kind]
    offers = sight(read(probes), host, Wish(model="ministral-3-14b")).offers
    assert offers[0].model.name == "ministral-3-14b"


def test_the_table_offers_only_what_the_backend_asked_for_could_run() -> None:
    offers = sight(read(MAC_32), MAC, Wish(backend="mlx")).offers
    assert {offer.build.backend for offer in offers if offer.model.shape} == {"mlx"}
