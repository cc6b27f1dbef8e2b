"""How many KV states of conversations there may be."""

from __future__ import annotations

import os
import shutil
import sys
import time
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
    made("abc.123.old", 100, age=5)
    made("abc", 100, age=0)
    contexts.tidy(1_000, spare="abc")
    assert there() == {"abc"}
    made("abc.123.new", 100, age=5)
    contexts.remove("abc")
    assert there() == set()


def test_what_another_program_is_making_stays_and_does_not_count(home: Path) -> None:
    made("other.123.new", 100, age=1e9 - time.time())
    made("abc", 100, age=0)
    contexts.tidy(100, spare="")
    assert there() == {"other.123.new", "abc"}
    assert contexts.all_held() == {"abc": 100}


def test_what_a_clock_set_ahead_left_goes_too(home: Path) -> None:
    made("abc.123.new", 100, age=-3e9)
    contexts.tidy(100, spare="")
    assert there() == set()


def test_what_is_kept_of_conversations_that_are_gone_goes(home: Path) -> None:
    made("gone", 100, age=0)
    made("gone.123.new", 100, age=1e9 - time.time())
    made("here", 100, age=0)
    contexts.tidy(1_000, spare="here", gone={"gone"})
    assert there() == {"here"}


def test_what_was_used_last_goes_last(home: Path) -> None:
    made("used", 100, age=2)
    made("other", 100, age=1)
    contexts.used("used")
    contexts.tidy(100, spare="")
    assert there() == {"used"}


def test_whatever_lies_in_its_place_is_removed(home: Path) -> None:
    elsewhere = made("elsewhere", 100, age=0)
    (paths.contexts() / "abc").write_text("a file, where a folder was expected")
    contexts.remove("abc")
    if sys.platform != "win32":
        (paths.contexts() / "abc").symlink_to(elsewhere)
        (paths.contexts() / "abc.1.new").symlink_to("nowhere")
        contexts.remove("abc")
    assert there() == {"elsewhere"}
    assert (elsewhere / "kv").exists()


def test_one_that_cannot_be_removed_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made("abc", 100, age=0)
    monkeypatch.setattr(shutil, "rmtree", lambda path, **_: None)
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
