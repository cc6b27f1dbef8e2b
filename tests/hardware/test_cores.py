from __future__ import annotations

import os
from pathlib import Path

import pytest

from localmag.hardware.cores import _linux, physical_cores


@pytest.fixture
def cpus(tmp_path: Path) -> Path:
    """Four cores of two hardware threads each, numbered as Linux does: 0 and 4 are one core."""
    for cpu in range(8):
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    return tmp_path


NO_QUOTA = Path("/nonexistent/cpu.max")


def test_two_threads_of_one_core_count_once(cpus: Path) -> None:
    assert _linux(set(range(8)), cpus, NO_QUOTA) == 4


def test_only_the_cores_this_process_may_use_count(cpus: Path) -> None:
    assert _linux({0, 4, 1}, cpus, NO_QUOTA) == 2


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 4)],
)
def test_a_containers_quota_counts(cpus: Path, tmp_path: Path, quota: str, expected: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota + "\n")
    assert _linux(set(range(8)), cpus, file) == expected


def test_without_topology_every_cpu_is_a_core(tmp_path: Path) -> None:
    assert _linux({0, 1, 2}, tmp_path, NO_QUOTA) == 3


def test_this_machine_has_at_least_one() -> None:
    assert 1 <= physical_cores() <= (os.cpu_count() or 1)
