"""The program where one of what runs models is missing, as on a Mac, which gets no llama.cpp by itself."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Demo, RunLocalmag
from tests.engines.conftest import mlx_runs

QUESTION = "What is 478 + 356?"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def without(localmag: RunLocalmag) -> Callable[..., Run]:
    """`without("llama_cpp")("ask", ...)` runs the program where that module is not installed."""

    def hiding(*modules: str) -> Run:
        hides = {"LOCALMAG_TEST_HIDES": ",".join(modules)}
        return lambda *args, stdin="": localmag(*args, stdin=stdin, env=hides)

    return hiding


ONE_IS_MISSING = [
    pytest.param(("llama_cpp",), "mlx", marks=mlx_runs, id="without llama.cpp"),
    pytest.param(("mlx", "mlx_lm"), "llama.cpp", id="without MLX"),
]


@pytest.mark.parametrize(("missing", "backend"), ONE_IS_MISSING)
def test_the_demo_answers_with_what_is_there(
    without: Callable[..., Run], missing: tuple[str, ...], backend: str
) -> None:
    run = without(*missing)
    done = run("ask", "demo", QUESTION, "--json", "--temp", "0")
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert reply["backend"] == backend
    assert "834" in reply["answer"]
    piped = run("chat", "--temp", "0", stdin=QUESTION + "\n")
    assert piped.returncode == 0, piped.stderr
    assert "834" in piped.stdout


@pytest.mark.parametrize(("missing", "backend"), ONE_IS_MISSING)
def test_doctor_finds_that_chat_works(
    without: Callable[..., Run], missing: tuple[str, ...], backend: str
) -> None:
    done = without(*missing)("doctor", "--json")
    report = json.loads(done.stdout)
    assert report["works"] and done.returncode == 0
    assert report["backend"]["backend"] == backend
    said = {check["said"]: check for check in report["checks"]}
    assert any(f"demo's engine, {backend}, starts" in text for text in said)
    assert bool(report["machine"]["llama_cpp"]) == ("llama_cpp" not in missing)
    told = said.get("llama_cpp is not installed, so GGUF builds cannot be run.")
    if "llama_cpp" in missing:
        assert told and told["state"] == "note" and "install" in told["todo"]
    assert not any("could not be asked" in text for text in said)


@mlx_runs
def test_fit_weighs_what_could_run(without: Callable[..., Run]) -> None:
    run = without("llama_cpp")
    for model in ("demo", "magistral"):
        done = run("fit", model, "--json")
        plans = json.loads(done.stdout)["plans"]
        assert {plan["backend"] for plan in plans} == {"mlx"}
        assert "could not be asked" not in done.stderr


@mlx_runs
def test_fit_does_not_tell_to_fetch_what_could_not_run(without: Callable[..., Run]) -> None:
    done = without("llama_cpp")("fit", "ministral:3b:Q4_K_M", "--ctx", "512")
    assert "Ministral 3 Reasoning 3B Q4_K_M is for llama.cpp, which cannot run here" in done.stderr
    if done.returncode == 0:  # it fits: else there is a way out to tell
        assert "pull" not in done.stderr


@pytest.mark.parametrize(
    ("missing", "form"),
    [
        pytest.param("llama_cpp", "weights", marks=mlx_runs, id="a GGUF without llama.cpp"),
        pytest.param("mlx", "mlx", id="an MLX build without MLX"),
    ],
)
def test_a_build_that_nothing_can_run_is_refused_with_the_command(
    without: Callable[..., Run], demo: Demo, missing: str, form: str, tmp_path: Path
) -> None:
    path = tmp_path / getattr(demo, form).name  # not the demo's own place, where it would go by its name
    (shutil.copytree if form == "mlx" else shutil.copy)(getattr(demo, form), path)
    for command in (("ask", str(path), QUESTION), ("chat", str(path)), ("fit", str(path))):
        done = without(missing)(*command)
        assert done.returncode == 2
        assert done.stdout == ""
        name = "llama.cpp" if missing == "llama_cpp" else "MLX"
        assert f"{path.name} is for {name}, which cannot run here: {missing}" in done.stderr
        assert "install" in done.stderr.partition("Run `")[2]


def test_a_backend_asked_for_by_name_is_refused_with_the_command(without: Callable[..., Run]) -> None:
    done = without("llama_cpp")("ask", "demo", QUESTION, "--backend", "llama.cpp")
    assert done.returncode == 2
    assert "llama.cpp cannot run here: llama_cpp is not installed. Run `" in done.stderr


def test_with_neither_doctor_says_what_to_do(without: Callable[..., Run]) -> None:
    run = without("llama_cpp", "mlx", "mlx_lm")
    asked = run("ask", "demo", QUESTION)
    assert asked.returncode == 2
    assert "localmag doctor" in asked.stderr
    done = run("doctor", "--json")
    report = json.loads(done.stdout)
    assert not report["works"] and done.returncode == 1
    assert any(
        c["state"] == "problem" and "llama_cpp is not installed" in c["said"] for c in report["checks"]
    )
    assert run("list").returncode == 0
