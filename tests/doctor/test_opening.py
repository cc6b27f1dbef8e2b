"""What chat would open on machines of several kinds."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from localmag import config
from localmag.doctor.opening import opening, too_large
from localmag.doctor.report import Check
from localmag.engines import select
from localmag.errors import BadFile, NotFound
from localmag.hardware.reading import read
from localmag.store import Installed
from localmag.store.inventory import take
from tests.conftest import Demo
from tests.hardware import machines
from tests.hub.magistral import weights

WITHOUT_MLX = select.Host(apple_silicon=False, obstacles={"mlx": "mlx and mlx_lm are not installed"})
MAGISTRAL = Installed(
    model="magistral-small-1.2",
    title="Magistral Small 1.2",
    build="Q4_K_M",
    backend="llama.cpp",
    weights=Path("Magistral-Small-2509-Q4_K_M.gguf"),
    tokenizer=Path("tekken.json"),
    system_prompt=None,
    context=40960,
    trained=131072,
    max_tokens=40960,
    temperature=0.7,
    top_p=0.95,
)


def lines(found: list[Check]) -> str:
    return "\n".join(f"{check.state}: {check.said} {check.todo}" for check in found)


def test_without_weights_chat_opens_the_demo_and_pull_is_named() -> None:
    choice, found = opening(read(machines.LAPTOP), take(), WITHOUT_MLX)
    assert choice.backend == "llama.cpp"
    said = lines(found)
    assert "opens localmag demo" in said
    assert "localmag pull magistral" in said
    assert "MLX" in said
    assert "does not fit" in said


def test_a_better_machine_fits_magistral() -> None:
    _, found = opening(read(machines.RTX_4090), take(), WITHOUT_MLX)
    (told,) = [check for check in found if check.topic == "fit"]
    assert told.said.startswith("magistral:")
    assert "on the GPU" in told.said


def test_of_mlx_nothing_is_promised_where_it_cannot_run() -> None:
    choice, found = opening(read(machines.M4_MAX), take(), WITHOUT_MLX)
    assert choice.backend == "llama.cpp"
    assert "bit fits" not in lines(found)


def test_on_a_mac_the_whole_reasoning_is_shown() -> None:
    choice, found = opening(read(machines.M4_MAX), take(), select.Host(apple_silicon=True, obstacles={}))
    assert choice.backend == "mlx"
    said = [check.said for check in found if check.topic == "backend"]
    assert "llama.cpp: can run here" in said
    assert "MLX: can run here, its build fits better" in said
    assert any(line.startswith("mlx it would be for Magistral Small 1.2") for line in said)
    assert said[-1] == "mlx it is: this is Apple silicon, and its MLX build is here"


def test_a_model_that_is_not_here_is_a_problem_with_the_command() -> None:
    config.file().write_text('model = "magistral"')
    with pytest.raises(NotFound, match="localmag pull magistral"):
        opening(read(machines.RTX_4090), take(), WITHOUT_MLX)


def test_weights_that_no_engine_would_load_are_a_problem(tmp_path: Path, demo: Demo) -> None:
    shutil.copy(demo.tokenizer, tmp_path)
    file = tmp_path / "Magistral-Small-2509-Q4_K_M.gguf"
    file.write_bytes(weights())
    config.file().write_text(f"model = {str(file)!r}")
    with pytest.raises(BadFile, match="block_count"):
        opening(read(machines.LAPTOP), take(), WITHOUT_MLX)


def test_what_chat_would_open_must_fit() -> None:
    assert not too_large(MAGISTRAL, config.Config(), read(machines.RTX_4090))
    assert too_large(MAGISTRAL, config.Config(), read(machines.LAPTOP))


def test_what_chat_opens_with_a_shorter_context_does_fit() -> None:
    small = read(machines.sized(machines.PC, 4, 8, 32, 16))
    assert not too_large(MAGISTRAL, config.Config(), small)
    assert too_large(MAGISTRAL, config.Config(context=40_960, kv_type="f16"), small)


def test_so_does_an_mlx_build() -> None:
    mac = read(replace(machines.sized(machines.apple("Apple M2", 16_000), 4, 8, 24, 18), mlx=True))
    assert not too_large(replace(MAGISTRAL, build="4bit", backend="mlx"), config.Config(), mac)
