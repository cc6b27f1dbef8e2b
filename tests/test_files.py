"""Small files of others: what is not regular is never waited for, and nothing is read without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localmag import files
from localmag.errors import WrongUsage


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WrongUsage, match="pipe cannot be read"):
        files.toml(tmp_path / "pipe")
    assert files.json_object(tmp_path / "pipe") == {}


def test_neither_folder_nor_device_is_a_file(tmp_path: Path) -> None:
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(WrongUsage, match="cannot be read"):
            files.toml(path)
        assert files.json_object(path) == {}


def test_what_is_not_there_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file" / "none"):
        assert files.toml(path) == {}
        assert files.json_object(path) == {}


def test_no_more_is_read_than_was_meant(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b" " * (4 * 2**20 + 1))
    with pytest.raises(OSError, match="larger than 4 MiB"):
        files.read(tmp_path / "large")
    assert len(files.read(tmp_path / "large", 5 * 2**20)) == 4 * 2**20 + 1


@pytest.mark.parametrize("text", ["", "[1]", "[" * 100_000, "\ufeff{}", "{", "9" * 5000, "\x00"])
def test_what_is_no_json_object_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.json").write_text(text, encoding="utf-8")
    assert files.json_object(tmp_path / "one.json") == {}
