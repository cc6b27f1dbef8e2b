"""`localmag doctor` as a user runs it: on a sound machine, and with one thing after another broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from localmag import config, paths
from localmag.store import imports
from localmag.store.imports import Import
from tests.conftest import RunLocalmag
from tests.imports import loaded_by


def problems(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 1, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert not report["works"]
    found = [check for check in report["checks"] if check["state"] == "problem"]
    assert all(check["todo"] for check in found)
    return found


def test_where_chat_works(localmag: RunLocalmag) -> None:
    done = localmag("doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["works"]
    assert report["versions"]["textual"]
    assert report["machine"]["memory_total"] > 0
    assert "cpu" in report["machine"]["llama_cpp"]
    assert report["backend"]["backend"] == "llama.cpp"
    assert [one["state"] for one in report["weights"]] == ["bundled", "bundled"]
    assert report["offline"]
    assert not report["terminal"]["interactive"]
    said = {check["topic"]: check["said"] for check in report["checks"]}
    assert "llama.cpp, starts and draws a token" in said["engine"]


def test_the_engine_that_starts_is_of_the_backend_that_chat_would_use(localmag: RunLocalmag) -> None:
    config.file().write_text('model = "demo"\n')
    report = json.loads(localmag("doctor", "--backend", "mlx", "--json").stdout)
    said = [check["said"] for check in report["checks"]]
    assert any(line.startswith("the demo's engine, mlx, starts and draws a token") for line in said)
    assert "opens localmag demo 8bit with mlx" in said
    assert report["backend"]["backend"] == "mlx"


@pytest.mark.parametrize("words", [("--quant", "4bit"), ("--backend", "mlx")])
def test_it_finds_lacking_what_chat_would(localmag: RunLocalmag, words: tuple[str, str]) -> None:
    (lacking,) = problems(localmag("doctor", *words, "--json"))
    chat = localmag("chat", *words)
    assert chat.returncode == 3
    assert f"{lacking['said']} {lacking['todo']}" in chat.stderr


def test_it_loads_nothing_heavy_itself() -> None:
    loaded = loaded_by("from localmag.doctor import examine; examine()")
    assert not loaded & {"textual", "llama_cpp", "mistral_common", "huggingface_hub", "numpy"}


def test_several_things_broken_at_once_are_told_with_what_mends_them(localmag: RunLocalmag) -> None:
    paths.database().write_bytes(b"not a database" * 100)
    config.file().write_text('model = "magistral"\n')
    found = {check["topic"]: check for check in problems(localmag("doctor", "--json"))}
    assert set(found) == {"conversations", "chat"}
    assert "localmag pull magistral" in found["chat"]["todo"]

    command = found["conversations"]["todo"].split("`")[1]
    subprocess.run(command, shell=True, check=True)
    config.file().write_text('model = "demo"\n')
    done = localmag("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("`localmag chat` works.\n")
    assert "\x1b" not in done.stdout
    assert not done.stderr


def test_settings_that_cannot_be_read_are_told_once(localmag: RunLocalmag) -> None:
    config.file().write_text("threads = true\n")
    (problem,) = problems(localmag("doctor", "--json"))
    assert problem["topic"] == "settings"
    assert "threads" in problem["said"]


def test_a_llama_cpp_that_does_not_load(localmag: RunLocalmag, tmp_path: Path) -> None:
    for name in ("libllama.so", "libllama.dylib", "llama.dll"):
        (tmp_path / name).write_bytes(b"no library")
    done = localmag("doctor", "--json", env={"LLAMA_CPP_LIB_PATH": os.fspath(tmp_path)})
    found = {check["topic"]: check for check in problems(done)}
    assert {"machine", "engine"} <= set(found)
    assert "pip install" in found["machine"]["todo"]


def test_a_file_name_forges_no_row(localmag: RunLocalmag, tmp_path: Path) -> None:
    imports.save(Import("gone", tmp_path / "a\nok engine        sound"))
    done = localmag("doctor")
    assert "a␊ok engine" in done.stdout
    assert not any(line.startswith("ok engine") for line in done.stdout.splitlines())


def test_a_home_that_cannot_be_made(localmag: RunLocalmag, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = localmag("doctor", env={"LOCALMAG_HOME": str(tmp_path / "file" / "home")})
    assert done.returncode == 1
    assert "LOCALMAG_HOME" in done.stdout
    assert "does not work yet" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_nothing_is_broken_that_will_be_copied() -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["doctor"], columns=50, rows=60, NO_COLOR="") as it:
        assert it.end() == 0
    drawn = it.raw.decode()
    assert "50 × 60, 16 million colours" in drawn
    assert "The terminal is small (50 × 60)." in drawn
    assert f"weights are kept in {Path('~', 'hf', 'hub')}" in drawn
    assert "Run `localmag pull magistral` to fetch it." in drawn
    assert "\x1b[32m✓" in drawn
