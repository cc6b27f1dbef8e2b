"""What is said of machines, folders and files; and what is a problem and what is not."""

from __future__ import annotations

import os
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localmag import config, paths
from localmag.doctor import checks
from localmag.doctor.report import Check
from localmag.errors import WrongUsage
from localmag.hardware.probes import Output, Probes
from localmag.hardware.reading import read
from localmag.sessions import Sessions, contexts
from localmag.store.inventory import Here, Inventory, State
from localmag.store.look import Look
from tests.hardware import machines


def lines(found: list[Check]) -> str:
    return "\n".join(f"{check.state}: {check.said} {check.todo}" for check in found)


def of_machine(probes: Probes) -> list[Check]:
    return list(checks.machine(read(probes)))


# ── The machine ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("probes", "parts"),
    [
        pytest.param(machines.RTX_4090, ["RTX 4090 (cuda)", "23.3 GiB free of 23.5", "llama.cpp"], id="4090"),
        pytest.param(machines.RTX_4090_WINDOWS, ["Windows on x86_64", "RTX 4090"], id="4090 on Windows"),
        pytest.param(machines.TWO_GPUS, ["RTX 4090", "RTX 3090"], id="two GPUs"),
        pytest.param(machines.LAPTOP, ["5.0 GiB free of 8.0", "no GPU"], id="laptop"),
        pytest.param(machines.M2, ["Darwin on arm64", "Apple M2", "21.3 GiB that its GPU may use"], id="M2"),
        pytest.param(machines.M4_MAX, ["107.5 GiB", "llama.cpp and mlx"], id="M4 Max"),
        pytest.param(machines.RADEON, ["7900 XTX", "vulkan"], id="AMD"),
        pytest.param(machines.IRIS, ["shared with the CPU"], id="integrated"),
    ],
)
def test_machines_are_described(probes: Probes, parts: list[str]) -> None:
    said = lines(of_machine(probes))
    for part in parts:
        assert part in said
    assert "problem" not in said


def test_a_card_that_lies_idle_is_a_note_with_the_command() -> None:
    found = of_machine(machines.RTX_4090_ON_CPU_BUILD)
    (told,) = [check for check in found if check.todo]
    assert told.state == "note"
    assert "install" in told.todo


def test_a_llama_cpp_that_does_not_load_is_a_problem() -> None:
    broken = replace(machines.LINUX, ggml=Output('{"problem": "it does not load: no libgomp"}'))
    (problem,) = [check for check in of_machine(broken) if check.state == "problem"]
    assert "libgomp" in problem.said
    assert "llama-cpp-python" in problem.todo


# ── Packages ──────────────────────────────────────────────────────────────────────────────────────


def test_versions_are_those_that_are_installed() -> None:
    found = checks.versions()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["llama-cpp-python"]
    assert next(iter(checks.packages(found))).state == "ok"


def test_a_package_that_is_missing_is_a_problem_unless_it_is_optional() -> None:
    found = {**checks.versions(), "textual": "", "mlx": ""}
    versions, problem = checks.packages(found)
    assert "textual missing" in versions.said
    assert "mlx missing" not in versions.said
    assert problem.state == "problem"
    assert "textual" in problem.said
    assert "pip install" in problem.todo
    assert "textual<" in problem.todo


def test_the_screen_can_start() -> None:
    assert not list(checks.screen())


def test_a_screen_that_cannot_start_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "textual.py").write_text("raise ImportError('half installed')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    (problem,) = checks.screen()
    assert "half installed" in problem.said


# ── Downloads ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"HF_HUB_OFFLINE": "1"}, True),
        ({"HF_HUB_OFFLINE": "true"}, True),
        ({"HF_HUB_OFFLINE": "0"}, False),
        ({"TRANSFORMERS_OFFLINE": "yes"}, True),
    ],
)
def test_offline_is_as_the_hubs_client_has_it(environment: dict[str, str], expected: bool) -> None:
    assert checks.offline(environment) is expected


def test_what_keeps_pull_from_working_keeps_nobody_from_chatting() -> None:
    small = replace(read(machines.LAPTOP), disk_free=3 * 10**9)
    found = list(checks.downloads(small, {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "https://mirror.example"}))
    said = lines(found)
    assert "unset HF_HUB_OFFLINE" in said
    assert "mirror.example" in said
    assert "no room" in said
    assert not [check for check in found if check.state == "problem"]


# ── What is kept on disk ──────────────────────────────────────────────────────────────────────────


def test_folders_that_can_be_written() -> None:
    found = dict(checks.folders())
    assert set(found) == {"conversations", "settings", "cache", "logs"}
    assert all(check.state == "ok" for check in checks.writable(found))
    assert not any(any(folder.iterdir()) for folder in found.values())


def test_folders_that_cannot(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    found = list(checks.writable({"conversations": gone, "settings": gone}))
    assert [check.state for check in found] == ["problem", "note"]
    assert "LOCALMAG_HOME" in found[0].todo


def test_no_conversations_yet() -> None:
    (check,) = checks.conversations()
    assert (check.state, check.said) == ("ok", "none yet")
    assert not paths.database().exists()


def test_sound_conversations_are_counted() -> None:
    with Sessions():
        pass
    (check,) = checks.conversations()
    assert check.state == "ok"
    assert "sound" in check.said


def test_what_is_kept_of_contexts_is_counted() -> None:
    with Sessions():
        pass
    contexts.folder("abc").mkdir(parents=True)
    (contexts.folder("abc") / "kv").write_bytes(bytes(2_000_000))
    _, check = checks.conversations()
    assert "the context of 1" in check.said
    assert "2" in check.said


def test_conversations_that_are_no_database() -> None:
    paths.database().write_bytes(b"not a database, not at all" * 100)
    (check,) = checks.conversations()
    assert check.state == "problem"
    assert str(paths.database()) in check.todo
    assert "mv " in check.todo or "move " in check.todo


def test_a_databases_logs_go_with_it() -> None:
    path = paths.database()
    path.write_bytes(b"not a database, not at all" * 100)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).write_bytes(b"of the old one")
    (check,) = checks.conversations()
    assert check.todo.count(".damaged") == 3
    assert f"{path}.damaged-wal" in check.todo


def test_damage_inside_is_found_and_the_file_left_as_it_is() -> None:
    path = paths.database()
    with Sessions() as sessions:
        sessions.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'parts'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * size : (root - 1) * size + 64] = b"\xff" * 64
    path.write_bytes(data)
    (check,) = checks.conversations()
    assert check.state == "problem"
    assert str(path) in check.todo


def test_settings() -> None:
    assert [check.state for check in checks.settings()] == ["ok", "ok"]
    config.file().write_text('them = "nord"')
    with pytest.raises(WrongUsage, match="them"):
        list(checks.settings())


def here(name: str, state: State, **more: Any) -> Here:
    path = Path("weights.gguf")
    told = Here(name, None, None, "Q4_K_M", "llama.cpp", "LM Studio", state, 3 * 10**9, 14 * 10**9, path)
    return replace(told, **{"look": Look(size=1, tekken=True), **more})


def test_weights_are_told_with_what_goes_on_from_here() -> None:
    found = Inventory(
        (
            here("magistral:Q4_K_M", "partial"),
            here("old", "missing", why="Nothing is at /gone any more."),
            here("odd", "refused", why="It is cut short."),
            here("good", "verified"),
            here("a llama", "refused", why="Its vocabulary is not Tekken.", look=None),
        ),
        ("The folder /closed cannot be read.",),
    )
    told = list(checks.weights(found))
    assert [check.state for check in told] == ["note", "note", "note", "ok", "note"]
    said = lines(told)
    assert "3.0 of 14.0 GB" in said
    assert "localmag pull magistral:Q4_K_M" in said
    assert "localmag rm old" in said
    assert "cut short" in said
    assert "/closed" in said
    assert "llama" not in said
