"""The store's parts: names from outside, the cache's layout, digests that follow a writer, records."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localmag import store
from localmag.errors import BadFile, NotFound
from localmag.store import NotHere, cache, digest, records
from tests.conftest import Demo
from tests.test_gguf import small

COMMIT, OTHER = "a" * 40, "b" * 40
REPO = "owner/name"
WEIGHTS = "mistralai/Magistral-Small-2509-GGUF"


# ── Names from outside ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "../x", "a/../../x", "/etc/passwd", "C:/x", "C:x", "\\\\host\\x", "a\\..\\x", "", ".", "a/./..",
        "x\0y", "a\nb", "NUL:", "x\x1b[2J", "..", "nul", "NUL.gguf", "a/con.txt", "com1", "LPT9.x",
        "aux .gguf", "a./x", "x.gguf.", "x ", ".. /x", "CONIN$", "x\u202ey",
    ],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(BadFile):
        cache.pointer(REPO, COMMIT, path)


@given(st.text(max_size=60))
def test_no_path_whatever_leaves_its_snapshot(path: str) -> None:
    home = cache.folder(REPO) / "snapshots" / COMMIT
    try:
        found = cache.pointer(REPO, COMMIT, path)
    except BadFile:
        return
    assert found.resolve().is_relative_to(home.resolve())
    assert found != home


@pytest.mark.parametrize("repo", ["x", "../x", "a/b/c", "a/..", "/x", "a/b--c", "a\\b", "a/", "", "a/b\n"])
def test_a_repository_has_an_owner_and_a_name(repo: str) -> None:
    with pytest.raises(BadFile):
        cache.folder(repo)


@pytest.mark.parametrize("etag", ["", "../x", "A" * 40, "a" * 39, "a" * 41, "a" * 64 + "\n", "/" * 64])
def test_a_digest_is_only_hexadecimal(etag: str) -> None:
    with pytest.raises(BadFile):
        cache.blob(REPO, etag)


# ── Which files a build means ─────────────────────────────────────────────────────────────────────

PARTS = [f"big-Q8_0-0000{i}-of-00003.gguf" for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("pattern", "names", "chosen"),
    [
        ("a.gguf", ["b.gguf", "a.gguf"], ["a.gguf"]),
        ("*Q6_K.gguf", ["m-Q6_K.gguf", "m-UD-Q6_K_XL.gguf"], ["m-Q6_K.gguf"]),
        ("*Q6_K.gguf", ["m-Q6_K.gguf", "n-Q6_K.gguf"], []),
        ("big-Q8_0.gguf", PARTS[::-1], PARTS),
        ("*Q8_0.gguf", PARTS, PARTS),
        ("big-Q8_0.gguf", PARTS[:2], []),
        ("big-Q8_0.gguf", [], []),
    ],
)
def test_a_pattern_means_a_file_or_its_parts(pattern: str, names: list[str], chosen: list[str]) -> None:
    assert cache.choose(pattern, names) == chosen


# ── The cache's layout ────────────────────────────────────────────────────────────────────────────


def put(repo: str, commit: str, path: str, content: bytes = b"x") -> Path:
    """A file as the hub's client leaves it."""
    blob = cache.blob(repo, hashlib.sha256(content).hexdigest())
    pointer = cache.pointer(repo, commit, path)
    for file in (blob, pointer):
        file.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    return pointer


def test_what_main_means_comes_first_and_older_snapshots_still_count() -> None:
    old, new = put(REPO, COMMIT, "a.gguf", b"1"), put(REPO, OTHER, "a.gguf", b"2")
    only_old = put(REPO, COMMIT, "b.gguf", b"3")
    cache.set_main(REPO, OTHER)
    assert cache.find(REPO, "a.gguf") == new
    assert cache.find(REPO, "b.gguf") == only_old
    cache.set_main(REPO, COMMIT)
    assert cache.find(REPO, "a.gguf") == old
    assert cache.find(REPO, "c.gguf") is None
    assert cache.find("no/body", "a.gguf") is None


def test_a_link_that_leads_nowhere_is_not_there() -> None:
    put(REPO, COMMIT, "a.gguf").resolve().unlink()
    assert cache.find(REPO, "a.gguf") is None
    assert cache.weights(REPO, "a.gguf") == []


@pytest.mark.parametrize(
    ("env", "where"),
    [
        ({"HF_HUB_CACHE": "/x/hub"}, "/x/hub"),
        ({"HF_HUB_CACHE": "$PLACE/hub", "PLACE": "/y"}, "/y/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "/z"}, "/z"),
        ({"HF_HOME": "/h"}, "/h/hub"),
        ({"HF_HOME": "", "XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_client_has_it(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], where: str
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert cache.root() == Path(where)


SEE = """
from huggingface_hub import constants
from localmag.store import cache
print(cache.root(), constants.HF_HUB_CACHE, sep="\\n")
"""


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"HF_HOME": "~/h"},
        {"HF_HOME": "$HOME/h", "XDG_CACHE_HOME": "/unused"},
        {"HF_HUB_CACHE": "$HOME/x", "HF_HOME": "/unused"},
        {"HUGGINGFACE_HUB_CACHE": "/y"},
        {"HUGGINGFACE_HUB_CACHE": "/unused", "HF_HUB_CACHE": "/y"},
        {"XDG_CACHE_HOME": "/c"},
    ],
)
def test_the_client_itself_has_it_there_too(env: dict[str, str]) -> None:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "XDG_"))}
    args = [sys.executable, "-c", SEE]
    ours, theirs = subprocess.run(
        args, env=plain | env, capture_output=True, text=True, check=True
    ).stdout.split()
    assert ours == theirs


# ── Digests ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 1, 1 << 20, 3_333_333])
def test_a_follower_hashes_what_is_written_while_it_is(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    file = tmp_path / "f"
    with file.open("ab", buffering=0) as out, digest.Follower(file, "0" * 64, size) as follower:
        for at in range(0, size, 100_000):
            out.write(content[at : at + 100_000])
            follower.written(out.tell())
        assert follower.hexdigest() == hashlib.sha256(content).hexdigest()


def test_a_follower_counts_what_was_there_and_starts_again_when_told(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"a" * 2_000_000)
    with file.open("ab", buffering=0) as out, digest.Follower(file, "0" * 40, 3) as follower:
        follower.written(2_000_000)
        time.sleep(0.05)
        out.truncate(0)
        follower.restart()
        out.write(b"new")
        follower.written(3)
        assert follower.hexdigest() == hashlib.sha1(b"blob 3\0new").hexdigest()


def test_a_follower_ends_when_the_writer_fails(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.touch()
    with pytest.raises(KeyError), digest.Follower(file, "0" * 64, 1):
        raise KeyError


def test_a_follower_says_that_it_could_not_read(tmp_path: Path) -> None:
    with digest.Follower(tmp_path / "none", "0" * 64, 1) as follower, pytest.raises(FileNotFoundError):
        follower.hexdigest()


# ── Records ───────────────────────────────────────────────────────────────────────────────────────


def test_a_record_speaks_of_the_bytes_it_saw_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"1234")
    changed = file.stat().st_mtime_ns
    record = records.Record(REPO, COMMIT, "f", "0" * 64, 4, fetched=True, changed=changed)
    records.save(record)
    assert records.load(REPO, "0" * 64) == record
    assert records.of(REPO, file) == record
    os.utime(file, ns=(changed + 1, changed + 1))
    assert records.of(REPO, file) is None
    records.forget(record)
    assert not list(records.every())


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_a_damaged_record_is_no_record(junk: bytes) -> None:
    record = records.Record(REPO, COMMIT, "f", "0" * 64, 4, fetched=True, changed=1)
    records.save(record)
    (file,) = records._folder().glob("*.json")
    file.write_bytes(junk)
    assert not list(records.every())
    assert records.load(REPO, "0" * 64) is None


# ── Finding weights ───────────────────────────────────────────────────────────────────────────────


def test_weights_in_the_cache_are_found_by_name_with_their_prompt() -> None:
    assert store.newest() is None
    weights = put(WEIGHTS, COMMIT, "Magistral-Small-2509-Q4_K_M.gguf", small())
    put("mistralai/Magistral-Small-2509", OTHER, "tekken.json", b"t")
    prompt = put("mistralai/Magistral-Small-2509", OTHER, "SYSTEM_PROMPT.txt", b"s")
    found = store.locate("magistral")
    assert (found.weights, found.system_prompt, found.build) == (weights, prompt, "Q4_K_M")
    assert store.newest() == "magistral"


def test_parts_are_found_only_when_all_are_there() -> None:
    put("mistralai/Magistral-Small-2509", OTHER, "tekken.json", b"t")
    names = [f"Magistral-Small-2509-BF16-0000{i}-of-00002.gguf" for i in (1, 2)]
    first = put(WEIGHTS, COMMIT, names[0], small())
    with pytest.raises(NotHere, match=r"in part only.*localmag pull magistral:BF16`"):
        store.locate("magistral:BF16")
    put(WEIGHTS, COMMIT, names[1], small(floats=32))
    assert store.locate("magistral:BF16").weights == first


def test_weights_that_are_not_here_say_how_to_get_them() -> None:
    with pytest.raises(NotFound) as caught:
        store.locate("magistral:1.1")
    assert "`localmag pull magistral:1.1`" in caught.value.todo
    with pytest.raises(NotHere, match=r"localmag pull magistral:1\.1:Q8_0`"):
        store.locate("magistral:1.1", "Q8_0")
    with pytest.raises(NotHere, match="--backend mlx"):
        store.locate("magistral:1.1", backend="mlx")


def test_a_file_without_a_vocabulary_needs_its_tokenizer_beside_it(tmp_path: Path, demo: Demo) -> None:
    weights = tmp_path / "own.gguf"
    weights.write_bytes(small())
    with pytest.raises(BadFile, match="no Tekken vocabulary") as caught:
        store.locate(str(weights))
    assert "tekken.json beside" in caught.value.todo
    (tmp_path / "tekken.json").write_bytes(demo.tokenizer.read_bytes())
    found = store.locate(str(tmp_path))
    assert (found.weights, found.system_prompt, found.trained) == (weights, None, 1024)


def test_a_folder_with_several_files_asks_for_one(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf", "mmproj-a.gguf"):
        (tmp_path / name).write_bytes(small())
    with pytest.raises(NotFound, match=r"a\.gguf, b\.gguf"):
        store.locate(str(tmp_path))
