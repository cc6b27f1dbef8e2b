"""Which backend runs a model, on machines of every kind."""

from __future__ import annotations

import pytest

from localmag.engines.select import Host, choose, host
from localmag.errors import NotFound, WrongUsage

MAC = Host(apple_silicon=True, obstacles={})
PC = Host(apple_silicon=False, obstacles={})
NO_MLX = "mlx and mlx_lm are not installed"
MAC_WITHOUT = Host(apple_silicon=True, obstacles={"mlx": NO_MLX})


@pytest.mark.parametrize(
    ("machine", "here", "better", "expected"),
    [
        pytest.param(MAC, ["mlx"], None, "mlx", id="a Mac with an MLX build"),
        pytest.param(MAC, ["mlx", "llama.cpp"], "llama.cpp", "mlx", id="a Mac with both"),
        pytest.param(MAC, ["llama.cpp"], "mlx", "llama.cpp", id="a Mac with a GGUF: what is here goes first"),
        pytest.param(MAC, [], "mlx", "mlx", id="a Mac where MLX's build fits better"),
        pytest.param(MAC, [], "llama.cpp", "llama.cpp", id="a Mac where llama.cpp's build fits better"),
        pytest.param(MAC, [], None, "llama.cpp", id="a Mac, nothing weighed"),
        pytest.param(MAC_WITHOUT, ["mlx"], "mlx", "llama.cpp", id="a Mac without MLX"),
        pytest.param(PC, [], "mlx", "llama.cpp", id="a PC"),
        pytest.param(PC, ["llama.cpp", "mlx"], None, "llama.cpp", id="a PC with both"),
        pytest.param(PC, ["mlx"], None, "mlx", id="a PC with an MLX build only"),
    ],
)
def test_auto(machine: Host, here: list[str], better: str | None, expected: str) -> None:
    choice = choose(machine, here=here, better=better)
    assert choice.backend == expected
    assert choice.why and "\n" not in choice.why
    assert len(choice.reasons) == 2


def test_what_cannot_run_is_said_in_the_reason() -> None:
    choice = choose(MAC_WITHOUT, here=["mlx"])
    assert choice.why == f"MLX cannot run here, {NO_MLX}"
    assert f"MLX: cannot run here, {NO_MLX}; a build on this machine lies idle" in choice.reasons


def test_a_model_with_gguf_builds_only() -> None:
    choice = choose(MAC, offered=["llama.cpp"], better="llama.cpp")
    assert choice.backend == "llama.cpp"
    assert "no build for MLX" in choice.why


def test_a_wish_is_granted() -> None:
    assert choose(PC, wanted="mlx", here=["llama.cpp"]).backend == "mlx"
    assert choose(MAC, wanted="llama.cpp", here=["mlx"]).backend == "llama.cpp"


def test_a_wish_that_cannot_be_granted_is_refused_with_the_reason() -> None:
    with pytest.raises(WrongUsage, match="not installed"):
        choose(MAC_WITHOUT, wanted="mlx")
    with pytest.raises(NotFound, match="demo has no build for MLX"):
        choose(MAC, wanted="mlx", offered=["llama.cpp"], model="demo")
    with pytest.raises(WrongUsage, match="no backend 'vllm'"):
        choose(MAC, wanted="vllm")


def test_where_nothing_can_run_it_says_what_is_missing() -> None:
    nothing = Host(False, {"llama.cpp": "llama_cpp is not installed", "mlx": NO_MLX})
    with pytest.raises(WrongUsage, match="llama_cpp is not installed"):
        choose(nothing)


def test_what_would_mend_it_is_said() -> None:
    mac = Host(True, {"llama.cpp": "llama_cpp is not installed"}, {"llama.cpp": "pip install it"})
    with pytest.raises(WrongUsage) as gguf:
        choose(mac, offered=["llama.cpp"], model="a.gguf")
    assert gguf.value.what == "a.gguf is for llama.cpp, which cannot run here: llama_cpp is not installed."
    assert gguf.value.todo == "Run `pip install it`."
    with pytest.raises(WrongUsage, match="Run `pip install it`, or leave --backend out"):
        choose(mac, wanted="llama.cpp")


def test_packages_that_are_missing_are_named() -> None:
    assert host(there=lambda name: name not in ("mlx", "mlx_lm")).obstacles == {"mlx": NO_MLX}


def test_this_machine_runs_llama_cpp() -> None:
    assert "llama.cpp" not in host().obstacles
