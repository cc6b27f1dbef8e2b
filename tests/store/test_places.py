"""Where other tools keep weights: found as those tools lay them out, and nothing of it trusted."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localmag.store import places
from localmag.store.places import Found
from tests.store.make import mlx, tiny

DIGEST = "ab" * 32
WEIGHTS = "application/vnd.ollama.image.model"


@pytest.fixture
def told() -> list[str]:
    return []


def put(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or tiny())
    return path


def manifest(root: Path, name: str, *layers: dict[str, Any] | str) -> Path:
    """`host/namespace/model/tag` in Ollama's folder; a digest alone is a layer of weights."""
    whole = [{"mediaType": WEIGHTS, "digest": one} if isinstance(one, str) else one for one in layers]
    return put(root / "manifests" / name, json.dumps({"schemaVersion": 2, "layers": whole}).encode())


def paths_of(found: Iterator[Found]) -> list[Path]:
    return [one.path for one in found]


# ── LM Studio ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("base", [".lmstudio/models", ".cache/lm-studio/models"])
def test_lm_studios_folders_are_known(home: Path, told: list[str], base: str) -> None:
    file = put(home / base / "publisher" / "repo-GGUF" / "m-Q4_K_M.gguf")
    (found,) = places.lm_studio(told.append)
    assert (found.path, found.place, found.label) == (file, "LM Studio", "m-Q4_K_M")
    assert "publisher/repo-GGUF" in found.hints
    assert not told


def test_lm_studios_own_settings_say_where_else(home: Path, tmp_path: Path, told: list[str]) -> None:
    file = put(tmp_path / "disk" / "publisher" / "repo" / "m.gguf")
    settings = {"downloadsFolder": str(tmp_path / "disk")}
    put(home / ".lmstudio" / "settings.json", json.dumps(settings).encode())
    assert paths_of(places.lm_studio(told.append)) == [file]


def test_lm_studios_home_may_be_elsewhere(home: Path, tmp_path: Path, told: list[str]) -> None:
    file = put(tmp_path / "studio" / "models" / "publisher" / "repo" / "m.gguf")
    put(home / ".lmstudio-home-pointer", str(tmp_path / "studio").encode())
    assert paths_of(places.lm_studio(told.append)) == [file]


@pytest.mark.parametrize("said", ["relative", "../..", 7, None, ["/x"], "/dev/null", "/x\0y"])
def test_settings_that_make_no_sense_are_none(home: Path, told: list[str], said: object) -> None:
    put(home / ".lmstudio" / "settings.json", json.dumps({"downloadsFolder": said}).encode())
    put(home / ".lmstudio-home-pointer", b"\xff\0nowhere")
    assert not list(places.lm_studio(told.append))


def test_what_belongs_to_a_model_but_is_none_is_passed_over(home: Path, told: list[str]) -> None:
    folder = home / ".lmstudio" / "models" / "publisher" / "repo"
    file = put(folder / "m-Q4_K_M.gguf")
    for other in ("mmproj-m-F16.gguf", "m.gguf.part", "README.md", ".hidden.gguf"):
        put(folder / other)
    assert paths_of(places.lm_studio(told.append)) == [file]


def test_parts_are_one_and_tell_whether_all_are_there(home: Path, told: list[str]) -> None:
    folder = home / ".lmstudio" / "models" / "publisher" / "repo"
    parts = [put(folder / f"m-BF16-0000{n}-of-00003.gguf") for n in (1, 2, 3)]
    (found,) = places.lm_studio(told.append)
    assert (found.path, found.files, found.label) == (parts[0], tuple(parts), "m-BF16")
    assert found.whole
    parts[0].unlink()
    (found,) = places.lm_studio(told.append)
    assert found.files == tuple(parts[1:])
    assert not found.whole


def test_a_part_that_claims_a_hundred_thousand_others_is_one(told: list[str], tmp_path: Path) -> None:
    put(tmp_path / "m-00001-of-99999.gguf")
    (found,) = places.in_folder(tmp_path, "import", told.append, depth=0)
    assert not found.whole


def test_an_mlx_build_is_a_folder(home: Path, told: list[str]) -> None:
    base = home / ".lmstudio" / "models" / "publisher"
    build = mlx(base / "Magistral-Small-2509-MLX-4bit")
    plain = mlx(base / "some-checkpoint", bits=None)
    found = {one.path: one for one in places.lm_studio(told.append)}
    assert set(found) == {build}
    assert found[build].backend == "mlx"
    assert plain.exists()


# ── Ollama ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ollama(home: Path) -> Path:
    return home / ".ollama" / "models"


def test_ollamas_blobs_are_found_through_its_manifests(ollama: Path, told: list[str]) -> None:
    blob = put(ollama / "blobs" / f"sha256-{DIGEST}")
    other = {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "cd" * 32}
    manifest(ollama, "registry.ollama.ai/library/magistral/latest", f"sha256:{DIGEST}", other)
    manifest(ollama, "registry.ollama.ai/library/magistral/24b-small-2506-q4_K_M", f"sha256:{DIGEST}")
    (found,) = places.ollama(told.append)
    assert (found.path, found.place, found.label) == (blob, "Ollama", "magistral:latest")
    assert found.hints == ("magistral:24b-small-2506-q4_K_M",)


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("registry.ollama.ai/library/m/24b", "m:24b"),
        ("registry.ollama.ai/someone/m/24b", "someone/m:24b"),
        ("hf.co/unsloth/Magistral-Small-2509-GGUF/Q4_K_M", "hf.co/unsloth/Magistral-Small-2509-GGUF:Q4_K_M"),
    ],
)
def test_ollamas_names_are_its_own(ollama: Path, told: list[str], where: str, name: str) -> None:
    put(ollama / "blobs" / f"sha256-{DIGEST}")
    manifest(ollama, where, f"sha256:{DIGEST}")
    assert [one.label for one in places.ollama(told.append)] == [name]


def test_ollama_may_be_told_where_to_keep_them(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    blob = put(tmp_path / "blobs" / f"sha256-{DIGEST}")
    manifest(tmp_path, "registry.ollama.ai/library/m/latest", f"sha256:{DIGEST}")
    assert paths_of(places.ollama(told.append)) == [blob]


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../../secret", "sha256-" + DIGEST, DIGEST, "sha256:" + DIGEST.upper(),
        "sha256:" + "a" * 63, "sha256:" + "a" * 65, f"sha256:{DIGEST}\n", "/etc/passwd", "sha256:/etc/passwd",
        "", None, 7,
        "sha256:" + "../" * 21 + "a", ["sha256:" + DIGEST], "sha512:" + DIGEST,
    ],
)  # fmt: skip
def test_a_digest_is_a_digest_before_it_is_a_path(ollama: Path, told: list[str], digest: object) -> None:
    put(ollama / "secret")
    put(ollama / "blobs" / "sha256-secret")
    layer = {"mediaType": WEIGHTS, "digest": digest}
    manifest(ollama, "registry.ollama.ai/library/m/latest", layer)
    assert not list(places.ollama(told.append))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100))
def test_a_manifest_that_is_none_is_passed_over(ollama: Path, told: list[str], junk: bytes) -> None:
    put(ollama / "manifests" / "registry.ollama.ai" / "library" / "m" / "latest", junk or b"\0")
    assert not list(places.ollama(told.append))


@pytest.mark.parametrize("layers", [None, 7, "x", [7], [[]], [{}], {"a": 1}])
def test_layers_that_are_none_are_passed_over(ollama: Path, told: list[str], layers: object) -> None:
    text = json.dumps({"layers": layers}).encode()
    put(ollama / "manifests" / "registry.ollama.ai" / "library" / "m" / "latest", text)
    assert not list(places.ollama(told.append))


def test_a_manifest_without_end_is_not_read(ollama: Path, told: list[str]) -> None:
    path = put(ollama / "manifests" / "registry.ollama.ai" / "library" / "m" / "latest")
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    assert not list(places.ollama(told.append))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are made on POSIX only")
def test_a_pipe_in_a_files_place_is_not_waited_for(home: Path, ollama: Path, told: list[str]) -> None:
    folder = ollama / "manifests" / "registry.ollama.ai" / "library" / "m"
    studio = home / ".lmstudio" / "models" / "publisher" / "repo"
    for path in (folder, studio):
        path.mkdir(parents=True)
    os.mkfifo(folder / "latest")
    os.mkfifo(studio / "m.gguf")
    os.mkfifo(home / ".lmstudio" / "settings.json")
    os.mkfifo(home / ".lmstudio-home-pointer")
    assert not list(places.everything(told.append))


# ── Links and loops ───────────────────────────────────────────────────────────────────────────────


def test_links_that_go_in_circles_end(home: Path, told: list[str]) -> None:
    base = home / ".lmstudio" / "models"
    file = put(base / "publisher" / "repo" / "m.gguf")
    (base / "publisher" / "repo" / "deeper").symlink_to(base, target_is_directory=True)
    (base / "self").symlink_to(base / "self")
    (home / ".ollama").mkdir()
    (home / ".ollama" / "models").symlink_to(home / ".ollama" / "models")
    assert paths_of(places.everything(told.append)) == [file]


def test_a_folder_may_be_a_link_to_another_disk(home: Path, tmp_path: Path, told: list[str]) -> None:
    put(tmp_path / "publisher" / "repo" / "m.gguf")
    (home / ".lmstudio").mkdir()
    (home / ".lmstudio" / "models").symlink_to(tmp_path, target_is_directory=True)
    assert [p.name for p in paths_of(places.lm_studio(told.append))] == ["m.gguf"]


def test_a_link_that_leads_nowhere_is_not_there(home: Path, told: list[str]) -> None:
    folder = home / ".lmstudio" / "models" / "publisher" / "repo"
    folder.mkdir(parents=True)
    (folder / "m.gguf").symlink_to(folder / "gone.gguf")
    assert not list(places.lm_studio(told.append))


LOOK_AS_NOBODY = """
import os, sys
from localmag.store import places
os.setgroups([]); os.setgid(65534); os.setuid(65534)
told = []
print(list(places.ollama(told.append)), told)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")
def test_a_folder_that_may_not_be_read_is_told_of(home: Path, ollama: Path, told: list[str]) -> None:
    manifest(ollama, "registry.ollama.ai/library/m/latest", f"sha256:{DIGEST}")
    (ollama / "manifests").chmod(0)
    try:
        if os.geteuid():
            said = f"{list(places.ollama(told.append))} {told}"
        else:  # to root everything is readable: look as somebody else
            import subprocess

            for folder in (ollama, *ollama.parents):
                folder.chmod(folder.stat().st_mode | 0o755)
            done = subprocess.run(
                [sys.executable, "-c", LOOK_AS_NOBODY], capture_output=True, text=True, check=False
            )
            said = done.stdout + done.stderr
    finally:
        (ollama / "manifests").chmod(0o755)
    assert said.startswith("[] [")
    assert "manifests cannot be read (Permission denied)" in said


# ── The Hugging Face cache ────────────────────────────────────────────────────────────────────────


def test_repositories_that_the_catalogue_does_not_know_are_found(told: list[str]) -> None:
    hub = Path(os.environ["HF_HOME"]) / "hub"
    commit = "c" * 40
    file = put(hub / "models--someone--thing-GGUF" / "snapshots" / commit / "Q8_0" / "thing-Q8_0.gguf")
    put(hub / "models--someone--thing-GGUF" / "snapshots" / "not-a-commit" / "other.gguf")
    for other in ("datasets--someone--data", "models--..--..", "models--alone", "version.txt"):
        put(hub / other / "snapshots" / commit / "x.gguf")
    (found,) = places.hub_cache(told.append)
    assert (found.path, found.repo, found.inside) == (file, "someone/thing-GGUF", "Q8_0/thing-Q8_0.gguf")


def test_a_whole_split_in_an_older_snapshot_goes_before_half_a_one(told: list[str]) -> None:
    base = Path(os.environ["HF_HOME"]) / "hub" / "models--someone--thing"
    old, new = (base / "snapshots" / (letter * 40) for letter in "ab")
    whole = [put(old / f"m-0000{n}-of-00002.gguf") for n in (1, 2)]
    put(new / "m-00001-of-00002.gguf")
    put(base / "refs" / "main", new.name.encode())
    (found,) = places.hub_cache(told.append)
    assert found.files == tuple(whole)
    whole[1].unlink()
    (found,) = places.hub_cache(told.append)
    assert not found.whole


def test_a_file_of_several_snapshots_is_one(told: list[str]) -> None:
    base = Path(os.environ["HF_HOME"]) / "hub" / "models--someone--thing" / "snapshots"
    put(base / ("a" * 40) / "m.gguf")
    put(base / ("b" * 40) / "m.gguf")
    put(base / ("b" * 40) / "n.gguf")
    assert sorted(one.inside for one in places.hub_cache(told.append)) == ["m.gguf", "n.gguf"]
