"""The rules, on what Macs say of themselves. Nobody has measured them on a Mac: these hold the arithmetic."""

from __future__ import annotations

import psutil
import pytest

from localmag.engines import mlx_memory
from localmag.engines.mlx_memory import GIB, Limits, limits

M2_PRO_32: dict[str, str | int] = {
    "architecture": "applegpu_g14s",
    "device_name": "Apple M2 Pro",
    "max_buffer_length": 17_179_869_184,
    "max_recommended_working_set_size": 22_906_503_168,
    "memory_size": 34_359_738_368,
    "resource_limit": 499_000,
}
M4_MAX_128: dict[str, str | int] = {
    "architecture": "applegpu_g16s",
    "device_name": "Apple M4 Max",
    "max_buffer_length": 86_586_540_032,
    "max_recommended_working_set_size": 115_448_725_504,
    "memory_size": 137_438_953_472,
    "resource_limit": 499_000,
}
LINUX: dict[str, str | int] = {"architecture": "x86_64", "device_name": "AMD EPYC"}


@pytest.mark.parametrize("facts", [M2_PRO_32, M4_MAX_128])
def test_the_working_set_is_the_limit(facts: dict[str, str | int]) -> None:
    found = limits(facts)
    assert found == Limits(int(facts["max_recommended_working_set_size"]), GIB)


@pytest.mark.parametrize("facts", [M2_PRO_32, M4_MAX_128])
def test_raised_beyond_reason_it_leaves_the_system_its_share(facts: dict[str, str | int]) -> None:
    """What `sysctl iogpu.wired_limit_mb` sets may be any number."""
    total = int(facts["memory_size"])
    found = limits(facts | {"max_recommended_working_set_size": total})
    assert found
    assert found.memory == total - max(2 * GIB, total // 16)


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
