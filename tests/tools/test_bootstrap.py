"""Setting up: what is installed when, what is said, and what is left alone."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import accelerator, bootstrap
from tools.bootstrap import Environment, SetupError, failure, stage

ROOT = Path(__file__).resolve().parents[2]
CPU = accelerator.Choice("cpu", "found no GPU")
CUDA = accelerator.Choice("cuda", "found a card", ("-DGGML_CUDA=on", "-DCMAKE_CUDA_ARCHITECTURES=89"))


class Pip:
    """Stands where pip would be started: notes what it is asked for, and fails where told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.variables: list[dict[str, str]] = []
        self.fails_to: str = ""

    def __call__(self, *args: str, environment: Environment | None = None, **variables: str) -> None:
        self.asked.append(args)
        self.variables.append(variables)
        if self.fails_to and args[0] == self.fails_to:
            raise SetupError("It did not compile.")
        if args[0] == "wheel":
            folder = Path(args[args.index("-w") + 1])
            folder.mkdir(parents=True)
            (folder / "llama_cpp_python-0.3.36-py3-none-any.whl").touch()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project whose environment is there already."""
    for name in ("LOCALMAG_BACKEND", "LOCALMAG_LLAMA_INDEX", "CMAKE_ARGS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("jinja2==3.1.6\nllama-cpp-python==0.3.36\n")
    main = Environment(tmp_path / ".venv")
    main.python.parent.mkdir(parents=True)
    main.python.touch()
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "MAIN", main)
    monkeypatch.setattr(Environment, "create", lambda self: None)
    return tmp_path


@pytest.fixture
def pip(project: Path, monkeypatch: pytest.MonkeyPatch) -> Pip:
    pip = Pip()
    monkeypatch.setattr(bootstrap, "pip", pip)
    return pip


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[accelerator.Choice], None]:
    """Makes this machine one for which `choice` is right."""

    def be(choice: accelerator.Choice) -> None:
        monkeypatch.setattr(accelerator, "choose", lambda *_: choice)

    be(CPU)
    return be


# ── What is installed when ────────────────────────────────────────────────────────────────────────


def test_a_plain_build_is_one_call_of_pip(pip: Pip, machine: object) -> None:
    bootstrap.set_up()
    assert pip.asked == [("install", "-c", "constraints.txt", "-e", ".")]


def test_the_second_run_starts_nothing(pip: Pip, machine: object, monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap.set_up()
    pip.asked.clear()
    monkeypatch.setattr(subprocess, "Popen", None)
    bootstrap.set_up()
    assert not pip.asked


def test_tools_come_on_top_and_the_program_needs_them_not(pip: Pip, machine: object) -> None:
    bootstrap.set_up()
    assert not bootstrap.ready("dev", "")
    bootstrap.set_up("dev")
    assert pip.asked[-1][-1] == ".[dev]"
    assert bootstrap.ready("dev", "")
    assert bootstrap.ready("", "")


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_installs_again(name: str, pip: Pip, machine: object, project: Path) -> None:
    bootstrap.set_up("dev")
    with (project / name).open("a") as file:
        file.write("# changed\n")
    assert not bootstrap.ready("", "")
    assert not bootstrap.ready("dev", "")


def test_a_gpu_build_goes_round_pip_s_cache_and_is_kept(
    pip: Pip, machine: Callable[[accelerator.Choice], None], project: Path
) -> None:
    machine(CUDA)
    bootstrap.set_up()
    build, place, rest = pip.asked
    assert build[:2] == ("wheel", "--no-cache-dir")
    assert pip.variables[0] == {"CMAKE_ARGS": "-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=89"}
    assert "--force-reinstall" in place
    assert place[-1].endswith(".whl")
    assert rest[0] == "install"
    bootstrap.MAIN.note.unlink()
    pip.asked.clear()
    bootstrap.set_up()
    assert [args[0] for args in pip.asked] == ["install", "install"]


def test_the_same_choice_builds_nothing_again(
    pip: Pip, machine: Callable[[accelerator.Choice], None]
) -> None:
    machine(CUDA)
    bootstrap.set_up()
    pip.asked.clear()
    bootstrap.set_up(again=True)
    assert pip.asked == [("install", "-c", "constraints.txt", "-e", ".")]


def test_a_changed_machine_is_seen_by_install_only(
    pip: Pip, machine: Callable[[accelerator.Choice], None], project: Path
) -> None:
    bootstrap.set_up()
    machine(CUDA)
    (project / "pyproject.toml").write_text("# a new version\n")
    bootstrap.set_up()
    assert not [args for args in pip.asked if args[0] == "wheel"]
    bootstrap.set_up(again=True)
    assert [args for args in pip.asked if args[0] == "wheel"]


def test_going_back_to_the_cpu_puts_the_plain_build_in_place(
    pip: Pip, machine: Callable[[accelerator.Choice], None]
) -> None:
    machine(CUDA)
    bootstrap.set_up()
    machine(CPU)
    pip.asked.clear()
    bootstrap.set_up(again=True)
    assert pip.asked[0] == ("install", "--force-reinstall", "--no-deps", "llama-cpp-python==0.3.36")


def test_a_gpu_build_that_fails_ends_in_a_cpu_build(
    pip: Pip, machine: Callable[[accelerator.Choice], None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine(CUDA)
    pip.fails_to = "wheel"
    bootstrap.set_up()
    noted = bootstrap.noted_choice()
    assert noted is not None
    assert noted.backend == "cpu"
    assert "It did not compile." in capsys.readouterr().err
    pip.asked.clear()
    bootstrap.set_up()
    assert not pip.asked


def test_asking_for_another_backend_is_obeyed_and_remembered(
    pip: Pip, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALMAG_BACKEND", "cpu")
    bootstrap.set_up()
    monkeypatch.setenv("LOCALMAG_BACKEND", "Vulkan")
    bootstrap.set_up()
    assert pip.variables[-3] == {"CMAKE_ARGS": "-DGGML_VULKAN=on"}
    monkeypatch.delenv("LOCALMAG_BACKEND")
    pip.asked.clear()
    bootstrap.set_up()
    assert not pip.asked


def test_a_misspelt_backend_is_told_before_anything_is_installed(
    pip: Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALMAG_BACKEND", "cudda")
    with pytest.raises(SetupError, match="cpu, cuda, vulkan"):
        bootstrap.set_up()
    assert not pip.asked


def test_an_index_of_wheels_is_handed_to_pip(
    pip: Pip, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALMAG_LLAMA_INDEX", "file:///wheels")
    bootstrap.set_up()
    assert pip.asked[0][-3:-1] == ("--extra-index-url", "file:///wheels")


def test_a_failed_install_is_no_install(pip: Pip, machine: object) -> None:
    pip.fails_to = "install"
    with pytest.raises(SetupError):
        bootstrap.set_up()
    assert not bootstrap.ready("", "")


def test_one_set_up_at_a_time(project: Path) -> None:
    with bootstrap.locked(), (project / "build" / "install.lock").open("w") as other:
        assert not bootstrap._try_lock(other.fileno())
    with (project / "build" / "install.lock").open("w") as other:
        assert bootstrap._try_lock(other.fileno())


# ── The note ──────────────────────────────────────────────────────────────────────────────────────


def test_a_note_is_kept_and_added_to(tmp_path: Path) -> None:
    Environment(tmp_path).write(run="1")
    Environment(tmp_path).write(dev="2")
    assert Environment(tmp_path).read() == {"folder": str(tmp_path), "run": "1", "dev": "2"}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"text"', "null", "\0", '{"folder": "/elsewhere", "run": "1"}']
)
def test_a_damaged_or_moved_note_counts_for_nothing(text: str, tmp_path: Path) -> None:
    Environment(tmp_path).note.write_text(text)
    assert Environment(tmp_path).read() == {}


def test_a_choice_noted_by_another_version_is_made_anew(pip: Pip, machine: object) -> None:
    bootstrap.MAIN.write(choice={"backend": "cpu", "flavour": "plain"})
    assert bootstrap.noted_choice() is None
    bootstrap.set_up()
    assert bootstrap.noted_choice() == CPU


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
    assert bootstrap.find_python() == ["python3.11"]
    (tmp_path / "python3.11").unlink()
    with pytest.raises(SetupError, match="python3-venv"):
        bootstrap.find_python()
    (tmp_path / "python3.12").unlink()
    with pytest.raises(SetupError, match=r"Python 3\.11 or newer"):
        bootstrap.find_python()


@pytest.mark.parametrize("name", ["bootstrap.py", "accelerator.py"])
def test_an_old_python_can_read_it(name: str) -> None:
    ast.parse((ROOT / "tools" / name).read_text("utf-8"), feature_version=(3, 8))


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
    text = failure(["$ pip install", line, *noise, "the last line"])
    assert line in text
    assert "the last line" in text
    assert todo in text
    assert "[100/193]" not in text


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_make_help_names_every_job() -> None:
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    for job in bootstrap.JOBS:
        assert f"make {job}" in done.stdout


def test_an_unknown_job_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main(["caht"]) == 2
    assert "chat " in capsys.readouterr().err


def test_a_real_pip_that_fails_is_read_from_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Environment(Path(sys.prefix))
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    bootstrap.pip("install", "--no-index", "pip", environment=here)
    with pytest.raises(SetupError, match="No matching distribution found for no-such-package") as caught:
        bootstrap.pip("install", "--no-index", "no-such-package", environment=here)
    assert "install.log" in str(caught.value)
