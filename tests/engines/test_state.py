"""KV states on disk, alike on every TokenModel: what comes back, and what is refused."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from localmag import paths
from localmag.engines import EngineSpec, TokenModel, state
from localmag.engines.llamacpp import LlamaCpp
from localmag.engines.scripted import Scripted
from localmag.errors import BadFile, NotFound, RunFailed
from localmag.types import Prefill
from tests.engines.conftest import CONTEXT, mlx_runs
from tests.engines.test_token_models import PROMPT, run

Make = Callable[..., tuple[TokenModel, EngineSpec]]


@pytest.fixture(params=["scripted", "llama.cpp", pytest.param("mlx", marks=mlx_runs)])
def make(request: pytest.FixtureRequest, tmp_path: Path, tiny: EngineSpec) -> Iterator[Make]:
    """A fresh model at each call, with its spec, changed as told; closed at the end."""
    made: list[TokenModel] = []

    def fresh(**changes: object) -> tuple[TokenModel, EngineSpec]:
        spec: EngineSpec
        match request.param:
            case "scripted":
                script = tmp_path / "script.json"
                script.write_text("[]")
                spec = replace(EngineSpec("scripted", script, tiny.tokenizer, CONTEXT), **changes)
                made.append(Scripted([list(range(1_000, 4_000))], context=spec.context))
            case "llama.cpp":
                spec = replace(tiny, **changes)
                made.append(LlamaCpp(spec))
            case _:
                from localmag.engines.mlx import Mlx

                spec = replace(request.getfixturevalue("tiny_mlx"), **changes)
                made.append(Mlx(spec))
        return made[-1], spec

    yield fresh
    for model in made:
        model.close()


@pytest.fixture
def kept(make: Make, tmp_path: Path) -> Path:
    """A state of all of PROMPT, and of one id that was drawn and read."""
    model, spec = make()
    run(model, PROMPT, 3)
    state.save(model, spec, tmp_path / "kept", len(PROMPT) + 1)
    return tmp_path / "kept"


def test_what_was_read_is_not_read_again(make: Make, kept: Path) -> None:
    model, spec = make()
    _, whole = run(model, PROMPT, 20)
    model, spec = make()
    told = state.load(model, spec, kept)
    assert told.tokens == len(PROMPT) + 1
    progress, again = run(model, PROMPT, 20)
    assert progress[0] == Prefill(len(PROMPT) - 1, len(PROMPT))
    assert again == whole


def test_a_part_is_kept_and_the_rest_forgotten(make: Make, tmp_path: Path) -> None:
    model, spec = make()
    _, whole = run(model, PROMPT, 20)
    state.save(model, spec, tmp_path / "kept", 90)
    model, spec = make()
    assert state.load(model, spec, tmp_path / "kept").ids == tuple(PROMPT[:90])
    progress, again = run(model, PROMPT, 20)
    assert progress[0].done == 90
    assert again == whole


def test_a_longer_context_takes_it_too(make: Make, kept: Path) -> None:
    model, spec = make(context=2 * CONTEXT)
    state.load(model, spec, kept)
    assert run(model, PROMPT, 1)[0][0].done == len(PROMPT) - 1


def test_a_context_that_is_too_short_refuses_it(make: Make, kept: Path) -> None:
    refused(make(context=len(PROMPT) + 1), kept, "201 tokens")


def test_it_says_what_it_is_of(make: Make, kept: Path) -> None:
    _, spec = make()
    told = state.describe(kept)
    assert (told.backend, told.kv_type, told.build) == (spec.backend, "f16", spec.name)
    assert told.ids[: len(PROMPT)] == tuple(PROMPT)
    assert told.bytes == sum(p.stat().st_size for p in kept.iterdir()) - (kept / "state").stat().st_size


def test_saving_again_replaces_it(make: Make, kept: Path) -> None:
    model, spec = make()
    run(model, PROMPT, 3)
    state.save(model, spec, kept, 50)
    assert state.describe(kept).tokens == 50
    assert [path.name for path in kept.parent.iterdir() if path.name.startswith("kept")] == ["kept"]


# ── What is not taken ─────────────────────────────────────────────────────────────────────────────


def refused(made: tuple[TokenModel, EngineSpec], kept: Path, why: str) -> None:
    """It is refused for that reason, and the model knows nothing of it."""
    model, spec = made
    with pytest.raises(BadFile, match=why):
        state.load(model, spec, kept)
    assert model.held == []


def test_another_kv_type_another_version_or_other_weights_are_not_these(make: Make, kept: Path) -> None:
    model, spec = make()
    refused((model, replace(spec, kv_type="q8_0")), kept, "another KV type")
    other = spec.weights.with_name("other")
    if spec.weights.is_dir():
        other.mkdir()
        for path in spec.weights.iterdir():
            (other / path.name).write_bytes(path.read_bytes())
        changed = other / "config.json"
    else:
        other.write_bytes(spec.weights.read_bytes())
        changed = other
    moved = replace(spec, weights=other)
    assert state.fingerprint(moved) == state.fingerprint(spec)
    changed.write_bytes(changed.read_bytes() + b" ")
    refused((model, moved), kept, "another build")
    model.library = "another 1"
    refused((model, spec), kept, "another version of its library")


def test_a_byte_that_changed_anywhere_is_noticed(make: Make, kept: Path) -> None:
    model, spec = make()
    for path in kept.iterdir():
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            refused((model, spec), kept, "damaged")
        path.write_bytes(whole[:-1])
        refused((model, spec), kept, "damaged")
        path.unlink()
        with pytest.raises((BadFile, NotFound)):
            state.load(model, spec, kept)
        path.write_bytes(whole)
    state.load(model, spec, kept)


def test_another_users_state_is_foreign(make: Make, kept: Path) -> None:
    (paths.data() / "state.key").write_bytes(bytes(32))
    refused(make(), kept, "not written here")


@pytest.mark.parametrize(
    "manifest", [b"", b"\n", b"{}", b"null\n" + b"0" * 64, b"\xff" * 1_000, b"[" * 9_999]
)
def test_a_manifest_of_anything_is_refused(make: Make, kept: Path, manifest: bytes) -> None:
    (kept / "state").write_bytes(manifest)
    refused(make(), kept, "not written here")


def test_a_form_that_changed_without_its_name_is_noticed(make: Make, kept: Path) -> None:
    """What is signed is believed, and still held against the model before it is used."""
    signed = (kept / "state").read_bytes().rpartition(b"\n")[0]
    for change in ({"format": 99}, {"backend": "another"}):
        sign(kept, json.dumps(json.loads(signed) | change).encode())
        refused(make(), kept, "another")


def sign(kept: Path, told: bytes) -> None:
    (kept / "state").write_bytes(state._signed(told, state._key_to_sign()))


ODD: list[object] = [
    None, 7, [], {}, {"format": 1}, {"ids": None}, {"ids": []}, {"ids": [1.5]}, {"ids": ["1"]}, {"ids": [-1]},
    {"ids": [True]}, {"files": []}, {"files": {"kv": 1}}, {"files": {"kv": ["1", "2"]}}, {"more": 1},
    {"files": {"a/kv": [1, ""], "b/kv": [1, ""]}}, {"saved": "today"}, {"build": 1}, {"kv_type": None},
]  # fmt: skip


def test_a_form_that_is_odd_and_signed_all_the_same_is_refused(kept: Path) -> None:
    """As a mistake of an older version may have written it."""
    signed = json.loads((kept / "state").read_bytes().rpartition(b"\n")[0])
    for odd in ODD:
        whole = signed | odd if isinstance(odd, dict) and set(odd) - {"format"} else odd
        sign(kept, json.dumps(whole).encode())
        with pytest.raises(BadFile, match="another version"):
            state.describe(kept)
    for text in (b"", b"{", b"[" * 99_999, b"\xff", b"NaN"):
        sign(kept, text)
        with pytest.raises(BadFile, match="another version"):
            state.describe(kept)


def folder_in_place(path: Path) -> None:
    path.mkdir()


def nothing(path: Path) -> None:
    """Removed, and not replaced."""


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def larger_than_the_disk(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 * 10**9)


def around_in_a_circle(path: Path) -> None:
    path.symlink_to(path.name)


posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
INTRUDERS = [
    folder_in_place, nothing, *(pytest.param(one, marks=posix) for one in (pipe, device, around_in_a_circle)),
    pytest.param(larger_than_the_disk, marks=pytest.mark.skipif(sys.platform == "win32", reason="no holes")),
]  # fmt: skip


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_what_stands_in_the_place_of_a_file_is_not_read(
    make: Make, kept: Path, intruder: Callable[[Path], None]
) -> None:
    model, spec = make()
    for path in list(kept.iterdir()):
        aside = path.rename(kept.parent / "aside")
        intruder(path)
        with pytest.raises((BadFile, NotFound)):
            state.load(model, spec, kept)
        assert model.held == []
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        aside.rename(path)
    state.load(model, spec, kept)


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_what_stands_in_the_place_of_the_state_makes_way(
    make: Make, tmp_path: Path, intruder: Callable[[Path], None]
) -> None:
    model, spec = make()
    run(model, PROMPT, 3)
    intruder(tmp_path / "kept")
    state.save(model, spec, tmp_path / "kept", 50)
    assert state.describe(tmp_path / "kept").tokens == 50


@posix
def test_a_link_in_its_place_makes_way_and_what_it_leads_to_stays(make: Make, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("mine")
    (tmp_path / "kept").symlink_to("elsewhere")
    model, spec = make()
    run(model, PROMPT, 3)
    state.save(model, spec, tmp_path / "kept", 50)
    assert not (tmp_path / "kept").is_symlink()
    assert (tmp_path / "elsewhere" / "mine").read_text() == "mine"


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_without_a_key_of_ours_every_state_is_foreign(
    make: Make, kept: Path, intruder: Callable[[Path], None]
) -> None:
    key = paths.data() / "state.key"
    key.unlink()
    intruder(key)
    refused(make(), kept, "not written here")


def test_a_key_that_was_lost_or_cut_short_is_made_anew(make: Make, kept: Path) -> None:
    key = paths.data() / "state.key"
    model, spec = make()
    run(model, PROMPT, 3)
    for broken in (None, b"", b"short", bytes(99)):
        key.unlink() if broken is None else key.write_bytes(broken)
        state.save(model, spec, kept, 50)
        assert len(key.read_bytes()) == 32
        assert state.describe(kept).tokens == 50
    assert [path.name for path in key.parent.iterdir()] == ["state.key"]


def test_where_there_can_be_no_key_nothing_is_kept(make: Make, kept: Path) -> None:
    before = sorted(path.name for path in kept.parent.iterdir())
    (paths.data() / "state.key").unlink()
    (paths.data() / "state.key").mkdir()
    model, spec = make()
    run(model, PROMPT, 3)
    with pytest.raises(RunFailed, match=r"state\.key"):
        state.save(model, spec, kept, 50)
    assert sorted(path.name for path in kept.parent.iterdir()) == before


def test_two_programs_that_make_the_key_at_once_have_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def while_another_is_quicker(count: int) -> bytes:
        (paths.data() / "state.key").write_bytes(b"a" * count)
        return b"b" * count

    monkeypatch.setattr(secrets, "token_bytes", while_another_is_quicker)
    assert state._key_to_sign() == b"a" * 32


def test_one_that_is_replaced_while_it_is_read_is_not_used(
    make: Make, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the other, of other ids: nothing but the time and the place of the files would tell."""
    model, spec = make()
    _, whole = run(model, PROMPT, 20)
    model, spec = make()
    load = model.load_state

    def after_another_came(folder: Path, ids: Sequence[int]) -> None:
        for path in list(folder.iterdir()):
            path.write_bytes(path.read_bytes())
        load(folder, ids)

    monkeypatch.setattr(model, "load_state", after_another_came)
    refused((model, spec), kept, "just been replaced")
    progress, again = run(model, PROMPT, 20)
    assert (progress[0].done, again) == (0, whole)


def test_of_two_that_are_put_in_place_at_once_one_is_there(
    make: Make, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, spec = make()
    run(model, PROMPT, 3)
    rename = Path.rename
    others = [50]

    def and_another_is_quicker(self: Path, target: Path) -> Path:
        if target == kept and others:
            count = others.pop()
            monkeypatch.setattr(os, "getpid", lambda: 0)
            state.save(model, spec, kept, count)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", and_another_is_quicker)
    state.save(model, spec, kept, 60)
    assert state.describe(kept).tokens == 60
    assert [path.name for path in kept.parent.iterdir() if path.name.startswith("kept")] == ["kept"]


def test_one_that_cannot_take_its_place_leaves_the_old_one_there(
    make: Make, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where anybody has a file of it open."""
    model, spec = make()
    run(model, PROMPT, 3)
    before, rename = state.describe(kept), Path.rename

    def refusing(self: Path, target: Path) -> Path:
        if self.suffix == ".new":
            raise PermissionError(13, "in use")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(RunFailed, match="in use"):
        state.save(model, spec, kept, 50)
    assert state.describe(kept) == before


def test_one_whose_maker_died_while_none_was_in_its_place_is_put_back(kept: Path) -> None:
    before = state.describe(kept)
    new, old = state.unfinished(kept, 99)
    kept.rename(old)
    new.mkdir()
    state.clear_up(kept, 99)
    assert state.describe(kept) == before
    assert not new.exists()


def test_nothing_there_is_not_found(make: Make, tmp_path: Path) -> None:
    model, spec = make()
    with pytest.raises(NotFound):
        state.load(model, spec, tmp_path / "nothing")


def test_a_disk_that_refuses_leaves_the_old_state(make: Make, kept: Path) -> None:
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    model, spec = make()
    run(model, PROMPT, 3)
    blocked = kept.parent / "a file"
    blocked.write_text("in the way")
    with pytest.raises(RunFailed, match="could not be kept"):
        state.save(model, spec, blocked / "kept", 50)
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


def test_it_is_worth_the_disk_where_reading_anew_takes_longer(make: Make) -> None:
    model, _ = make()
    run(model, PROMPT, 3)
    model.rate = 1.0
    assert state.worth_keeping(model, len(PROMPT))
    model.rate = 1e12
    assert not state.worth_keeping(model, len(PROMPT))


def test_what_is_there_already_is_not_worth_it_again(make: Make) -> None:
    model, _ = make()
    run(model, PROMPT, 3)
    model.rate = 1.0
    assert state.worth_keeping(model, 50, 49)
    model.rate = 0.0
    assert not state.worth_keeping(model, 50, 50)
