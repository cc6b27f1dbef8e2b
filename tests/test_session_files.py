"""The file that conversations are kept in: damaged, foreign, newer, locked, on a full disk."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from localmag.errors import BadFile, RunFailed
from localmag.sessions import Sessions, files
from localmag.sessions.files import MIGRATIONS, Lock
from localmag.types import Message, TextDelta
from tests.hub.volumes import script
from tests.test_sessions import DONE, HELLO, SETUP


def _take_and_let_go(path: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            Lock(Path(path)).release()


def test_a_lock_that_goes_while_it_is_looked_at_is_no_error(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    programs = [spawn.Process(target=_take_and_let_go, args=(str(tmp_path / "lock"), 1.0)) for _ in range(3)]
    for program in programs:
        program.start()
    for program in programs:
        program.join(60)
        assert program.exitcode == 0


def _bytes_of(folder: Path) -> dict[str, bytes]:
    # -shm holds no data: SQLite makes it again from the log.
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith("-shm")}


def test_a_newer_programs_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    # A newer program that was killed: its last words are in the write-ahead log alone.
    code = f"""
import os, sqlite3
from pathlib import Path
from localmag.sessions import Sessions
Sessions(Path({str(path)!r})).close()
db = sqlite3.connect({str(path)!r}, isolation_level=None)
db.execute("PRAGMA user_version = 99")
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    before = _bytes_of(tmp_path)
    assert any(name.endswith("-wal") and data for name, data in before.items())
    with pytest.raises(BadFile, match="newer localmag") as caught:
        Sessions(path)
    assert "99" in caught.value.what
    assert "Update localmag" in caught.value.todo
    assert _bytes_of(tmp_path) == before


def test_a_new_format_is_reached_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sessions.db"
    with Sessions(path) as store:
        id = store.create(HELLO, SETUP).session.id
    add = "ALTER TABLE sessions ADD COLUMN colour TEXT"
    monkeypatch.setattr(files, "MIGRATIONS", (*MIGRATIONS, (add, "ALTER TABLE nosuch ADD COLUMN x TEXT")))
    with pytest.raises(RunFailed, match="nosuch"):
        Sessions(path)
    monkeypatch.setattr(files, "MIGRATIONS", (*MIGRATIONS, (add,)))
    with Sessions(path) as store:
        assert store.load(id).entries[0].message == HELLO
    monkeypatch.setattr(files, "MIGRATIONS", MIGRATIONS)
    with pytest.raises(BadFile, match="newer localmag"):
        Sessions(path)


def test_a_place_where_no_file_can_be_is_said_to_be(tmp_path: Path) -> None:
    place = tmp_path / "missing" / "sessions.db"
    with pytest.raises(RunFailed, match="cannot be opened") as caught:
        Sessions(place)
    assert str(place) in caught.value.what


def test_a_folder_in_the_files_place_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "sessions.db").mkdir()
    with pytest.raises(BadFile, match="is no file"):
        Sessions(tmp_path / "sessions.db")


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.commit()
    db.close()
    before = _bytes_of(tmp_path)
    with pytest.raises(BadFile, match="another program"):
        Sessions(path)
    assert _bytes_of(tmp_path) == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    path.write_bytes(b"Dear diary, " * 500)
    before = _bytes_of(tmp_path)
    with pytest.raises(BadFile, match=r"cannot be read") as caught:
        Sessions(path)
    assert str(path) in caught.value.what
    assert _bytes_of(tmp_path) == before


def test_damage_inside_is_told_by_name_when_it_is_met(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    with Sessions(path) as store:
        for _ in range(50):
            store.create(Message.of("user", "x" * 500), SETUP)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(BadFile, match="cannot be read") as caught, Sessions(path) as store:
        store.list()
    assert str(path) in caught.value.what


def test_an_empty_file_is_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "odd name #1?.db"
    path.touch()
    with Sessions(path) as store:
        store.create(HELLO, SETUP)
    with Sessions(path) as store:
        assert len(store.list()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_a_file_kept_locked_is_said_to_be(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions._db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(sessions.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RunFailed, match="locked"):
        sessions.create(HELLO, SETUP)
    other.execute("ROLLBACK")
    other.close()
    sessions.create(HELLO, SETUP)


def test_a_disk_that_leaves_no_room_to_read_is_said_to_be_full(tmp_path: Path) -> None:
    ended = script(
        tmp_path / "disk",
        "size=4m",
        """export LOCALMAG_HOME="$VOLUME"
        $LOCALMAG sessions list 2>&- || exit 98
        cat /dev/zero >"$VOLUME/filling" 2>&-
        $LOCALMAG sessions list""",
    )
    assert ended.returncode == 1
    database = tmp_path / "disk" / "data" / "sessions.db"
    assert ended.stderr == f"localmag: The disk that holds {database} is full. Free some space, then go on.\n"


def test_a_full_disk_is_said_to_be_and_costs_nothing_that_was_kept(sessions: Sessions) -> None:
    id = sessions.create(HELLO, SETUP).session.id
    draft = sessions.begin_reply(id, SETUP)
    sessions._db.execute("PRAGMA max_page_count = 1")  # SQLite clamps it to the present size
    with pytest.raises(RunFailed, match="full"):
        draft.save([TextDelta("x" * 1_000_000)])
    with pytest.raises(RunFailed, match="full"):
        draft.finish(Message.of("assistant", "x" * 1_000_000), DONE)
    sessions._db.execute("PRAGMA max_page_count = 1000000")
    entry = draft.finish(Message.of("assistant", "short"), DONE)
    assert sessions.load(id).entries[-1] == entry
