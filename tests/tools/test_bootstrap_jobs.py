"""Setting up: the Python that is used, what is said meanwhile, and the jobs of the Makefile."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.bootstrap import __main__ as jobs
from tools.bootstrap import environment
from tools.bootstrap.environment import Environment, SetupError, find_python
from tools.bootstrap.pip import failure, pip, stage

ROOT = Path(__file__).resolve().parents[2]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


# ── Finding a Python ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(os.name == "nt", reason="shims are shell scripts here")
def test_the_first_python_that_works_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {
        "python3.13": 'echo "pyenv: python3.13: command not found" >&2; exit 127',
        "python3.12": "echo True; echo 'No module named ensurepip' >&2; exit 1",
        "python3.11": f'exec "{sys.executable}" "$@"',
        "python3": "echo must not be asked; exit 0",
    }
    for name, body in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", "/a/virtual/environment")
    assert find_python() == "python3.11"
    (tmp_path / "python3.11").unlink()
    with pytest.raises(SetupError, match="python3-venv"):
        find_python()
    (tmp_path / "python3.12").unlink()
    with pytest.raises(SetupError, match=r"Python 3\.11 or newer"):
        find_python()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tools" / "bootstrap").glob("*.py")), ids=lambda path: path.name
)
def test_an_old_python_can_read_it(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("started", ["tools/bootstrap", "tools/bootstrap/__main__.py"])
def test_it_starts_by_its_path_in_any_folder(tmp_path: Path, started: str) -> None:
    command = [sys.executable, str(ROOT / started), "help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "talk to a model" in done.stderr


class Running(Environment):
    """The environment of this very test."""

    @property
    def python(self) -> Path:
        return Path(sys.executable)


def test_a_sound_environment_is_kept_and_a_broken_or_moved_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find() -> str:
        raise SetupError("asked for a Python")

    monkeypatch.setattr(environment, "find_python", find)
    Running(tmp_path).create()
    Running(tmp_path).note.write_text('{"folder": "/elsewhere"}')
    with pytest.raises(SetupError, match="asked for a Python"):
        Running(tmp_path).create()
    broken = Environment(tmp_path / ".venv")
    broken.python.parent.mkdir(parents=True)
    broken.python.write_text("this is no Python")
    with pytest.raises(SetupError, match="asked for a Python"):
        broken.create()


# ── What is said ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Collecting textual<9,>=8.2.6 (from localmag==0.1.0)", "fetching textual"),
        ("  Downloading llama_cpp_python-0.3.36.tar.gz (76.6 MB)", "fetching llama_cpp_python-0.3.36.tar.gz"),
        (
            "  Building wheel for llama-cpp-python (pyproject.toml): started",
            "compiling llama.cpp (once per machine; about 7 minutes on 2 cores)",
        ),
        (
            "  [54/193] /usr/bin/g++ -DGGML_BACKEND_SHARED -o x",
            "compiling llama.cpp: 54 of 193 steps",
        ),
        ("Installing collected packages: a, b", "putting the packages in place"),
        ("  Requirement already satisfied: pip", ""),
        ("", ""),
    ],
)
def test_the_log_s_lines_tell_the_stage(line: str, said: str) -> None:
    assert stage(line) == said


@pytest.mark.parametrize(
    ("line", "todo"),
    [
        ("CMake Error: CMAKE_CXX_COMPILER not set, after EnableLanguage", "C++ compiler is missing"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk"),
        ("g++: fatal error: Killed signal terminated program cc1plus", "memory"),
        ("ERROR: No matching distribution found for textual==8.2.8", "package index"),
        ("ERROR: something never seen", "run this again"),
    ],
)
def test_a_failure_shows_its_cause_and_a_remedy(line: str, todo: str) -> None:
    noise = [f"  [{step}/193] /usr/bin/g++ -o {step}" for step in range(190)]
    text = failure(["$ pip install", line, *noise, "the last line"], Path("install.log"))
    assert line in text
    assert "the last line" in text
    assert todo in text
    assert "[100/193]" not in text


@pytest.mark.parametrize(
    ("system", "todo"), [("darwin", "macOS 14"), ("linux", "package index"), ("win32", "package index")]
)
def test_only_a_mac_is_told_of_macos(system: str, todo: str) -> None:
    line = "ERROR: No matching distribution found for mlx-metal==0.32.4"
    text = failure([line], Path("install.log"), system)
    assert todo in text
    assert ("macOS" in text) == (system == "darwin")


def make(*args: str) -> subprocess.CompletedProcess[str]:
    """Runs make as from a shell, though `make test ARGS=...` may have started the tests."""
    shell = {name: value for name, value in os.environ.items() if name not in ("ARGS", "Q", "PYTHON")}
    return subprocess.run(
        ["make", "-s", *args], cwd=ROOT, env=shell, capture_output=True, text=True, timeout=30, check=False
    )


@needs_make
def test_make_help_names_every_job() -> None:
    said = make().stdout
    for job in jobs.JOBS:
        assert f"make {job}" in said


@needs_make
def test_make_hands_on_what_was_typed_and_says_nothing_itself() -> None:
    question = """What's $5 + $(6) in "euros"?"""
    assert make("PYTHON=echo", "ask", f"Q={question}").stdout == f"-m tools.bootstrap ask {question}\n"
    assert make("PYTHON=echo", "ask").stdout == "-m tools.bootstrap ask\n"
    assert (
        make("PYTHON=echo", "chat", "ARGS=demo --temp 0").stdout == "-m tools.bootstrap chat demo --temp 0\n"
    )


@needs_make
def test_make_without_a_python_says_so() -> None:
    done = make("PYTHON=", "chat")
    assert done.returncode != 0
    assert "Install Python 3.11 or newer" in done.stderr


def test_an_unknown_job_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert jobs.main(["caht"]) == 2
    assert "chat " in capsys.readouterr().err


def test_a_real_pip_that_fails_is_read_from_its_log(tmp_path: Path) -> None:
    here = Running(tmp_path / ".venv")
    pip(here, "install", "--no-index", "pip")
    with pytest.raises(SetupError, match="No matching distribution found for no-such-package") as caught:
        pip(here, "install", "--no-index", "no-such-package")
    assert str(here.log) in str(caught.value)


# ── What the repository promises ──────────────────────────────────────────────────────────────────


def test_what_guards_a_change_is_what_the_readme_says() -> None:
    ci = ROOT / ".ci" / "run"
    said = ci.read_text("utf-8").splitlines()
    assert {"make check", "make test"} <= set(said)
    assert "$ make test" in (ROOT / "README.md").read_text("utf-8").splitlines()
    assert os.name == "nt" or os.access(ci, os.X_OK)


def test_clean_removes_what_can_be_made_again_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = (".venv/bin/python", "build/wheels/cuda/x.whl", "build/bench/100m.gguf", "build/install.log")
    hours = ("build/demo-model/checkpoint.pt", "localmag/demo/demo-Q8_0.gguf", "notes.txt")
    for name in (*again, *hours):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(jobs, "ROOT", tmp_path)
    assert jobs.main(["clean"]) == 0
    assert [name for name in again if (tmp_path / name).exists()] == []
    assert [name for name in hours if not (tmp_path / name).exists()] == []
    assert jobs.main(["clean"]) == 0
