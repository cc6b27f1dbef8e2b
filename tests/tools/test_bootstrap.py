"""Setting up: what is installed when, what is said, and what is left alone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from localmag.hardware import rebuild
from tools.bootstrap import __main__ as jobs
from tools.bootstrap import accelerator, environment, install
from tools.bootstrap.environment import Environment, SetupError
from tools.bootstrap.install import noted_choice, ready, set_up

CPU = accelerator.Choice("cpu", "found no GPU")
CUDA = accelerator.Choice("cuda", "found a card", ("-DGGML_CUDA=on", "-DCMAKE_CUDA_ARCHITECTURES=89"))


class Pip:
    """Stands where pip would be started: notes what it is asked for, and fails where told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.variables: list[dict[str, str]] = []
        self.fails_to: str = ""
        self.fails_for: str = ""

    def __call__(self, environment: Environment, *args: str, **variables: str) -> None:
        self.asked.append(args)
        self.variables.append(variables)
        if args[0] == self.fails_to or args[-1] == self.fails_for:
            raise SetupError("It did not compile.")
        if args[0] == "wheel":
            folder = Path(args[args.index("-w") + 1])
            folder.mkdir(parents=True)
            (folder / "llama_cpp_python-0.3.36-py3-none-any.whl").touch()

    def did(self, command: str) -> bool:
        return any(args[0] == command for args in self.asked)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """The environment of an otherwise empty project."""
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("jinja2==3.1.6\nllama-cpp-python==0.3.36\n")
    here = Environment(tmp_path / ".venv")
    here.python.parent.mkdir(parents=True)
    here.python.touch()
    monkeypatch.setattr(Environment, "create", lambda self: None)
    return here


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Pip:
    fake = Pip()
    monkeypatch.setattr(install, "pip", fake)
    return fake


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[accelerator.Choice], None]:
    """Makes this machine one for which `choice` is right."""

    def be(choice: accelerator.Choice) -> None:
        monkeypatch.setattr(accelerator, "choose", lambda *_, **__: choice)

    be(CPU)
    return be


# ── What is installed when ────────────────────────────────────────────────────────────────────────


def test_a_plain_build_is_one_call_of_pip(
    here: Environment, fake: Pip, machine: object, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(here)
    assert fake.asked == [("install", "-c", "constraints.txt", "-e", ".")]
    assert str(here.program) in capsys.readouterr().err.splitlines()[-1]


def test_the_second_run_starts_nothing(
    here: Environment, fake: Pip, machine: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(here)
    fake.asked.clear()
    monkeypatch.setattr(subprocess, "Popen", None)
    set_up(here)
    assert not fake.asked


def test_tools_come_on_top_and_the_program_needs_them_not(
    here: Environment, fake: Pip, machine: object
) -> None:
    set_up(here)
    assert not ready(here, "dev")
    set_up(here, "dev")
    assert fake.asked[-1][-1] == ".[dev]"
    assert ready(here, "dev")
    assert ready(here)


@pytest.mark.parametrize(
    ("job", "with_mlx", "without"),
    [("test", "dev,mlx-cpu", "dev"), ("install", "mlx-cpu", ""), ("chat", "", ""), ("ask", "", "")],
)
def test_mlx_comes_along_where_it_runs_without_a_mac(
    monkeypatch: pytest.MonkeyPatch, job: str, with_mlx: str, without: str
) -> None:
    for there, extra in ((True, with_mlx), (False, without)):
        monkeypatch.setattr(jobs, "has_mlx_cpu", lambda there=there: there)
        assert jobs.extras(job) == extra


@pytest.mark.parametrize(
    ("system", "machine", "libc", "there"),
    [
        ("linux", "x86_64", ("glibc", "2.36"), True),
        ("linux", "aarch64", ("glibc", "2.35"), True),
        ("linux", "x86_64", ("glibc", "2.31"), False),
        ("linux", "x86_64", ("", ""), False),
        ("linux", "riscv64", ("glibc", "2.39"), False),
        ("darwin", "arm64", ("", ""), False),
        ("win32", "AMD64", ("", ""), False),
    ],
)
def test_where_mlx_runs_without_a_mac(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: tuple[str, str], there: bool
) -> None:
    """The program, which offers it where it is missing, knows the same."""
    monkeypatch.setattr(install.sys, "platform", system)
    monkeypatch.setattr(install.platform, "machine", lambda: machine)
    monkeypatch.setattr(install.platform, "libc_ver", lambda: libc)
    assert install.has_mlx_cpu() is there
    if system != "darwin":
        assert bool(rebuild.mlx(system=system, arch=machine, libc=libc)) is there


def test_where_mlx_cannot_be_installed_the_rest_is(
    here: Environment, fake: Pip, machine: object, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fails_for = ".[dev,mlx-cpu]"
    set_up(here, "dev,mlx-cpu")
    assert fake.asked[-1][-1] == ".[dev]"
    assert ready(here, "dev,mlx-cpu")
    assert "going on without" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_installs_again(
    name: str, here: Environment, fake: Pip, machine: object
) -> None:
    set_up(here, "dev")
    with (here.root / name).open("a") as file:
        file.write("# changed\n")
    assert not ready(here)
    assert not ready(here, "dev")


def test_a_gpu_build_goes_round_pip_s_cache_and_is_kept(
    here: Environment, fake: Pip, machine: Callable[[accelerator.Choice], None]
) -> None:
    machine(CUDA)
    set_up(here)
    build, place, rest = fake.asked
    assert build[:2] == ("wheel", "--no-cache-dir")
    assert fake.variables[0] == {"CMAKE_ARGS": "-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=89"}
    assert "--force-reinstall" in place
    assert place[-1].endswith(".whl")
    assert rest[0] == "install"
    here.note.unlink()
    fake.asked.clear()
    set_up(here)
    assert [args[0] for args in fake.asked] == ["install", "install"]


def test_the_same_choice_builds_nothing_again(
    here: Environment, fake: Pip, machine: Callable[[accelerator.Choice], None]
) -> None:
    machine(CUDA)
    set_up(here)
    fake.asked.clear()
    set_up(here, again=True)
    assert fake.asked == [("install", "-c", "constraints.txt", "-e", ".")]


def test_a_new_version_of_llama_cpp_is_built_for_the_same_gpu(
    here: Environment, fake: Pip, machine: Callable[[accelerator.Choice], None]
) -> None:
    machine(CUDA)
    set_up(here)
    (here.root / "constraints.txt").write_text("llama-cpp-python==0.3.37\n")
    fake.asked.clear()
    set_up(here)
    assert fake.asked[0][-1] == "llama-cpp-python==0.3.37"
    assert fake.did("wheel")


def test_a_changed_machine_is_seen_by_install_only(
    here: Environment, fake: Pip, machine: Callable[[accelerator.Choice], None]
) -> None:
    set_up(here)
    machine(CUDA)
    (here.root / "pyproject.toml").write_text("# a new version\n")
    set_up(here)
    assert not fake.did("wheel")
    set_up(here, again=True)
    assert fake.did("wheel")


def test_going_back_to_the_cpu_puts_the_plain_build_in_place(
    here: Environment, fake: Pip, machine: Callable[[accelerator.Choice], None]
) -> None:
    machine(CUDA)
    set_up(here)
    machine(CPU)
    fake.asked.clear()
    set_up(here, again=True)
    assert fake.asked[0] == ("install", "--force-reinstall", "--no-deps", "llama-cpp-python==0.3.36")


def test_a_gpu_build_that_fails_ends_in_a_cpu_build(
    here: Environment,
    fake: Pip,
    machine: Callable[[accelerator.Choice], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine(CUDA)
    fake.fails_to = "wheel"
    set_up(here)
    noted = noted_choice(here)
    assert noted is not None
    assert noted.backend == "cpu"
    assert "It did not compile." in capsys.readouterr().err
    fake.asked.clear()
    set_up(here)
    assert not fake.asked


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this machine an M2, as far as the set-up looks."""
    probe = accelerator.Probe("Darwin", "arm64", "23.6.0", clang=accelerator.Output("/usr/bin/clang\n"))
    monkeypatch.setattr(accelerator, "probe", lambda: probe)
    monkeypatch.setattr(install.sys, "platform", "darwin")
    monkeypatch.setattr(install.platform, "machine", lambda: "arm64")


PROGRAM = ("install", "-c", "constraints.txt", "-e", ".")


def test_a_mac_compiles_nothing_unless_asked(
    here: Environment,
    fake: Pip,
    mac: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up(here)
    assert fake.asked == [PROGRAM]
    assert "LOCALMAG_BACKEND=metal make install" in capsys.readouterr().err
    monkeypatch.setenv("LOCALMAG_BACKEND", "metal")
    set_up(here, again=True)
    assert fake.asked[-1] == (*PROGRAM[:-1], ".[llama-cpp]")
    monkeypatch.delenv("LOCALMAG_BACKEND")
    fake.asked.clear()
    set_up(here)
    assert not fake.asked


def test_what_a_mac_was_asked_for_once_stays(
    here: Environment, fake: Pip, mac: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALMAG_BACKEND", "metal")
    set_up(here)
    monkeypatch.delenv("LOCALMAG_BACKEND")
    fake.asked.clear()
    set_up(here, again=True)
    assert fake.asked == [(*PROGRAM[:-1], ".[llama-cpp]")]


def test_the_tools_bring_llama_cpp_to_a_mac(here: Environment, fake: Pip, mac: None) -> None:
    set_up(here)
    set_up(here, "dev")
    assert fake.asked[-1] == (*PROGRAM[:-1], ".[dev,llama-cpp]")
    assert ready(here, "dev")
    assert ready(here)


def test_prebuilt_wheels_bring_llama_cpp_to_a_mac_without_a_compiler(
    here: Environment, fake: Pip, mac: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALMAG_LLAMA_INDEX", "file:///wheels")
    set_up(here)
    llama, program = fake.asked
    assert llama[-3:] == ("--extra-index-url", "file:///wheels", "llama-cpp-python==0.3.36")
    assert program[-1] == ".[llama-cpp]"


def test_what_does_not_compile_on_a_mac_is_not_tried_twice(
    here: Environment, fake: Pip, mac: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(here)
    monkeypatch.setenv("LOCALMAG_BACKEND", "metal")
    fake.asked.clear()
    fake.fails_to = "install"
    with pytest.raises(SetupError):
        set_up(here)
    assert len(fake.asked) == 1
    monkeypatch.delenv("LOCALMAG_BACKEND")
    assert ready(here)


def test_mlx_is_for_macs(here: Environment, fake: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALMAG_BACKEND", "mlx")
    linux = accelerator.Probe("Linux", "x86_64", "6.8")
    monkeypatch.setattr(accelerator, "probe", lambda: linux)
    with pytest.raises(SetupError, match="Apple silicon"):
        set_up(here)
    assert not fake.asked


def test_asking_for_another_backend_is_obeyed_and_remembered(
    here: Environment, fake: Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALMAG_BACKEND", "cpu")
    set_up(here)
    monkeypatch.setenv("LOCALMAG_BACKEND", "Vulkan")
    set_up(here)
    assert fake.variables[-3] == {"CMAKE_ARGS": "-DGGML_VULKAN=on"}
    monkeypatch.delenv("LOCALMAG_BACKEND")
    fake.asked.clear()
    set_up(here)
    assert not fake.asked


def test_a_misspelt_backend_is_told_before_anything_is_installed(
    here: Environment, fake: Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALMAG_BACKEND", "cudda")
    with pytest.raises(SetupError, match="cpu, cuda, vulkan"):
        set_up(here)
    assert not fake.asked


def test_an_index_of_wheels_is_handed_to_pip(
    here: Environment, fake: Pip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALMAG_LLAMA_INDEX", "file:///wheels")
    set_up(here)
    assert fake.asked[0][-3:-1] == ("--extra-index-url", "file:///wheels")


def test_a_failed_install_is_no_install(here: Environment, fake: Pip, machine: object) -> None:
    fake.fails_to = "install"
    with pytest.raises(SetupError):
        set_up(here)
    assert not ready(here)


def test_one_set_up_at_a_time(here: Environment) -> None:
    lock = here.root / "build" / "install.lock"
    with here.alone(), lock.open("w") as other:
        assert not environment.try_lock(other.fileno())
    with lock.open("w") as other:
        assert environment.try_lock(other.fileno())


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


def test_a_choice_noted_by_another_version_is_made_anew(
    here: Environment, fake: Pip, machine: object
) -> None:
    here.write(choice={"backend": "cpu", "flavour": "plain"})
    assert noted_choice(here) is None
    set_up(here)
    assert noted_choice(here) == CPU
