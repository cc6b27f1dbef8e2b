"""What is typed, set up or kept on disk, and is not as it should be: told by name, with the right code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from localmag import paths
from tests.conftest import RunLocalmag
from tests.hub.look import two_sentences


@pytest.mark.parametrize("name", ["config.toml", "models.toml"])
def test_settings_that_are_a_folder_are_named(localmag: RunLocalmag, name: str) -> None:
    (paths.config() / name).mkdir()
    done = localmag("ask", "demo", "Hi", "--dry-run")
    assert done.returncode == 2
    assert f"{paths.config() / name} cannot be read" in done.stderr
    assert two_sentences(done.stderr)


def test_doctor_tells_of_settings_that_are_broken(localmag: RunLocalmag) -> None:
    broken = {paths.config() / "config.toml": "theme = ", paths.config() / "models.toml": "model = "}
    for path, key in broken.items():
        path.write_text(key + "[" * 20_000)
    done = localmag("doctor", "--json")
    assert done.returncode == 1
    told = [check["said"] for check in json.loads(done.stdout)["checks"] if check["state"] == "problem"]
    assert {f"{path} is nested too deeply." for path in broken} <= set(told)


def test_records_that_are_none_are_nothing(localmag: RunLocalmag) -> None:
    odd = {
        "deep": "[" * 100_000,
        "wrong": '{"repo": 1, "commit": 2, "path": "a", "etag": "../..", "size": "x", "fetched": true}',
        "astray": '{"repo": "../..", "commit": "", "path": "/a", "etag": "", "size": 1, "fetched": true}',
        "latin": "\xe9",
    }
    for folder in ("weights", "imports"):
        (paths.data() / folder).mkdir()
        for name, text in odd.items():
            (paths.data() / folder / f"{name}.json").write_text(text, encoding="latin-1")
        (paths.data() / folder / "folder.json").mkdir()
        if hasattr(os, "mkfifo"):
            os.mkfifo(paths.data() / folder / "pipe.json")
    if hasattr(os, "mkfifo"):
        os.mkfifo(paths.cache() / "looks.json")
        repository = Path(os.environ["HF_HOME"]) / "hub" / "models--me--mine"
        for part in ("refs", f"snapshots/{'a' * 40}"):
            (repository / part).mkdir(parents=True)
        os.mkfifo(repository / "refs" / "main")
    done = localmag("list", "--json")
    assert done.returncode == 0, done.stderr
    assert {one["model"] for one in json.loads(done.stdout)} == {"demo"}


def test_a_cache_that_is_a_file_holds_nothing(localmag: RunLocalmag, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for command, code in (("list", 0), ("rm", 3)):
        done = localmag(command, *["magistral"][: command == "rm"], env={"HF_HOME": str(tmp_path / "file")})
        assert done.returncode == code, done.stderr


def test_a_file_where_a_folder_is_needed_is_named(localmag: RunLocalmag) -> None:
    (paths.data() / "weights").touch()
    done = localmag("list")
    assert done.returncode == 1
    assert str(paths.data() / "weights") in done.stderr
    assert two_sentences(done.stderr)


def test_what_is_typed_is_not_echoed_whole_where_it_is_long(localmag: RunLocalmag) -> None:
    long = "9" * 20_000
    for args in (("show", long), ("fit", "--ctx", long), ("import", long)):
        done = localmag(*args)
        assert done.returncode in (1, 2, 3)
        assert len(done.stderr) < 1_500, args


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_given_on_purpose_is_read_and_waited_for(tmp_path: Path) -> None:
    """As by `ask -f <(command)`: until something comes, or Ctrl+C."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "localmag", "ask", "demo", "Hi", "--dry-run", "-f", str(pipe)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as asked:
        pipe.write_text("from elsewhere")  # which waits until somebody reads it
        assert asked.stdout
        assert "from elsewhere" in asked.stdout.read()
    assert asked.returncode == 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True) as asked:
        with pytest.raises(subprocess.TimeoutExpired):
            asked.wait(5)
        asked.send_signal(signal.SIGINT)
        assert asked.wait(30) == 130


@pytest.mark.parametrize(
    ("setting", "command"),
    [
        ("HF_HUB_DOWNLOAD_TIMEOUT=soon", "pull magistral:Q4_K_M --yes"),
        ("HF_ENDPOINT=http://127.0.0.1:99999", "pull magistral:Q4_K_M --yes"),
        ("HF_HUB_DOWNLOAD_TIMEOUT=soon", "ask demo hi"),
        ("HF_HUB_DOWNLOAD_TIMEOUT=soon", "ask demo hi --dry-run"),
    ],
)
def test_a_setting_that_the_hubs_client_cannot_read(
    localmag: RunLocalmag, monkeypatch: pytest.MonkeyPatch, setting: str, command: str
) -> None:
    monkeypatch.setenv(*setting.split("="))
    done = localmag(*command.split())
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "cannot read a setting of the environment" in done.stderr
    assert "HF_" in done.stderr


def test_doctor_names_such_a_setting(localmag: RunLocalmag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "soon")
    done = localmag("doctor")
    assert done.returncode == 1
    assert "Look at the HF_… variables" in done.stdout
