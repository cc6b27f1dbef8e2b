"""From a name to the backend and its copy, on a Mac and elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from localmag.engines.select import Host
from localmag.engines.selection import idle, ready
from localmag.errors import NotFound, WrongUsage
from localmag.hardware import Machine
from localmag.hardware.reading import read
from localmag.store import NotHere
from tests.hardware import machines
from tests.store.make import magistral, mlx

PC = Host(apple_silicon=False, obstacles={})
MAC = Host(apple_silicon=True, obstacles={})
NO_MLX = Host(apple_silicon=True, obstacles={"mlx": "mlx is not installed"})


def of_m2() -> Machine:
    return read(machines.M2)


def never() -> Machine:
    raise AssertionError("half a second for nothing")


@pytest.fixture
def studio(home: Path) -> Path:
    return home / ".lmstudio" / "models" / "lmstudio-community"


def gguf(studio: Path, quant: str = "Q4_K_M") -> Path:
    file = magistral(studio / "Magistral-Small-2509-GGUF" / f"Magistral-Small-2509-{quant}.gguf")
    file.with_name("tekken.json").write_bytes(b"{}")
    return file


def for_mlx(studio: Path, bits: int = 4) -> Path:
    folder = mlx(studio / f"Magistral-Small-2509-MLX-{bits}bit", bits=bits)
    (folder / "tekken.json").write_bytes(b"{}")
    return folder


def test_a_mac_with_both_runs_mlx_and_says_why(studio: Path) -> None:
    gguf(studio)
    folder = for_mlx(studio)
    choice, found = ready("magistral", None, "auto", MAC, of_m2)
    assert (choice.backend, found.backend, found.weights) == ("mlx", "mlx", folder)
    assert choice.open
    assert "Apple silicon" in choice.why


def test_a_mac_whose_mlx_build_is_too_large_runs_the_other(studio: Path) -> None:
    file = gguf(studio)
    for_mlx(studio, bits=8)
    choice, found = ready("magistral", None, "auto", MAC, of_m2)
    assert (choice.backend, found.weights) == ("llama.cpp", file)
    assert "does not fit" in choice.why
    assert "too large" in choice.reasons[1]


def test_elsewhere_with_both_it_is_llama_cpp(studio: Path) -> None:
    file = gguf(studio)
    for_mlx(studio)
    choice, found = ready("magistral", None, "auto", PC, never)
    assert (choice.backend, found.weights) == ("llama.cpp", file)


def test_without_mlx_its_builds_lie_idle(studio: Path) -> None:
    folder = for_mlx(studio)
    with pytest.raises(NotHere, match="is not one for") as caught:
        ready("magistral", None, "auto", NO_MLX, never)
    assert str(folder) in caught.value.what
    for name in ("magistral:4bit", str(folder)):
        with pytest.raises(WrongUsage, match="MLX: cannot run here, mlx is not installed"):
            ready(name, None, "auto", NO_MLX, never)


@pytest.mark.parametrize("quant", ["4bit", "4BIT"])
def test_a_quant_of_mlx_implies_mlx(studio: Path, quant: str) -> None:
    gguf(studio)
    folder = for_mlx(studio)
    choice, found = ready("magistral", quant, "auto", PC, never)
    assert (choice.backend, found.weights) == ("mlx", folder)
    assert not choice.open
    with pytest.raises(NotFound, match=r"no build for llama\.cpp"):
        ready("magistral", quant, "llama.cpp", PC, never)


def test_a_build_of_the_demo_that_is_one_backends_is_named() -> None:
    with pytest.raises(NotFound, match="demo Q8_0 has no build for MLX"):
        ready("demo", "q8_0", "mlx", PC, never)
    assert ready("demo", None, "mlx", PC, never)[1].build == "8bit"


def test_a_backend_that_is_asked_for_is_had(studio: Path) -> None:
    file, folder = gguf(studio), for_mlx(studio)
    assert ready("magistral", None, "llama.cpp", MAC, never)[1].weights == file
    assert ready("magistral", None, "mlx", PC, never)[1].weights == folder


def test_one_that_is_not_here_says_how_to_get_it() -> None:
    for wanted, command in (
        ("auto", "localmag pull magistral`"),
        ("llama.cpp", "localmag pull magistral`"),
        ("mlx", "localmag pull magistral --backend mlx`"),
    ):
        with pytest.raises(NotHere, match=command):
            ready("magistral", None, wanted, MAC, never)
    with pytest.raises(NotHere, match="localmag pull magistral:6bit`"):
        ready("magistral:6bit", None, "auto", MAC, never)


def test_the_demo_asks_nothing_of_the_machine() -> None:
    choice, found = ready("demo", None, "auto", MAC, never)
    assert (choice.backend, found.model) == ("mlx", "demo")
    choice, found = ready("demo", None, "auto", PC, never)
    assert (choice.backend, found.model) == ("llama.cpp", "demo")


NO_LLAMA = Host(True, {"llama.cpp": "llama_cpp is not installed"}, {"llama.cpp": "make install"})


def test_a_gguf_on_a_mac_without_llama_cpp_lies_idle_and_the_command_is_named(studio: Path) -> None:
    gguf(studio)
    found = idle(NO_LLAMA)
    assert found
    assert found.what == "magistral is here, and cannot be run: llama_cpp is not installed."
    assert found.todo == "Run `make install`."
    assert idle(MAC) is None
    with pytest.raises(NotHere, match=r"is not one for mlx") as raised:
        ready("magistral", None, "auto", NO_LLAMA, never)
    assert "Run `make install`" in raised.value.todo
    assert "localmag pull magistral" in raised.value.todo


def test_where_nothing_lies_idle_nothing_is_said(studio: Path) -> None:
    assert idle(NO_LLAMA) is None
    for_mlx(studio)
    assert idle(NO_LLAMA) is None
    with pytest.raises(NotHere) as raised:
        ready("magistral:1.1", None, "auto", NO_LLAMA, never)
    assert "make install" not in raised.value.todo
