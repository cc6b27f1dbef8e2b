"""What MLX builds say of themselves, without MLX: as mlx-lm's own converter writes them, and otherwise."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from localmag import mlxfiles
from localmag.errors import BadFile
from localmag.mlxfiles import Tensor
from localmag.shape import Shape
from tests.conftest import Demo

MAGISTRAL: dict[str, Any] = {  # the form of Magistral 1.2's: the model that reads, inside one that sees
    "model_type": "mistral3",
    "vision_config": {"model_type": "pixtral", "hidden_size": 1024, "num_hidden_layers": 24},
    "text_config": {
        "model_type": "mistral",
        "hidden_size": 5120,
        "intermediate_size": 32768,
        "num_hidden_layers": 40,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 131072,
        "tie_word_embeddings": False,
    },
}


def folder_of(tmp_path: Path, config: dict[str, Any], **tensors: tuple[str, int]) -> Path:
    """A build whose tensors are of that dtype and so many bytes, all zero."""
    header, reached = {}, 0
    for name, (dtype, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [size], "data_offsets": [reached, reached + size]}
        reached += size
    table = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(table)) + table + bytes(reached))
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_the_demo(demo: Demo) -> None:
    told = mlxfiles.measured(demo.mlx)
    assert told
    shape, contents = told
    assert shape == Shape(
        layers=5, width=192, heads=6, kv_heads=3, head_size=32, ffn=512, vocabulary=3072, tied=False
    )
    file = demo.mlx / "model.safetensors"
    assert 0 < file.stat().st_size - contents.weights < 20_000  # its header
    assert (contents.images, contents.itemsize) == (0, 4)


def test_the_model_that_reads_inside_one_that_sees(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        MAGISTRAL,
        **{
            "language_model.model.embed_tokens.weight": ("U32", 640),
            "language_model.model.embed_tokens.scales": ("BF16", 20),
            "language_model.lm_head.weight": ("U32", 64),
            "vision_tower.patch_conv.weight": ("F32", 300),
            "multi_modal_projector.linear_1.weight": ("BF16", 100),
        },
    )
    told = mlxfiles.measured(folder)
    assert told
    shape, contents = told
    assert (shape.layers, shape.width, shape.kv_heads, shape.head_size) == (40, 5120, 8, 128)
    assert contents == mlxfiles.Contents(weights=724, images=400, itemsize=2, groups=20)


def test_an_output_layer_that_is_the_embedding_is_counted_once() -> None:
    there = {"model.embed_tokens.weight": Tensor("BF16", 100), "lm_head.weight": Tensor("BF16", 100)}
    there["model.layers.0.self_attn.rotary_emb.inv_freq"] = Tensor("F32", 8)  # which is computed
    assert mlxfiles.contents({"tie_word_embeddings": True}, [there]).weights == 100
    assert mlxfiles.contents({}, [there]).weights == 200
    assert mlxfiles.contents({}, [there]).itemsize == 2


@pytest.mark.parametrize(
    ("dtypes", "itemsize"),
    [("BF16", 2), ("F16", 2), ("U32 BF16", 2), ("F32", 4), ("U32 F32", 4), ("BF16 F32", 4), ("BF16 F16", 4)],
)
def test_it_computes_in_the_widest_of_what_meets(dtypes: str, itemsize: int) -> None:
    there = {f"model.{n}": Tensor(dtype, 8) for n, dtype in enumerate(dtypes.split())}
    assert mlxfiles.contents({}, [there]).itemsize == itemsize


def test_latent_attention_and_experts() -> None:
    told = MAGISTRAL["text_config"] | {
        "n_routed_experts": 128,
        "num_experts_per_tok": 4,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "q_lora_rank": 1024,
        "kv_lora_rank": 256,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 64,
        "v_head_dim": 128,
    }
    shape = mlxfiles.shape(told)
    assert (shape.experts, shape.active, shape.shared, shape.expert_ffn) == (128, 4, 1, 2048)
    assert (shape.kv_rank, shape.rope_size, shape.head_size, shape.values) == (256, 64, 128, 128)


@pytest.mark.parametrize("missing", ["num_hidden_layers", "hidden_size", "vocab_size", "intermediate_size"])
def test_a_shape_that_is_not_stated_cannot_be_told(tmp_path: Path, missing: str) -> None:
    config = {key: value for key, value in MAGISTRAL["text_config"].items() if key != missing}
    assert mlxfiles.measured(folder_of(tmp_path, config, weight=("BF16", 2))) is None


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "40", None, [40], 10**400])
def test_numbers_that_are_none_count_as_not_stated(value: object) -> None:
    assert mlxfiles.shape({"num_hidden_layers": value}).layers == 0


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_a_config_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadFile):
        mlxfiles.measured(tmp_path)


@pytest.mark.parametrize("cut", [1, 40])
def test_weights_cut_short_are_refused(tmp_path: Path, cut: int) -> None:
    folder = folder_of(tmp_path, MAGISTRAL, weight=("BF16", 20))
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(BadFile, match="damaged"):
        mlxfiles.measured(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
@pytest.mark.parametrize("name", ["model-2.safetensors", "config.json"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, MAGISTRAL["text_config"], weight=("BF16", 20))
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(BadFile, match="regular file"):
        mlxfiles.measured(folder)


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, MAGISTRAL["text_config"])
    with pytest.raises(BadFile, match="no weights"):
        mlxfiles.measured(folder)
    (folder / "model.safetensors").rename(folder / "weights.safetensors")  # which mlx-lm does not read
    with pytest.raises(BadFile, match="no weights"):
        mlxfiles.measured(folder)
