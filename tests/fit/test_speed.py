"""Tokens per second to expect: bandwidth over bytes, where the bandwidth is known."""

from __future__ import annotations

import pytest

from localmag.fit import speed
from localmag.hardware import Machine


@pytest.mark.parametrize(
    ("name", "gbps"),
    [
        ("NVIDIA GeForce RTX 4090", 1008),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 576),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", 256),
        ("NVIDIA GeForce RTX 4060 Ti", 288),
        ("Apple M2", 100),
        ("Apple M2 Pro", 200),
        ("Apple M4 Max", 410),
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", 960),
        ("A card of tomorrow", 0),
    ],
)
def test_the_longest_name_that_fits_decides(name: str, gbps: int) -> None:
    assert speed.bandwidth(name) == gbps * 1e9


def test_memory_that_says_nothing_is_two_channels_of_ddr4() -> None:
    machine = Machine("Linux", "x86_64", "AMD Ryzen 9", 16, 32, 64 * 2**30, 57 * 2**30)
    assert speed.of_memory(machine) == speed.ASSUMED


def test_what_is_read_in_the_slowest_place_takes_the_time() -> None:
    alone = speed.decode([(14 * 10**9, 1000e9)])
    assert alone == pytest.approx(50, rel=0.02)
    assert speed.decode([(13 * 10**9, 1000e9), (10**9, 50e9)]) == pytest.approx(21.2, rel=0.01)


def test_an_unknown_bandwidth_gives_no_number() -> None:
    assert speed.decode([(10**9, 0.0)]) == 0
    assert speed.decode([(0, 0.0), (10**9, 50e9)]) > 0
