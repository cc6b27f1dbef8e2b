from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localmag.hardware import rebuild as commands
from localmag.hardware.rebuild import rebuild


def test_elsewhere_than_in_a_checkout_it_is_pip_in_this_very_python(tmp_path: Path) -> None:
    words = shlex.split(rebuild("cuda", root=tmp_path, system="linux"))
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    assert "cmake.args=-DGGML_CUDA=on" in words
    assert words[-1].startswith("llama-cpp-python==")


def test_in_a_checkout_it_is_the_set_up_that_looks_at_the_hardware(tmp_path: Path) -> None:
    (tmp_path / "tools" / "bootstrap").mkdir(parents=True)
    assert shlex.split(rebuild("vulkan", root=tmp_path, system="linux")) == [
        "make",
        "-C",
        str(tmp_path),
        "install",
    ]
    assert rebuild("cuda", root=tmp_path, system="win32").split()[0] == "py"


def test_a_build_that_does_not_load_is_replaced_as_it_was_chosen(tmp_path: Path) -> None:
    words = shlex.split(rebuild("cpu", root=tmp_path, system="darwin"))
    assert "--force-reinstall" in words
    assert "-C" not in words


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "tools" / "bootstrap").mkdir(parents=True)
    return tmp_path


def test_a_checkout_on_a_mac_must_be_asked_for_metal(checkout: Path) -> None:
    plain = f"python3 {checkout}/tools/bootstrap install"
    asked = f"LOCALMAG_BACKEND=metal {plain}"
    assert commands.llama_cpp(checkout, "darwin", "arm64") == asked
    assert rebuild("metal", checkout, "darwin") == asked
    assert commands.llama_cpp(checkout, "linux", "x86_64") == f"make -C {checkout} install"
    assert commands.llama_cpp(checkout, "darwin", "x86_64") == plain
    assert commands.mlx(checkout, "darwin", "arm64") == plain


@pytest.mark.parametrize(
    ("command", "package"),
    [
        (commands.llama_cpp, "llama-cpp-python<0.4,>=0.3.36"),
        (commands.mlx, "mlx-lm<0.33,>=0.32.2"),
    ],
)
def test_what_is_missing_on_a_mac_is_fetched_whatever_markers_say(
    command: Callable[..., str], package: str, tmp_path: Path
) -> None:
    """Pip silently passes over a requirement that is marked for other machines."""
    words = shlex.split(command(tmp_path, "darwin", "arm64"))
    assert words == [sys.executable, "-m", "pip", "install", package]


@pytest.mark.parametrize("root", ["", "has tools"])
def test_where_mlx_runs_and_where_not(checkout: Path, root: str) -> None:
    root_ = checkout if root else checkout / "elsewhere"
    assert commands.mlx(root_, "linux", "x86_64", ("glibc", "2.35"))
    for machine in (
        ("linux", "x86_64", ("glibc", "2.31")),
        ("linux", "aarch64", ("", "")),
        ("linux", "riscv64", ("glibc", "2.39")),
        ("darwin", "x86_64"),
        ("win32", "AMD64"),
    ):
        assert commands.mlx(root_, *machine) == ""


def test_without_a_checkout_mlx_is_pips(tmp_path: Path) -> None:
    words = shlex.split(commands.mlx(tmp_path, "linux", "x86_64", ("glibc", "2.39")))
    assert words[-1].startswith("mlx-lm[cpu]")


def test_on_windows_it_is_one_command_in_any_folder_of_any_drive_and_shell(checkout: Path) -> None:
    assert commands.llama_cpp(checkout, "win32", "AMD64") == f"py {checkout / 'tools' / 'bootstrap'} install"


def test_a_package_that_localmag_does_not_ask_for_has_any_version() -> None:
    assert commands.requirement("mlx") == "mlx"
    assert commands.requirement("textual").startswith("textual<9")
