"""What a chat keeps of its context on disk, and what --resume makes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.test_chat import SUM, only_session
from tests.conftest import RunLocalmag
from tests.engines.conftest import mlx_runs
from tests.hub.volumes import script

NEXT = "Now add 12."


@pytest.fixture(params=["llama.cpp", pytest.param("mlx", marks=mlx_runs)])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def shown(localmag: RunLocalmag, id: str) -> dict[str, object]:
    told: dict[str, object] = json.loads(localmag("sessions", "show", id, "--json").stdout)
    return told


def cached(localmag: RunLocalmag, id: str) -> int:
    *_, last = shown(localmag, id)["messages"]  # type: ignore[misc]
    return int(last["outcome"]["usage"]["cached_tokens"])


def folder(home: Path, id: str) -> Path:
    return home / "localmag" / "cache" / "contexts" / id


RESUMED = [
    ("llama.cpp", []),
    ("llama.cpp", ["--keep-reasoning"]),
    pytest.param("mlx", ["--keep-reasoning"], marks=mlx_runs),
]


@pytest.mark.parametrize(("backend", "flags"), RESUMED)
def test_a_chat_that_is_resumed_reads_only_what_is_new(
    localmag: RunLocalmag, home: Path, backend: str, flags: list[str]
) -> None:
    localmag("chat", "demo", "--backend", backend, "--temp", "0", *flags, stdin=SUM)
    id = only_session(localmag)
    kept = shown(localmag, id)["context"]
    assert isinstance(kept, dict)
    assert kept["backend"] == backend
    assert kept["bytes"] == sum(p.stat().st_size for p in folder(home, id).iterdir() if p.name != "state")
    done = localmag("chat", "--resume", id, "--backend", backend, "--temp", "0", stdin=NEXT)
    assert "846" in done.stdout
    assert "kept" not in done.stderr
    assert cached(localmag, id) == kept["tokens"]
    again = localmag("ask", "--resume", id, "--backend", backend, "--temp", "0", "--json", NEXT)
    told = json.loads(again.stdout)
    assert "858" in told["answer"]
    assert told["usage"]["cached_tokens"] > kept["tokens"]


def test_without_it_the_answer_is_the_same(localmag: RunLocalmag, home: Path, backend: str) -> None:
    flags = ("--backend", backend, "--temp", "0")
    localmag("chat", "demo", *flags, stdin=SUM)
    id = only_session(localmag)
    aside = home / "aside"
    shutil.copytree(home / "localmag" / "data", aside)
    with_it = localmag("ask", "--resume", id, *flags, "--json", NEXT)
    shutil.rmtree(home / "localmag" / "data")
    aside.rename(home / "localmag" / "data")
    shutil.rmtree(folder(home, id))
    without = localmag("ask", "--resume", id, *flags, "--json", NEXT)
    first, second = json.loads(with_it.stdout), json.loads(without.stdout)
    assert (first["reasoning"], first["answer"]) == (second["reasoning"], second["answer"])
    assert (first["usage"]["cached_tokens"] > 0, second["usage"]["cached_tokens"]) == (True, 0)


def test_one_that_is_damaged_is_left_out_with_a_note(localmag: RunLocalmag, home: Path) -> None:
    localmag("chat", "demo", "--temp", "0", stdin=SUM)
    id = only_session(localmag)
    victim = max(folder(home, id).iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    done = localmag("chat", "--resume", id, "--temp", "0", stdin=NEXT)
    assert done.returncode == 0
    assert "846" in done.stdout
    assert "kept of the context is damaged" in done.stderr
    assert cached(localmag, id) == 0


@mlx_runs
def test_one_of_another_engine_is_left_out_with_a_note(localmag: RunLocalmag) -> None:
    localmag("chat", "demo", "--backend", "llama.cpp", "--temp", "0", stdin=SUM)
    done = localmag("ask", "--continue", "--backend", "mlx", "--temp", "0", "--json", NEXT)
    assert json.loads(done.stdout)["usage"]["cached_tokens"] == 0
    assert "of another engine" in done.stderr


def test_it_goes_with_its_conversation(localmag: RunLocalmag, home: Path) -> None:
    localmag("chat", "demo", "--temp", "0", stdin=SUM)
    id = only_session(localmag)
    assert folder(home, id).is_dir()
    assert "Kept of its context" in localmag("sessions", "show", id).stdout
    localmag("sessions", "rm", id, "--yes")
    assert list(folder(home, id).parent.iterdir()) == []


def test_none_is_kept_where_the_user_wants_none(localmag: RunLocalmag, home: Path) -> None:
    (home / "localmag" / "config").mkdir(parents=True, exist_ok=True)
    (home / "localmag" / "config" / "config.toml").write_text("kept_context_gb = 0")
    localmag("chat", "demo", "--temp", "0", stdin=SUM)
    assert not folder(home, only_session(localmag)).exists()


def test_where_none_can_be_written_the_chat_says_so_and_is_kept(localmag: RunLocalmag, home: Path) -> None:
    (home / "localmag" / "cache").mkdir(parents=True, exist_ok=True)
    (home / "localmag" / "cache" / "contexts").write_text("in the way")
    done = localmag("chat", "demo", "--temp", "0", stdin=SUM)
    assert done.returncode == 0
    assert "could not be kept" in done.stderr
    assert "834" in localmag("sessions", "show", only_session(localmag)).stdout


FULL = [("llama.cpp", "nr_inodes=4"), ("llama.cpp", "ro"), pytest.param("mlx", "nr_inodes=4", marks=mlx_runs)]


@pytest.mark.parametrize(("backend", "disk"), FULL)
def test_a_disk_that_is_full_or_only_read_is_one_note(home: Path, backend: str, disk: str) -> None:
    chat = f"echo '{SUM}' | $LOCALMAG chat demo --backend {backend} --temp 0"
    lines = f"{chat}; code=$?; find $VOLUME -type f; exit $code"
    done = script(home / "localmag" / "cache", disk, lines)
    assert done.returncode == 0
    assert "834" in done.stdout
    assert str(home) not in done.stdout  # no file is left
    (note,) = (line for line in done.stderr.splitlines() if line.startswith("localmag: "))
    assert "The context could not be" in note
