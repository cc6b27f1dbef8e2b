"""The house itself: what tests may not reach, what start-up may not import, what the wheel carries."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"textual", "llama_cpp", "mistral_common", "huggingface_hub", "mlx", "mlx_lm"}

CONNECT = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"


def python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=60, check=False)


# ── The fence ─────────────────────────────────────────────────────────────────────────────────────


def test_tests_reach_no_network() -> None:
    with pytest.raises(OSError, match="a test tried to reach"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(OSError, match="a test tried to reach"):
        socket.getaddrinfo("example.invalid", 443)


def test_neither_do_the_programs_they_start() -> None:
    done = python("-c", CONNECT)
    assert done.returncode != 0
    assert "a test tried to reach" in done.stderr


def test_this_machine_stays_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_the_home_folder_is_a_new_one(home: Path) -> None:
    from localmag import paths

    assert Path.home() == home
    assert not list(home.iterdir())
    assert paths.database().is_relative_to(home)


# ── Start-up ──────────────────────────────────────────────────────────────────────────────────────

MODULES_AFTER = """
import runpy, sys
sys.argv = ["localmag", *{args!r}]
try:
    runpy.run_module("localmag", run_name="__main__", alter_sys=True)
except SystemExit as stop:
    assert not stop.code, stop.code
finally:
    print("\\n" + " ".join(sys.modules))
"""


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["chat", "--help"]], ids=" ".join)
def test_start_up_imports_nothing_heavy(args: list[str]) -> None:
    done = python("-c", MODULES_AFTER.format(args=args))
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "localmag" in loaded
    assert not loaded & HEAVY


def test_version_is_quick() -> None:
    """Within 0.15 s where an empty Python takes 0.012 s; both measured here, the best of several."""

    def best(*args: str) -> float:
        walls = []
        for _ in range(7):
            start = time.perf_counter()
            assert python(*args).returncode == 0
            walls.append(time.perf_counter() - start)
        return min(walls)

    slower = max(1.0, best("-c", "pass") / 0.012)
    assert best("-m", "localmag", "--version") < 0.15 * slower


def test_importing_localmag_makes_no_folder(home: Path) -> None:
    everything = "import localmag.types, localmag.paths, localmag.errors, localmag.cli"
    done = python("-c", everything)
    assert done.returncode == 0, done.stderr
    assert not list(home.iterdir())


# ── The maps ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_module_has_its_place_on_the_map(page: str) -> None:
    """The tree at the README's end, and the table of floors."""
    text = (ROOT / page).read_text("utf-8")
    map_ = text[text.index("\n## How the code" if page == "README.md" else "\n## Floors") :]
    modules = {path.stem for path in (ROOT / "localmag").iterdir() if not path.name.startswith("__")}
    assert {name for name in modules if not re.search(rf"\b{name}\b", map_)} == set()


# ── The wheel ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    done = python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_carries_all_that_the_program_reads(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    package = ROOT / "localmag"
    wanted = {p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert {p.relative_to(ROOT).as_posix() for p in wanted} <= names
    assert wheel.read("localmag/models.toml") == (ROOT / "models.toml").read_bytes()


def test_the_wheel_carries_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"localmag"}


def test_the_wheel_is_small(wheel: zipfile.ZipFile) -> None:
    """The demo model is 8 MB at most; the rest is text."""
    demo = [i.file_size for i in wheel.infolist() if i.filename.startswith("localmag/demo/")]
    assert sum(demo) <= 8_000_000


ENVIRONMENTS = {
    "Mac": {"sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix"},
    "Intel Mac": {"sys_platform": "darwin", "platform_machine": "x86_64", "os_name": "posix"},
    "Linux": {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"},
    "Linux on ARM": {"sys_platform": "linux", "platform_machine": "aarch64", "os_name": "posix"},
    "Windows": {"sys_platform": "win32", "platform_machine": "AMD64", "os_name": "nt"},
}


@pytest.mark.parametrize(
    ("machine", "extra", "runners"),
    [
        ("Mac", "", {"mlx-lm"}),
        ("Mac", "llama-cpp", {"mlx-lm", "llama-cpp-python"}),
        ("Intel Mac", "", {"llama-cpp-python"}),
        ("Linux", "", {"llama-cpp-python"}),
        ("Linux", "mlx-cpu", {"mlx-lm[cpu]", "llama-cpp-python"}),
        ("Linux on ARM", "", {"llama-cpp-python"}),
        ("Windows", "", {"llama-cpp-python"}),
        ("Windows", "mlx-cpu", {"llama-cpp-python"}),
    ],
)
def test_each_machine_is_asked_to_install_what_runs_there(
    wheel: zipfile.ZipFile, machine: str, extra: str, runners: set[str]
) -> None:
    """On Apple silicon nothing must be compiled, and llama-cpp-python would be."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    lines = Parser().parsestr(wheel.read(name).decode()).get_all("Requires-Dist", [])
    stated = [Requirement(line) for line in lines]
    asked = [r for r in stated if not r.marker or r.marker.evaluate(ENVIRONMENTS[machine] | {"extra": extra})]
    named = {r.name + (f"[{','.join(r.extras)}]" if r.extras else "") for r in asked}
    assert {name for name in named if name.startswith(("mlx", "llama"))} == runners
    assert {"mistral-common", "huggingface-hub", "textual"} <= named
