"""That every bench can be run, not what it measures."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from tests.conftest import ROOT, Demo
from tools.bench.__main__ import NAMES


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("program", "names"), [("tools.bench", NAMES), ("tools.bench.fit", ("small", "asked", "full"))]
)
def test_an_unknown_one_is_told_which_there_are(program: str, names: tuple[str, ...]) -> None:
    done = bench(program, "nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert all(name in done.stderr for name in ("nope", *names))


def test_every_name_has_its_rows() -> None:
    assert sorted(NAMES) == sorted(
        path.stem
        for path in (ROOT / "tools" / "bench").glob("*.py")
        if "def rows(" in path.read_text("utf-8") and path.stem != "fit"  # `make bench-fit` has its own table
    )
    for name in NAMES:
        assert callable(import_module(f"tools.bench.{name}").rows)


def test_a_table_has_the_numbers_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    startup = import_module("tools.bench.startup")
    monkeypatch.setattr(startup, "ROUNDS", 1)
    monkeypatch.setattr(startup.shutil, "which", lambda name: None)  # make may set things up first
    (what, ours, beside, ratio, wanted), *_ = startup.rows()
    assert what == "start-up: localmag --version / python -c pass"
    assert float(ours.split()[0]) / float(beside.split()[0]) == pytest.approx(float(ratio), rel=0.2)
    assert "0.15 s" in wanted


@pytest.mark.parametrize("backend", ["llama.cpp", "mlx"])
def test_the_bare_loops_decode(demo: Demo, backend: str) -> None:
    weights = demo.mlx if backend == "mlx" else demo.weights
    done = bench("tools.bench.decode", str(weights), "20")
    assert float(done.stdout) > 0, done.stderr
