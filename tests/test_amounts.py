"""Bytes and seconds are rounded into the unit that people would say."""

from __future__ import annotations

import pytest

from localmag import amounts


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (119, "119 B"),
        (2_148, "2.1 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (19_400_000, "19.4 MB"),
        (999_999_999, "1.0 GB"),
        (14_328_893_536, "14.3 GB"),
    ],
)
def test_sizes(count: int, said: str) -> None:
    assert amounts.size(count) == said


def test_parts_are_in_the_unit_of_the_whole() -> None:
    assert amounts.part(6_200_000_000, 14_300_000_000) == "6.2 of 14.3 GB"
    assert amounts.part(1_000, 14_300_000_000) == "0.0 of 14.3 GB"
    assert amounts.part(3, 119) == "3 of 119 B"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "1 s"),
        (40.2, "40 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (720, "12 min"),
        (59.6 * 60, "1 h 00 min"),
        (200 * 60, "3 h 20 min"),
        (49 * 3600, "2 days"),
    ],
)
def test_times_to_come(seconds: float, said: str) -> None:
    assert amounts.left(seconds) == said


def test_memory_is_in_powers_of_two() -> None:
    assert amounts.memory(24 * 2**30) == "24.0 GiB"
