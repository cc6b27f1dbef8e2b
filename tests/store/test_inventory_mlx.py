"""MLX builds on this machine: listed, located with all that goes with them, refused."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import pytest

from localmag import store
from localmag.errors import NotFound
from localmag.store import NotHere, inventory
from tests.store.make import listed, magistral, mlx, studio

COMMIT = "c" * 40


def test_an_mlx_build_is_listed_with_its_bits_and_located_with_all_that_goes_with_it(home: Path) -> None:
    folder = mlx(studio(home, "lmstudio-community") / "Magistral-Small-2509-MLX-4bit")
    here = listed()["magistral:4bit"]
    assert (here.path, here.backend, here.quant, here.state) == (folder, "mlx", "4bit", "unverified")
    with pytest.raises(NotFound, match=r"no tekken\.json.*localmag pull magistral --without-weights"):
        store.locate("magistral")
    for name in ("tekken.json", "SYSTEM_PROMPT.txt"):
        (folder / name).write_text("{}", encoding="utf-8")
    for name in ("magistral", "magistral:4bit", str(folder)):
        found = store.locate(name)
        assert (found.backend, found.weights) == ("mlx", folder)
        assert (found.tokenizer, found.system_prompt) == (
            folder / "tekken.json",
            folder / "SYSTEM_PROMPT.txt",
        )
        assert (found.context, found.temperature) == (40_960, 0.7)
    assert store.newest() is None
    assert store.newest(["mlx"]) == "magistral"


def test_weights_for_images_are_named_and_never_dropped_in_silence(home: Path) -> None:
    folder = mlx(studio(home, "lmstudio-community") / "Magistral-Small-2509-MLX-4bit", images=2_500_000)
    (folder / "tekken.json").write_bytes(b"{}")
    for _ in ("seen", "remembered"):
        look = listed()["magistral:4bit"].look
        assert look and look.images == 2_500_000
    for name in ("magistral", str(folder)):
        (note,) = store.locate(name).notes
        assert "has weights for images (2.5 MB), which are not loaded" in note
        assert "no image can be given" in note


def test_a_build_without_them_is_not_remarked_on(home: Path) -> None:
    """Also where its config.json still speaks of a vision tower."""
    folder = mlx(
        studio(home, "lmstudio-community") / "Magistral-Small-2509-MLX-4bit", vision_config={"hidden_size": 9}
    )
    (folder / "tekken.json").write_bytes(b"{}")
    assert store.locate("magistral").notes == ()


def test_the_backend_decides_which_copy_is_meant(home: Path) -> None:
    folder = mlx(studio(home, "lmstudio-community") / "Magistral-Small-2509-MLX-4bit")
    gguf = magistral(studio(home) / "Magistral-Small-2509-Q8_0.gguf")
    for path in (folder, gguf.parent):
        (path / "tekken.json").write_bytes(b"{}")
    meant = store.meant("magistral")
    assert set(meant.offered) == set(meant.here) == {"llama.cpp", "mlx"}
    assert meant.ready("llama.cpp").weights == gguf
    assert meant.ready("mlx").weights == folder
    assert store.meant("magistral", "4bit").offered == ("mlx",)
    assert store.meant("magistral:Q8_0").here == ("llama.cpp",)


def test_a_build_for_another_backend_is_not_the_one_that_is_asked_for(home: Path) -> None:
    folder = mlx(studio(home, "lmstudio-community") / "Magistral-Small-2509-MLX-4bit")
    with pytest.raises(NotHere, match=r"is not one for llama\.cpp") as caught:
        store.locate("magistral", backend="llama.cpp")
    assert str(folder) in caught.value.what
    assert caught.value.model.name == "magistral-small-1.2"


def test_an_mlx_build_in_the_hub_cache_is_its_repositorys(home: Path) -> None:
    base = (
        Path(os.environ["HF_HOME"]) / "hub" / "models--mlx-community--Magistral-Small-2507-6bit" / "snapshots"
    )
    mlx(base / COMMIT, bits=6)
    assert listed()["magistral:1.1:6bit"].path == base / COMMIT


@pytest.mark.parametrize(
    ("config", "cut", "why"),
    [
        ({"num_hidden_layers": 30}, 0, "layers are 30 and not 40"),
        ({"num_attention_heads": 32, "num_key_value_heads": 8}, 0, "head size is 160 and not 128"),
        ({"model_type": "qwen2"}, 0, "architecture 'qwen2'"),
        ({}, 1, "cut short"),
        ({}, 10_000, "cut short"),
    ],
)
def test_an_mlx_build_that_is_not_what_it_claims_is_refused(
    home: Path, config: dict[str, object], cut: int, why: str
) -> None:
    mlx(studio(home, "x") / "Magistral-Small-2509-MLX-4bit", cut=cut, **config)
    here = listed()["magistral:4bit"]
    assert here.state == "refused"
    assert why in here.why


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b""),
        ("config.json", b"[]"),
        ("config.json", b'{"quantization": {"bits": "4"}, "model_type": ["mistral"]}'),
        ("config.json", b'{"quantization": {}, "text_config": 7, "num_hidden_layers": "x"}'),
        ("config.json", b"[" * 100_000),
        ("model.safetensors.index.json", b"[]"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": []}}'),
        ("model.safetensors", b"\xff" * 8 + b"{}"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0[]"),
        ("model.safetensors", b'\x1d\0\0\0\0\0\0\0{"w":{"data_offsets":["a",9]}}'),
        ("model.safetensors", b'\x1d\0\0\0\0\0\0\0{"w":{"data_offsets":[-9,1]}}0'),
        (
            "model.safetensors",
            b'\x39\0\0\0\0\0\0\0{"v":{"data_offsets":[0,2]}, "w":{"data_offsets":[1,3]} }000',
        ),
    ],
)
def test_an_mlx_build_of_nonsense_is_refused(home: Path, name: str, content: bytes) -> None:
    (mlx(studio(home, "x") / "Magistral-Small-2509-MLX-4bit") / name).write_bytes(content)
    (here,) = [h for h in inventory.take().all if h.place == "LM Studio"]
    assert here.state == "refused"


@pytest.mark.parametrize("missing", [True, False])
def test_an_mlx_build_of_several_files_needs_all_of_them(home: Path, missing: bool) -> None:
    folder = mlx(studio(home, "x") / "Magistral-Small-2509-MLX-4bit")
    files = {"a": "model.safetensors", "b": "../outside.safetensors" if missing else "model.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert ("1 of its files are not here" in listed()["magistral:4bit"].why) == missing


def test_a_part_of_an_mlx_build_without_an_index_tells_what_is_missing(home: Path) -> None:
    folder = mlx(studio(home, "x") / "Magistral-Small-2509-MLX-4bit")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00003.safetensors")
    assert "2 of its files are not here" in listed()["magistral:4bit"].why


def test_a_part_that_cannot_be_one_stands_for_none(home: Path) -> None:
    folder = mlx(studio(home, "x") / "Magistral-Small-2509-MLX-4bit")
    (folder / "model.safetensors").rename(folder / "model-00009-of-00002.safetensors")
    assert "2 of its files are not here" in listed()["magistral:4bit"].why


def test_parts_of_very_many_are_counted_and_not_named_one_by_one(home: Path) -> None:
    folder = mlx(studio(home, "x") / "Magistral-Small-2509-MLX-4bit")
    (folder / "model.safetensors").rename(folder / "model-00001-of-99999.safetensors")
    for n in range(300):  # of which the names would take 4 GB
        (folder / f"more{n}-00001-of-99999.safetensors").write_bytes(b"\2" + bytes(7) + b"{}")
    tracemalloc.start()
    try:
        assert f"{301 * 99_998} of its files are not here" in listed()["magistral:4bit"].why
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_an_index_of_another_form_names_no_files_that_are_here(home: Path) -> None:
    folder = mlx(studio(home, "x") / "Magistral-Small-2509-MLX-4bit")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": ["model.safetensors"]}}')
    assert "1 of its files are not here" in listed()["magistral:4bit"].why
