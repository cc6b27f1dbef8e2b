"""Whole models: a file whose tensors are not what its metadata claim is refused before llama.cpp opens it."""

from __future__ import annotations

import shutil
import struct
from dataclasses import replace
from pathlib import Path

import gguf as writing
import pytest

from localmag import gguf
from localmag.errors import BadFile, NotFound
from localmag.shape import Shape
from tests.conftest import Demo
from tools import synthetic_gguf

DENSE = synthetic_gguf.llama(layers=3)
MIXTURE = replace(
    synthetic_gguf.mixture(3, 64, 2, experts=4, expert_ffn=32, q_rank=32, kv_rank=32), dense_layers=1
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    folder = tmp_path_factory.mktemp("made")
    synthetic_gguf.write(folder / "dense.gguf", demo.tokenizer, DENSE)
    synthetic_gguf.write(folder / "mixture.gguf", demo.tokenizer, MIXTURE)
    return folder


@pytest.fixture
def dense(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made / "dense.gguf", tmp_path))


@pytest.fixture
def mixture(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made / "mixture.gguf", tmp_path))


def bend(path: Path, key: str, value: int) -> None:
    """Overwrite an unsigned number of the metadata."""
    raw = bytearray(path.read_bytes())
    at = raw.index(struct.pack("<Q", len(key)) + key.encode()) + 8 + len(key) + 4
    raw[at : at + 4] = struct.pack("<I", value)
    path.write_bytes(raw)


def rename(path: Path, tensor: str, other: str) -> None:
    assert len(tensor) == len(other)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(tensor.encode(), other.encode(), 1))


@pytest.mark.parametrize(("name", "shape"), [("dense", DENSE), ("mixture", MIXTURE)])
def test_the_shape_is_read_back(made: Path, name: str, shape: Shape) -> None:
    header = gguf.read_model(made / f"{name}.gguf")
    assert header.shape() == replace(shape, vocabulary=header.vocabulary_size)
    assert header.vocabulary_size == 3072


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.block_count", 0),
        ("llama.block_count", 2),
        ("llama.block_count", 4),
        ("llama.block_count", 2**32 - 1),
        ("llama.embedding_length", 0),
        ("llama.embedding_length", 128),
        ("llama.attention.head_count", 0),
        ("llama.attention.head_count", 4),
        ("llama.attention.head_count_kv", 3),
        ("llama.attention.key_length", 0),
        ("llama.attention.key_length", 64),
        ("llama.attention.value_length", 64),
        ("llama.feed_forward_length", 64),
        ("llama.feed_forward_length", 0),
        ("llama.rope.dimension_count", 64),
    ],
)
def test_a_number_that_the_tensors_contradict_is_refused(dense: Path, key: str, value: int) -> None:
    bend(dense, key, value)
    with pytest.raises(BadFile, match="contradicts itself") as caught:
        gguf.read_model(dense)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mistral4.expert_count", 8),
        ("mistral4.expert_used_count", 0),
        ("mistral4.expert_used_count", 9),
        ("mistral4.expert_feed_forward_length", 64),
        ("mistral4.expert_shared_count", 2),
        ("mistral4.attention.kv_lora_rank", 64),
        ("mistral4.attention.q_lora_rank", 64),
        ("mistral4.attention.key_length_mla", 32),
        ("mistral4.leading_dense_block_count", 9),
    ],
)
def test_so_are_those_of_mixtures_and_latent_attention(mixture: Path, key: str, value: int) -> None:
    bend(mixture, key, value)
    with pytest.raises(BadFile, match="contradicts itself"):
        gguf.read_model(mixture)


def test_layers_that_are_not_counted_from_0_are_refused(dense: Path) -> None:
    for name in (
        "attn_norm",
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_norm",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ):
        rename(dense, f"blk.2.{name}.weight", f"blk.7.{name}.weight")
    with pytest.raises(BadFile, match="tensors of 3 layers"):
        gguf.read_model(dense)


# ── Split files ───────────────────────────────────────────────────────────────────────────────────


def split(folder: Path, whole: Path, count: int) -> list[Path]:
    """The tensors of a file dealt out to so many, as llama.cpp's gguf-split names and marks them."""
    reader = writing.GGUFReader(whole)
    files = []
    for number in range(count):
        file = folder / f"model-{number + 1:05}-of-{count:05}.gguf"
        writer = writing.GGUFWriter(file, "llama")
        if number == 0:
            for key in ("block_count", "embedding_length", "feed_forward_length", "context_length"):
                writer.add_uint32(f"llama.{key}", int(reader.fields[f"llama.{key}"].parts[-1][0]))
            for key in ("head_count", "head_count_kv", "key_length", "value_length"):
                field = reader.fields[f"llama.attention.{key}"]
                writer.add_uint32(field.name, int(field.parts[-1][0]))
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre("tekken")
            writer.add_token_list([f"t{n}" for n in range(3072)])
        writer.add_uint16("split.count", count)
        writer.add_uint16("split.no", number)
        for tensor in reader.tensors[number::count]:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        files.append(file)
    return files


def test_a_split_model_is_read_whole(made: Path, tmp_path: Path) -> None:
    first, *_ = split(tmp_path, made / "dense.gguf", 3)
    whole = gguf.read_model(made / "dense.gguf")
    header = gguf.read_model(first)
    assert header.shape() == whole.shape()
    assert {(t.name, t.nbytes) for t in header.tensors} == {(t.name, t.nbytes) for t in whole.tensors}


def test_a_part_that_is_missing_is_named(made: Path, tmp_path: Path) -> None:
    first, _, last = split(tmp_path, made / "dense.gguf", 3)
    last.unlink()
    with pytest.raises(NotFound, match=last.name):
        gguf.read_model(first)


def test_a_part_of_another_model_is_refused(made: Path, tmp_path: Path) -> None:
    first, second, _ = split(tmp_path, made / "dense.gguf", 3)
    shutil.copy(made / "mixture.gguf", second)
    with pytest.raises(BadFile, match="contradicts itself"):
        gguf.read_model(first)


def test_a_part_under_another_name_cannot_find_the_others(made: Path, tmp_path: Path) -> None:
    first, *_ = split(tmp_path, made / "dense.gguf", 3)
    with pytest.raises(BadFile, match="split into 3"):
        gguf.read_model(first.rename(tmp_path / "mine.gguf"))
