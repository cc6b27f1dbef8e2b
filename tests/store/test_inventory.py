"""What is on this machine, in one list: recognised, named, refused, and none of it slow to look at again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from localmag import store
from localmag.errors import BadFile, NotFound, WrongUsage
from localmag.store import imports, inventory, look
from localmag.store.adopt import adopt
from tests.conftest import Demo
from tests.store.make import described, header, listed, magistral, mlx, studio, tiny, vocabulary
from tests.tekken import NAMES
from tests.test_gguf import small
from tests.test_store import put

COMMIT = "c" * 40
OLLAMA = "application/vnd.ollama.image.model"
BUNDLED = ["demo:Q8_0", "demo:8bit"]


def ollama(home: Path, name: str, file: Path, digest: str = "ab" * 32) -> Path:
    root = home / ".ollama" / "models"
    blob = root / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    if not blob.exists():
        os.link(file, blob)
    manifest = root / "manifests" / "registry.ollama.ai" / "library" / name.replace(":", "/")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    told = {"layers": [{"mediaType": OLLAMA, "digest": f"sha256:{digest}"}]}
    manifest.write_text(json.dumps(told), encoding="utf-8")
    return blob


@pytest.fixture
def tokenizer() -> Path:
    """Of Magistral 1.2, fetched, so that none need be rebuilt."""
    return put("mistralai/Magistral-Small-2509", COMMIT, "tekken.json", b"{}")


def test_the_demo_ships_for_both_backends(demo: Demo) -> None:
    here = listed()
    assert [here[name].backend for name in BUNDLED] == ["llama.cpp", "mlx"]
    assert here["demo:Q8_0"].size == demo.weights.stat().st_size
    assert here["demo:8bit"].size == sum(file.stat().st_size for file in demo.mlx.iterdir())
    assert store.locate("demo").weights == demo.weights
    for found in (
        store.locate("demo", backend="mlx"),
        store.locate("demo:8bit"),
        store.locate("demo", quant="8BIT"),
        store.locate(str(demo.mlx)),
    ):
        assert (found.backend, found.build, found.weights) == ("mlx", "8bit", demo.mlx)
        assert (found.tokenizer, found.system_prompt) == (demo.tokenizer, demo.system_prompt)
    with pytest.raises(NotFound, match="8bit"):
        store.locate("demo", quant="4bit")


# ── Recognised ────────────────────────────────────────────────────────────────────────────────────


def test_a_build_of_the_catalogue_has_its_name_wherever_it_lies(home: Path) -> None:
    file = magistral(studio(home) / "Magistral-Small-2509-Q4_K_M.gguf")
    here = listed()["magistral:Q4_K_M"]
    assert (here.path, here.place, here.state) == (file, "LM Studio", "unverified")
    assert (here.fetched, here.own_tokenizer) == (False, False)
    assert here.size == pytest.approx(14.33e9, rel=0.01)
    assert store.newest() == "magistral"


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("mistralai_Magistral-Small-2509-Q6_K.gguf", "magistral:Q6_K"),
        ("Magistral-Small-2509-UD-Q4_K_XL.gguf", "magistral:UD-Q4_K_XL"),
        ("Magistral-Small-2507-IQ4_XS.gguf", "magistral:1.1:IQ4_XS"),
        ("Magistral-Small-2506_Q8_0.gguf", "magistral:1.0:Q8_0"),
        ("magistral_small_2509.q5_k_m.gguf", "magistral:Q5_K_M"),
        ("Magistral-Small-2509.i1-IQ4_XS.gguf", "magistral:IQ4_XS"),
        ("Magistral-Small-2509-abliterated-Q4_K_M.gguf", "Magistral-Small-2509-abliterated-Q4_K_M"),
        ("Dolphin-Magistral-Small-2509-Q4_K_M.gguf", "Dolphin-Magistral-Small-2509-Q4_K_M"),
        ("my-own-model.gguf", "my-own-model"),
        ("Magistral-Medium-2509-Q4_K_M.gguf", "Magistral-Medium-2509-Q4_K_M"),
        ("25090-Magistral-Small-Q4_K_M.gguf", "25090-Magistral-Small-Q4_K_M"),
    ],
)
def test_names_tell_model_and_quant(home: Path, name: str, called: str) -> None:
    magistral(studio(home, "someone/some-repo") / name)
    assert called in listed()
    assert store.newest() == (called.rpartition(":")[0] if called.startswith("magistral:") else None)


def test_the_folders_name_tells_it_where_the_files_does_not(home: Path) -> None:
    magistral(studio(home, "unsloth/Magistral-Small-2509-GGUF") / "model-Q5_K_M.gguf")
    assert "magistral:Q5_K_M" in listed()


def test_ollamas_tag_tells_it_and_its_own_name_finds_it_too(home: Path, tmp_path: Path) -> None:
    file = magistral(tmp_path / "x.gguf")
    blob = ollama(home, "magistral:24b-small-2507-q4_K_M", file)
    ollama(home, "magistral:latest", file)
    here = listed()["magistral:1.1:Q4_K_M"]
    assert (here.path, here.place) == (blob, "Ollama")
    assert inventory.take().meant("magistral:latest") == [here]
    assert inventory.take().meant("magistral:1.1") == [here]


def test_another_tools_model_is_called_as_that_tool_calls_it(home: Path, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(tiny())
    ollama(home, "devstral:24b", tmp_path / "x.gguf")
    assert listed()["devstral:24b"].place == "Ollama"
    assert store.locate("devstral:24b").title == "devstral:24b"


def test_ollamas_latest_is_meant_by_the_bare_name(home: Path, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(tiny())
    ollama(home, "devstral:latest", tmp_path / "x.gguf")
    assert [h.name for h in inventory.take().meant("devstral")] == ["devstral:latest"]
    assert store.locate("devstral").title == "devstral:latest"


# ── Copies ────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_copy_says_where_it_is(home: Path, tmp_path: Path) -> None:
    magistral(studio(home) / "Magistral-Small-2509-Q4_K_M.gguf")
    ollama(home, "magistral:24b-small-2509-q4_K_M", magistral(tmp_path / "other.gguf"))
    assert {"magistral:Q4_K_M", "magistral:Q4_K_M@ollama"} <= set(listed())
    there = inventory.take()
    assert [h.place for h in there.meant("magistral:Q4_K_M")] == ["LM Studio", "Ollama"]
    assert [h.place for h in there.meant("magistral:Q4_K_M@ollama")] == ["Ollama"]
    assert [h.place for h in there.meant("magistral:Q4_K_M@lmstudio")] == ["LM Studio"]


def test_another_link_to_the_same_file_is_no_copy(home: Path) -> None:
    file = magistral(studio(home) / "Magistral-Small-2509-Q4_K_M.gguf")
    ollama(home, "magistral:24b-small-2509-q4_K_M", file)
    (studio(home, "linked/repo") / "Magistral-Small-2509-Q4_K_M.gguf").symlink_to(file)
    assert [h.name for h in inventory.here() if h.model] == [*BUNDLED, "magistral:Q4_K_M"]


def test_three_of_one_name_are_told_apart_by_their_paths(home: Path) -> None:
    for publisher in "abc":
        (studio(home, f"{publisher}/repo") / "mine.gguf").write_bytes(tiny(vocabulary(words=[publisher * 2])))
    names = [h.name for h in inventory.here()]
    assert names[:4] == [*BUNDLED, "mine", "mine@lmstudio"]
    assert store.locate(names[4]).weights == Path(names[4])


def test_no_file_takes_the_name_of_the_catalogue(home: Path) -> None:
    for name in ("magistral", "demo", "magistral:Q4_K_M" if os.name != "nt" else "magistral"):
        (studio(home, f"x/{name.replace(':', '')}") / f"{name}.gguf").write_bytes(tiny())
    strangers = [h for h in inventory.here() if h.model is None]
    assert all(h.name.endswith("@lmstudio") for h in strangers)
    assert store.locate("demo").weights.name == "demo-Q8_0.gguf"


def test_a_name_from_outside_stays_one_word(home: Path) -> None:
    if os.name == "nt":
        return  # such names cannot be there
    (studio(home, "x/y") / "a\x1b[2J\nb c.gguf").write_bytes(tiny())
    assert "a-[2J-b-c" in listed()


# ── Which of them a name means ────────────────────────────────────────────────────────────────────


def test_a_models_bare_name_means_the_best_quant_that_is_here(home: Path, tokenizer: Path) -> None:
    file = magistral(studio(home) / "Magistral-Small-2509-Q8_0.gguf")
    found = store.locate("magistral")
    assert (found.weights, found.build, found.model) == (file, "Q8_0", "magistral-small-1.2")
    with pytest.raises(NotFound, match="Q4_K_M"):
        store.locate("magistral:Q4_K_M")
    with pytest.raises(NotFound, match=r"weights are not on this machine"):
        store.locate("magistral", "Q5_K_M")


def test_a_quant_that_the_catalogue_lacks_is_found_again(home: Path, tokenizer: Path) -> None:
    magistral(studio(home) / "Magistral-Small-2509-UD-Q4_K_XL.gguf")
    for name in (
        "magistral:UD-Q4_K_XL",
        "magistral-small-1.2:ud-q4_k_xl",
        "Magistral-Small-2509-UD-Q4_K_XL.gguf",
    ):
        assert store.locate(name).build == "UD-Q4_K_XL"


def test_what_is_refused_gives_way_to_what_is_not(home: Path, tmp_path: Path) -> None:
    (studio(home) / "Magistral-Small-2509-Q4_K_M.gguf").write_bytes(small())  # told by its use only
    (studio(home, "cut/repo") / "Magistral-Small-2509-Q4_K_M.gguf").write_bytes(tiny()[:3_000])
    good = ollama(home, "magistral:24b-small-2509-q4_K_M", magistral(tmp_path / "x.gguf"))
    found = store.locate("magistral")
    assert found.weights == good
    assert "no Tekken vocabulary" in found.notes[0]
    assert f"{good} is used instead" in found.notes[0]


def test_a_name_that_is_nearly_right_is_suggested(home: Path) -> None:
    (studio(home, "x/y") / "Devstral-Small-2507.gguf").write_bytes(tiny())
    with pytest.raises(NotFound, match="Did you mean 'Devstral-Small-2507'"):
        store.locate("devstral-smal-2507")
    with pytest.raises(NotFound, match="There is no file"):
        store.locate("nowhere/devstral.gguf")


# ── What goes with the weights ────────────────────────────────────────────────────────────────────


def test_a_tokenizer_is_rebuilt_and_said_to_be(home: Path) -> None:
    magistral(studio(home) / "Magistral-Small-2509-Q4_K_M.gguf")
    found = store.locate("magistral")
    assert found.tokenizer.name == "tekken.json"
    assert found.tokenizer.is_relative_to(home / "localmag" / "cache")
    (note,) = found.notes
    assert "rebuilt from its own vocabulary" in note
    assert "localmag pull magistral --without-weights" in note
    assert (found.system_prompt, found.context, found.max_tokens) == (None, 40_960, 40_960)
    assert "localmag pull magistral --without-weights" in found.no_prompt


def test_what_lies_beside_it_goes_first_then_the_models_own_repository(home: Path, tokenizer: Path) -> None:
    file = magistral(studio(home) / "Magistral-Small-2509-Q4_K_M.gguf")
    prompt = put("mistralai/Magistral-Small-2509", COMMIT, "SYSTEM_PROMPT.txt", b"Think.")
    found = store.locate("magistral")
    assert (found.tokenizer, found.system_prompt, found.notes, found.no_prompt) == (tokenizer, prompt, (), "")
    beside = file.with_name("tekken.json")
    beside.write_bytes(b"{}")
    file.with_name("SYSTEM_PROMPT.txt").write_text("Mine.")
    found = store.locate("magistral")
    assert (found.tokenizer, found.system_prompt) == (beside, file.with_name("SYSTEM_PROMPT.txt"))


def test_a_path_is_recognised_as_its_name_would_be(tmp_path: Path, tokenizer: Path) -> None:
    file = magistral(tmp_path / "Magistral-Small-2509-Q4_K_M.gguf")
    found = store.locate(str(file))
    assert (found.title, found.build, found.context) == ("Magistral Small 1.2", file.name, 40_960)


# ── Refused ───────────────────────────────────────────────────────────────────────────────────────


def refusal(path: Path) -> str:
    with pytest.raises(BadFile) as caught:
        store.locate(str(path))
    return caught.value.what


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"layers": 32}, "layers are 32 and not 40"),
        ({"width": 4096}, "width is 4,096 and not 5,120"),
        ({"heads": 16}, "attention heads are 16"),
        ({"kv_heads": 4}, "KV heads are 4"),
        ({"head_size": 160}, "head size is 160"),
        ({"ffn": 16384}, "feed-forward width is 16,384"),
        ({"vocabulary": 32_768}, "vocabulary is 32,768"),
    ],
)
def test_another_shape_than_its_names_is_refused(tmp_path: Path, changed: dict[str, int], why: str) -> None:
    file = magistral(tmp_path / "Magistral-Small-2509-Q4_K_M.gguf", **changed)
    said = refusal(file)
    assert "claims to be Magistral Small 1.2, but" in said
    assert why in said
    file.rename(tmp_path / "something-else.gguf")
    (tmp_path / "tekken.json").write_bytes(b"{}")
    assert store.locate(str(tmp_path / "something-else.gguf")).title == "something-else"


def test_a_llama_3_under_another_name_is_refused(home: Path) -> None:
    file = studio(home) / "Magistral-Small-2509-Q4_K_M.gguf"
    file.write_bytes(small(pre="llama-bpe"))
    assert "'llama-bpe', not Mistral's Tekken" in refusal(file)
    here = listed()["magistral:Q4_K_M"]
    assert here.state == "refused"
    assert "llama-bpe" in here.why
    with pytest.raises(BadFile):
        store.locate("magistral")
    assert store.newest() is None


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    from localmag import catalogue

    model, _ = catalogue.find("magistral")
    assert model.shape
    told = described(model.shape, "qwen2", **{"general.name": "Magistral Small 2509"})
    (tmp_path / "m.gguf").write_bytes(header(told, [("output.weight", (8,), 0, 0)]) + bytes(32))
    assert "architecture is 'qwen2'" in refusal(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("more", "tensors", "why"),
    [
        ({"general.type": "adapter"}, [], "'adapter'"),
        ({"general.type": "mmproj"}, [], "'mmproj'"),
        ({}, [("v.patch_embd.weight", (8,), 0, 0)], "vision part inside"),
        ({"tokenizer.ggml.model": "llama"}, [], "not Mistral's Tekken"),
    ],
)
def test_what_is_no_models_weights_is_refused(
    tmp_path: Path, more: dict[str, str], tensors: list[tuple[str, tuple[int, ...], int, int]], why: str
) -> None:
    told = {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "tekken"}
    (tmp_path / "m.gguf").write_bytes(header(told | more, tensors) + bytes(32))
    assert why in refusal(tmp_path / "m.gguf")


def test_what_another_tool_has_of_other_models_is_known_but_not_listed(home: Path) -> None:
    (studio(home, "x/y") / "Llama-3-8B-Q4_K_M.gguf").write_bytes(small(pre="llama-bpe"))
    assert [h.name for h in inventory.here()] == BUNDLED
    (other,) = [h for h in inventory.take().all if not h.ours]
    assert (other.name, other.state) == ("Llama-3-8B-Q4_K_M", "refused")


def test_an_incomplete_split_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "big-BF16-00001-of-00002.gguf"
    file.write_bytes(small())
    assert "1 of its 2 files" in refusal(file)


# ── Imports ───────────────────────────────────────────────────────────────────────────────────────


def test_an_import_is_a_record_and_copies_nothing(home: Path, tmp_path: Path, demo: Demo) -> None:
    file = tmp_path / "mine.gguf"
    shutil.copy(demo.weights, file)
    here = adopt(file)
    assert (here.name, here.path, here.place) == ("mine", file, "import")
    assert store.locate("mine").weights == file
    assert not list(home.rglob("*.gguf"))
    assert adopt(file).name == "mine"
    assert len(list(imports.every())) == 1


def test_an_import_may_have_a_name_of_its_own(tmp_path: Path, demo: Demo) -> None:
    for name in ("a", "b"):
        shutil.copy(demo.weights, tmp_path / f"{name}.gguf")
    assert adopt(tmp_path / "a.gguf", "tiny").name == "tiny"
    for taken in ("tiny", "TINY", "demo", "magistral", "magistral:Q4_K_M", "", "two words", "a@b", "-x"):
        with pytest.raises(WrongUsage):
            adopt(tmp_path / "b.gguf", taken)
    assert adopt(tmp_path / "a.gguf", "smaller").name == "smaller"
    assert adopt(tmp_path / "b.gguf", "tiny").name == "tiny"


def test_a_folder_of_one_and_parts_are_imported_whole(tmp_path: Path) -> None:
    mlx(tmp_path / "Magistral-Small-2509-MLX-4bit")
    assert adopt(tmp_path / "Magistral-Small-2509-MLX-4bit").name == "magistral:4bit"


def test_an_import_that_has_gone_says_so(tmp_path: Path, demo: Demo) -> None:
    file = tmp_path / "mine.gguf"
    shutil.copy(demo.weights, file)
    adopt(file)
    file.unlink()
    assert listed()["mine"].state == "missing"
    with pytest.raises(NotFound, match="any more") as caught:
        store.locate("mine")
    assert "localmag rm mine" in caught.value.todo


def test_what_is_known_already_is_not_imported_again(home: Path) -> None:
    (studio(home, "x/y") / "mine.gguf").write_bytes(tiny())
    file = magistral(studio(home) / "Magistral-Small-2509-Q4_K_M.gguf")
    assert adopt(file).place == "LM Studio"
    assert not list(imports.every())


def test_a_damaged_record_of_an_import_is_none(tmp_path: Path, demo: Demo) -> None:
    shutil.copy(demo.weights, tmp_path / "mine.gguf")
    adopt(tmp_path / "mine.gguf")
    (record,) = imports._folder().glob("*.json")
    for junk in (b"", b"{}", b"[]", b"\xff", b'{"name": "x", "path": "../x"}', b'{"name": 1, "path": 2}'):
        record.write_bytes(junk)
        assert list(listed()) == BUNDLED


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model", small()[:200]])
def test_what_is_no_model_is_not_imported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(BadFile):
        adopt(tmp_path / "m.gguf")
    assert not list(imports.every())


# ── Looking again ─────────────────────────────────────────────────────────────────────────────────


def test_a_header_is_read_once_until_the_file_changes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = studio(home, "x/y") / "mine.gguf"
    file.write_bytes(tiny())
    read: list[Path] = []
    fresh = look.fresh
    monkeypatch.setattr(look, "fresh", lambda found: read.append(found.path) or fresh(found))
    first = inventory.take()
    assert inventory.take() == first
    assert read == [file]
    file.write_bytes(tiny(vocabulary(NAMES[:20])))
    inventory.take()
    assert read == [file, file]
    file.unlink()
    inventory.take()
    assert "mine.gguf" not in (home / "localmag" / "cache" / "looks.json").read_text("utf-8")


@pytest.mark.parametrize(
    "junk",
    [b"", b"[]", b"\xff", b'{"form": 1}', b'{"form": 1, "looks": []}', b'{"form": 1, "looks": {"x": 7}}'],
)
def test_what_is_remembered_may_be_damaged(home: Path, junk: bytes) -> None:
    (studio(home, "x/y") / "mine.gguf").write_bytes(tiny())
    inventory.take()
    kept = home / "localmag" / "cache" / "looks.json"
    whole = json.loads(kept.read_bytes())
    kept.write_bytes(junk)
    assert "mine" in listed()
    for entry in (7, [], [[[1, 2]], 7], [whole["looks"].popitem()[1][0], {"size": "x"}]):
        kept.write_text(json.dumps({"form": 1, "looks": {str(studio(home, "x/y") / "mine.gguf"): entry}}))
        assert "mine" in listed()
        whole = json.loads(kept.read_bytes())
