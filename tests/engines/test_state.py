"""KV states on disk, alike on every TokenModel: what comes back, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
        told = json.dumps(json.loads(signed) | change).encode()
        (kept / "state").write_bytes(state._signed(told))
        refused(make(), kept, "another")


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
