"""Asking the llama.cpp that is installed here, in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from localmag.engines import devices
from localmag.hardware import probes
from tests.imports import loaded_by


def test_the_real_llama_cpp_lists_its_cpu() -> None:
    output = devices.ask()
    assert not output.problem
    said = json.loads(output.text)
    assert "CPU" in said["backends"]
    (cpu,) = [device for device in said["devices"] if device["type"] == "cpu"]
    assert cpu["total"] > 0


def test_this_machine(tmp_path: Path) -> None:
    machine = devices.machine(tmp_path)
    assert "cpu" in machine.llama_cpp
    assert machine.memory_total > 0
    assert machine.disk_free > 0


def test_the_program_itself_loads_nothing_native() -> None:
    assert "llama_cpp" not in loaded_by("from localmag.engines import devices")


def test_a_library_that_does_not_load_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libllama.so").write_bytes(b"no library")
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", os.fspath(tmp_path))
    machine = devices.machine(tmp_path)
    assert machine.llama_cpp == ()
    (note,) = machine.notes
    assert "does not load" in note.what
    assert "llama-cpp-python" in note.todo


def test_a_crash_in_a_driver_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'localmag.engines.devices' in str(sys.argv) + str(sys.orig_argv): os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    machine = devices.machine(tmp_path)
    assert machine.llama_cpp == ()
    assert machine.notes


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")
@pytest.mark.parametrize("tool", ["nvidia-smi", "vulkaninfo"])
def test_a_tool_that_hangs_or_lies_breaks_nothing(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / tool
    script.write_text("#!/bin/sh\nprintf '\\377\\033[2J, , 99999999999999999999, x\\n'\nexec sleep 600\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(probes, "SECONDS", 1.0)
    machine = devices.machine(tmp_path)
    assert "cpu" in machine.llama_cpp
    assert not machine.devices
    assert all("did not end within 1 s" in note.what for note in machine.notes)


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")
def test_a_card_under_a_build_for_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 24564, 24101, 550.54.14'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    machine = devices.machine(tmp_path)
    assert [device.name for device in machine.devices] == ["NVIDIA GeForce RTX 4090"]
    assert not machine.usable("llama.cpp")
    assert "lies idle" in machine.notes[0].what
