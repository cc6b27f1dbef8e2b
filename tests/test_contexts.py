"""How many KV states of conversations there may be."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from localmag import paths
from localmag.errors import RunFailed
from localmag.sessions import contexts


def made(name: str, size: int, age: float) -> Path:
    path = paths.contexts() / name
    path.mkdir(parents=True)
    (path / "kv").write_bytes(bytes(size))
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def there() -> set[str]:
    return {path.name for path in paths.contexts().iterdir()}


def test_the_oldest_make_way(home: Path) -> None:
    for age, name in enumerate(("newest", "older", "oldest")):
        made(name, 100, age)
    contexts.tidy(250, spare="newest")
    assert there() == {"newest", "older"}
    contexts.tidy(100, spare="newest")
    assert there() == {"newest"}


def test_the_one_to_spare_goes_last_however_old(home: Path) -> None:
    made("spared", 100, age=9)
    made("other", 100, age=0)
    contexts.tidy(150, spare="spared")
    assert there() == {"spared"}
    contexts.tidy(50, spare="spared")
    assert there() == set()


def test_what_a_killed_program_left_counts_and_goes(home: Path) -> None:
    made("abc.123.new", 100, age=5)
    made("abc", 100, age=0)
    contexts.tidy(100, spare="abc")
    assert there() == {"abc"}
    made("abc.123.new", 100, age=5)
    contexts.remove("abc")
    assert there() == set()


def test_one_that_cannot_be_removed_is_told(home: Path) -> None:
    paths.contexts().mkdir()
    (paths.contexts() / "abc").write_text("a file, where a folder was expected")
    with pytest.raises(RunFailed, match="abc"):
        contexts.remove("abc")


def test_nothing_there_is_nothing_to_do(home: Path) -> None:
    contexts.tidy(0, spare="abc")
    contexts.remove("abc")


def test_a_new_one_leaves_half_of_what_is_free(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1_000, 0, 1_000))
    assert contexts.room(10_000) == 500
    assert contexts.room(100) == 100
