"""What control groups leave a process, as both versions of them write it down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localmag.hardware.limits import Limit, memory_limit

MIB = 2**20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(f"{text}\n")


def own(root: Path, text: str) -> Path:
    file = root.parent / "own"
    file.write_text(text)
    return file


def test_version_2_caches_are_free(root: Path) -> None:
    group(root / "a", max=str(1000 * MIB), current=str(600 * MIB), stat=f"anon 5\ninactive_file {200 * MIB}")
    assert memory_limit(root, own(root, "0::/a\n")) == Limit(1000 * MIB, 600 * MIB)


def test_the_tightest_of_a_group_and_those_around_it(root: Path) -> None:
    group(root / "a", max=str(500 * MIB), current=str(400 * MIB))
    group(root / "a" / "b", max=str(800 * MIB), current=str(300 * MIB))
    assert memory_limit(root, own(root, "0::/a/b\n")) == Limit(500 * MIB, 100 * MIB)


def test_no_limit(root: Path) -> None:
    group(root / "a", max="max", current=str(600 * MIB))
    assert memory_limit(root, own(root, "0::/a\n")) is None


def test_a_container_that_sees_its_group_as_the_root(root: Path) -> None:
    group(root, max=str(900 * MIB), current=str(100 * MIB))
    assert memory_limit(root, own(root, "0::/kubepods/pod1/box\n")) == Limit(900 * MIB, 800 * MIB)


def test_a_container_whose_group_lies_beside_its_root(root: Path) -> None:
    group(root, max=str(900 * MIB), current=str(100 * MIB))
    assert memory_limit(root, own(root, "0::/../other\n")) == Limit(900 * MIB, 800 * MIB)


def test_version_1(root: Path) -> None:
    folder = root / "memory" / "docker" / "x"
    group(folder, limit_in_bytes=str(700 * MIB), usage_in_bytes=str(300 * MIB), stat="total_inactive_file 0")
    lines = "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/\n"
    assert memory_limit(root, own(root, lines)) == Limit(700 * MIB, 400 * MIB)


def test_version_1_without_a_limit(root: Path) -> None:
    group(root / "memory", limit_in_bytes="9223372036854771712", usage_in_bytes="5")
    assert memory_limit(root, own(root, "4:memory:/\n")) is None


def test_one_over_its_limit_has_nothing_left(root: Path) -> None:
    group(root, max=str(100 * MIB), current=str(150 * MIB))
    assert memory_limit(root, own(root, "0::/\n")) == Limit(100 * MIB, 0)


@pytest.mark.parametrize("text", ["", "\n\n", "nonsense", "0", "0::", "::::"])
def test_nonsense_is_no_limit(root: Path, text: str) -> None:
    assert memory_limit(root, own(root, text)) is None


def test_systems_without_control_groups_have_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path / "none", tmp_path / "neither") is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit is none, or not kept to")
def test_addresses_are_what_ulimit_leaves() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30));"
        "from localmag.hardware.limits import addresses; print(addresses())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 6 << 30 < int(said) < 8 << 30
