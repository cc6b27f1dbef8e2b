"""`localmag pull` where the disk is full, read-only, or another one; real disks, all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.hub import volumes
from tests.hub.look import cached, leftovers, listed, two_sentences
from tests.hub.magistral import WEIGHTS, WEIGHTS_REPO
from tests.hub.server import Hub
from tests.hub.zygote import Zygote

pytest_plugins = ("tests.hub.fixtures",)

LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
sys.argv = ["localmag", "pull", "magistral:Q4_K_M", "--yes"]
runpy.run_module("localmag", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def online(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """What a program needs that is not run by the zygote."""
    for name, value in {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}.items():
        monkeypatch.setenv(name, value)
    return os.environ


# ── Full ──────────────────────────────────────────────────────────────────────────────────────────

FULL = """
$LOCALMAG pull magistral:Q4_K_M --yes >/dev/null 2>"$NOTES/first" & pull=$!
until ls "$VOLUME"/hub/*GGUF/blobs/*.incomplete >/dev/null 2>&1; do sleep 0.05; done
fallocate -l 279000000 "$VOLUME/filler"
dd if=/dev/zero of="$VOLUME/rest" bs=4k 2>/dev/null
wait $pull; echo $?
stat -c %s "$VOLUME"/hub/*GGUF/blobs/*.incomplete
$LOCALMAG list --json 2>/dev/null
rm "$VOLUME/filler" "$VOLUME/rest"
$LOCALMAG pull magistral:Q4_K_M --yes >/dev/null 2>"$NOTES/second"; echo $?
$LOCALMAG list --json 2>/dev/null
"""


def test_a_disk_that_fills_up_meanwhile_is_told_and_what_arrived_serves_the_next_pull(
    hub: Hub, online: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.slow = 0.1
    monkeypatch.setenv("NOTES", str(tmp_path))
    done = volumes.script(Path(os.environ["HF_HOME"]), "size=270m", FULL)
    assert done.returncode == 0, done.stderr
    code, kept, before, again, after = done.stdout.splitlines()
    assert code == "4", (tmp_path / "first").read_text()
    said = (tmp_path / "first").read_text()
    assert two_sentences(said)
    assert "No space left" in said
    assert states(before).get("magistral:Q4_K_M") == "partial"
    assert again == "0", (tmp_path / "second").read_text()
    assert states(after)["magistral:Q4_K_M"] == "verified"
    whole = hub.repos[WEIGHTS_REPO].files[WEIGHTS].size
    assert 0 < int(kept) < whole
    assert hub.sent[WEIGHTS] < whole + 1_000_000


def states(listing: str) -> dict[str, str]:
    return {entry["name"]: entry["state"] for entry in json.loads(listing)}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_file_system_that_takes_no_file_so_large_is_told(
    hub: Hub, run: Zygote, online: Mapping[str, str]
) -> None:
    args = [sys.executable, "-c", LIMITED]
    done = subprocess.run(args, env=online, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 4, done.stderr
    assert two_sentences(done.stderr)
    here = listed(run)["magistral:Q4_K_M"]
    assert (here["state"], here["bytes"]) == ("partial", 1_000_000)
    assert run("pull", "magistral", "--yes").returncode == 0
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    assert not leftovers()


def test_a_disk_too_small_is_told_before_anything_is_fetched(hub: Hub, run: Zygote) -> None:
    hub.repos[WEIGHTS_REPO].files[WEIGHTS].claimed = 10**16
    done = run("pull", "magistral", "--yes")
    assert done.returncode == 4
    assert "GB free" in done.stderr
    assert not hub.sent


# ── Read-only ─────────────────────────────────────────────────────────────────────────────────────

READ_ONLY = """
cp -a "$FROM"/. "$VOLUME"/
mount -o remount,ro "$VOLUME" || exit 98
$LOCALMAG pull magistral:Q4_K_M --yes 2>"$NOTES"; echo $?
$LOCALMAG list --json 2>/dev/null
"""


def test_a_cache_that_cannot_be_written_is_told(
    hub: Hub, online: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FROM", str(tmp_path))
    monkeypatch.setenv("NOTES", os.devnull)
    done = volumes.script(Path(os.environ["HF_HOME"]), "size=400m", READ_ONLY.replace('2>"$NOTES"', "2>&1"))
    *said, code, _ = done.stdout.splitlines()
    assert code == "1", done.stdout
    assert "Read-only" in said[-1]
    assert two_sentences(said[-1])
    assert not hub.sent


def test_what_lies_in_a_cache_that_cannot_be_written_is_verified(
    hub: Hub, run: Zygote, online: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a server whose administrator fetched the weights for all."""
    run("pull", "magistral", "--yes")
    there = tmp_path / "there"
    Path(os.environ["HF_HOME"]).rename(there)
    for record in (Path(os.environ["LOCALMAG_HOME"]) / "data" / "weights").iterdir():
        record.unlink()
    monkeypatch.setenv("FROM", str(there))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    done = volumes.script(Path(os.environ["HF_HOME"]), "size=400m", READ_ONLY)
    path, code, listing = done.stdout.splitlines()
    assert code == "0", (tmp_path / "notes").read_text()
    assert path.endswith(WEIGHTS)
    assert states(listing)["magistral:Q4_K_M"] == "verified"


def test_a_cache_that_is_a_file_is_told(hub: Hub, run: Zygote, tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("")
    done = run("pull", "magistral", "--yes", env={"HF_HUB_CACHE": str(tmp_path / "hub")})
    assert done.returncode == 1
    assert two_sentences(done.stderr)
    assert not hub.sent


# ── Elsewhere ─────────────────────────────────────────────────────────────────────────────────────


def test_a_cache_on_another_volume(
    hub: Hub, online: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    monkeypatch.setenv("HF_HUB_CACHE", str(volume / "own" / "place"))
    then = "$LOCALMAG list --json && $LOCALMAG rm magistral --yes && find $VOLUME -type f"
    lines = f"$LOCALMAG pull magistral:Q4_K_M --yes && {then}"
    done = volumes.script(volume, "size=400m", lines)
    path, listing, *left = done.stdout.splitlines()
    assert path.startswith(str(volume))
    assert states(listing)["magistral:Q4_K_M"] == "verified"
    assert all(name.endswith((".lock", "CACHEDIR.TAG")) for name in left)


@pytest.mark.skipif(sys.platform == "win32", reason="links may not be made there")
def test_blobs_that_are_kept_elsewhere_by_a_link(hub: Hub, run: Zygote, tmp_path: Path) -> None:
    """As by those who move the large part of a repository to a larger disk."""
    cached(WEIGHTS_REPO).mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    (cached(WEIGHTS_REPO) / "blobs").symlink_to(tmp_path / "blobs")
    assert run("pull", "magistral", "--yes").returncode == 0
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    assert [p.stat().st_size for p in (tmp_path / "blobs").iterdir()] == [
        hub.repos[WEIGHTS_REPO].files[WEIGHTS].size
    ]


def test_without_links_the_file_itself_is_in_its_place(
    hub: Hub, online: Mapping[str, str], run: Zygote
) -> None:
    """As on Windows without developer mode, and on disks whose file system has none."""
    env = {**online, "HF_HUB_DISABLE_SYMLINKS": "1"}
    args = [sys.executable, "-m", "localmag", "pull", "magistral:Q4_K_M", "--yes"]
    done = subprocess.run(args, env=env, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path.is_file()
    assert not path.is_symlink()
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    assert not leftovers()
    assert run("rm", "magistral", "--yes").returncode == 0
    assert not path.exists()
