"""The rules, on what Macs say of themselves. Nobody has measured them on a Mac: these hold the arithmetic."""

from __future__ import annotations

import psutil
import pytest

from localmag.engines import devices, mlx_memory
from localmag.engines.mlx_memory import GIB, Limits, limits
from tests.macs import DEVICES, MIB, RAISED, WORKING_SETS, Facts, Recorded

LINUX: Facts = {"architecture": "x86_64", "device_name": "AMD EPYC"}


@pytest.mark.parametrize("facts", DEVICES.values(), ids=DEVICES)
def test_the_working_set_is_the_limit(facts: Facts) -> None:
    found = limits(facts)
    assert found
    assert found.memory == facts["max_recommended_working_set_size"]
    assert found.cache == min(GIB, found.memory // 16)


@pytest.mark.parametrize("mac", WORKING_SETS, ids=lambda mac: f"{mac.chip}, {mac.memory // GIB} GB")
def test_so_it_is_on_every_mac_that_is_on_record(mac: Recorded) -> None:
    found = limits({"max_recommended_working_set_size": mac.working_set, "memory_size": mac.memory})
    assert found
    assert found.memory == mac.working_set
    assert mac.memory - found.memory >= mac.memory // 8  # what is left to everything else


def test_a_limit_that_the_owner_raised_counts_as_far_as_it_leaves_the_system_its_share() -> None:
    within, beyond = (limits(facts) for facts in RAISED.values())
    assert within == Limits(57_344 * MIB, GIB)
    assert beyond == Limits(120 * GIB, GIB)


@pytest.mark.parametrize("facts", DEVICES.values(), ids=DEVICES)
def test_raised_beyond_reason_it_leaves_the_system_its_share(facts: Facts) -> None:
    """What `sysctl iogpu.wired_limit_mb` sets may be any number."""
    total = int(facts["memory_size"])
    found = limits(facts | {"max_recommended_working_set_size": total})
    assert found
    assert found.memory == total - max(2 * GIB, total // 16)


@pytest.mark.parametrize("facts", DEVICES.values(), ids=DEVICES)
def test_no_array_of_magistral_is_larger_than_metal_allows_one_to_be(facts: Facts) -> None:
    """On Macs that could hold it at all: the largest is the embedding of a build in 16 bits."""
    largest = 131_072 * 5_120 * 2
    assert largest < int(facts["max_buffer_length"])


def test_the_program_hears_of_the_gpu_what_it_needs() -> None:
    assert devices.metal(DEVICES["48 GB"]) == {"name": "Apple M4 Pro", "working_set": 40_200_896_512}
    assert devices.metal(LINUX) == devices.metal({"max_recommended_working_set_size": 0}) == {}


def test_a_small_mac_keeps_few_freed_buffers() -> None:
    found = limits({"max_recommended_working_set_size": 5_726_623_061, "memory_size": 8 * GIB})
    assert found == Limits(5_726_623_061, 5_726_623_061 // 16)


@pytest.mark.parametrize(
    "facts",
    [{}, LINUX, {"max_recommended_working_set_size": 0}, {"max_recommended_working_set_size": "much"}],
)
def test_a_device_that_states_nothing_is_held_to_nothing(facts: dict[str, str | int]) -> None:
    assert limits(facts) is None


def test_what_a_machine_without_a_limit_has_free() -> None:
    assert 0 <= mlx_memory.free() < psutil.virtual_memory().total


def test_what_does_not_fit_is_said_with_the_numbers() -> None:
    error = mlx_memory.does_not_fit("Magistral", 40_960, 22 * GIB, 21 * GIB)
    assert error.exit_code == 4
    assert error.what == "Magistral with a context of 40,960 tokens needs 22.0 GiB, and there may be 21.0."
    assert "--ctx" in error.todo
