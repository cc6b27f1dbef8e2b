"""A whole model: all the parts of a split file, and whether the shape it claims is that of its tensors."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from localmag.errors import BadFile, NotFound
from localmag.gguf.header import Header, read
from localmag.shape import Shape

_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")  # llama.cpp's llama_split_path
_BLOCK = re.compile(r"blk\.(\d{1,5})\.(.+)", re.ASCII)


def read_model(path: Path) -> Header:
    """The header of a whole model: of all parts of a split file, given its first; fit for llama.cpp to open.

    Raises what `read` and `require_tekken` do, BadFile if the shape it claims is not the shape of its tensors
    or a part does not belong to it, NotFound if a part is missing.
    """
    header = read(path, strings=False)
    require_tekken(path, header)
    whole = replace(
        header, tensors=tuple(t for part in parts(path, header) for t in read(part, strings=False).tensors)
    )
    _require_agreement(path, whole)
    return whole


def parts(path: Path, header: Header) -> list[Path]:
    """The files of a split model in order, given the first and its header; the path alone where it is whole.

    Raises NotFound if one is missing, BadFile if this is not the first, or not named as the first is.
    """
    count = header.metadata.get("split.count", 1)
    if type(count) is not int or count <= 1:
        return [path]
    named = _PART.search(path.name)
    if not named or (int(named[1]), int(named[2])) != (1, count):
        raise BadFile(
            f"{path} is a part of a model split into {count}, and not named as the first of them.",
            f"Give the file that ends in -00001-of-{count:05}.gguf, under the name it was published with.",
        )
    stem = path.name[: named.start()]
    files = [path.with_name(f"{stem}-{n:05}-of-{count:05}.gguf") for n in range(1, count + 1)]
    if missing := [f.name for f in files if not f.is_file()]:
        raise NotFound(
            f"{path.name} needs {count} files, and {missing[0]} is not beside it.", "Fetch it again."
        )
    return files


def require_tekken(path: Path, header: Header) -> None:
    """Raises BadFile unless the vocabulary is Mistral's Tekken, which is all that localmag can speak."""
    pre = header.metadata.get("tokenizer.ggml.pre")
    if header.metadata.get("tokenizer.ggml.model") != "gpt2" or pre != "tekken":
        named = pre or header.metadata.get("tokenizer.ggml.model") or "unnamed"
        raise BadFile(
            f"{path} has the vocabulary {named!r}, not Mistral's Tekken.",
            "Use a GGUF of Magistral or another Mistral model with a Tekken vocabulary.",
        )


def _require_agreement(path: Path, header: Header) -> None:
    """llama.cpp ends the process over some of these, and trusts the file in others."""
    for key in _NEEDED:
        if header.number(key) < 1 and (key in _ALWAYS or f"{header.architecture}.{key}" in header.metadata):
            raise _contradiction(path, f"its {key} is {header.number(key)}")
    shape = header.shape()
    if why := _nonsense(shape, header):
        raise _contradiction(path, why)
    blocks = {int(m[1]) for t in header.tensors if (m := _BLOCK.fullmatch(t.name))}
    if len(blocks) != shape.layers or max(blocks) != shape.layers - 1:
        raise _contradiction(path, f"it has tensors of {len(blocks)} layers and claims {shape.layers}")
    expected = _expected(shape)
    for tensor in header.tensors:
        name = _BLOCK.sub(r"\2", tensor.name)
        if name in expected and tensor.shape != expected[name]:
            told, wanted = ("×".join(map(str, dims)) for dims in (tensor.shape, expected[name]))
            raise _contradiction(path, f"{tensor.name} is {told}, and its metadata make it {wanted}")


_ALWAYS = ("block_count", "embedding_length", "attention.head_count", "feed_forward_length")
_NEEDED = (
    *_ALWAYS,
    "context_length",
    "vocab_size",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.key_length_mla",
    "attention.value_length_mla",
    "attention.q_lora_rank",
    "attention.kv_lora_rank",
    "rope.dimension_count",
    "expert_feed_forward_length",
)
"""Counts of which nothing works with 0: those that must be there, and those that may be."""


def _nonsense(shape: Shape, header: Header) -> str:
    """What cannot be whatever the tensors are, empty if nothing."""
    rope = header.number("rope.dimension_count")
    if shape.heads % shape.kv_heads:
        return f"{shape.heads} heads cannot share {shape.kv_heads} of keys and values"
    if shape.kv_rank and not 0 < shape.rope_size < shape.head_size:
        return f"positions take {shape.rope_size} of the {shape.head_size} numbers of a head"
    if header.architecture == "llama" and rope not in (0, shape.head_size):
        return f"positions take {rope} of the {shape.head_size} numbers of a head"
    if header.number("attention.key_length_mla"):
        # As one KV head of the latent vector and what carries the position: llama_hparams::is_mla.
        latent = (1, shape.kv_rank + shape.rope_size, shape.kv_rank)
        keys = ("attention.head_count_kv", "attention.key_length", "attention.value_length")
        if (told := tuple(map(header.number, keys))) != latent:
            return f"its latent attention is {told} and its ranks make it {latent}"
    if shape.experts and not 0 < shape.active <= shape.experts:
        return f"{shape.active} of {shape.experts} experts are active"
    if not shape.experts and any("_exps." in tensor.name for tensor in header.tensors):
        return "it has experts and claims none"
    epsilon = header.metadata.get(f"{header.architecture}.attention.layer_norm_rms_epsilon", 0.0)
    if not isinstance(epsilon, float) or not 0 <= epsilon < 1:
        return f"its layer_norm_rms_epsilon is {epsilon}"
    if shape.dense_layers > shape.layers:
        return f"{shape.dense_layers} of {shape.layers} layers are dense"
    if header.number("vocab_size") not in (0, shape.vocabulary) and shape.vocabulary:
        return f"it names {shape.vocabulary} ids and claims {header.number('vocab_size')}"
    return ""


def _expected(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Tensor → numbers along each dimension, the fastest first, as llama.cpp creates them (src/models:
    llama.cpp, deepseek2.cpp). Tensors that other architectures name otherwise are left to llama.cpp.
    """
    width, ffn, values = shape.width, shape.ffn, shape.heads * shape.values
    expected: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (width, shape.vocabulary),
        "output.weight": (width, shape.vocabulary),
        "output_norm.weight": (width,),
        "attn_norm.weight": (width,),
        "ffn_norm.weight": (width,),
        "ffn_gate.weight": (width, ffn),
        "ffn_up.weight": (width, ffn),
        "ffn_down.weight": (ffn, width),
        "attn_q.weight": (width, shape.heads * shape.head_size),
        "attn_output.weight": (values, width),
    }
    if shape.kv_rank:
        plain = shape.head_size - shape.rope_size
        expected |= {
            "attn_q_a.weight": (width, shape.q_rank),
            "attn_q_b.weight": (shape.q_rank, shape.heads * shape.head_size),
            "attn_kv_a_mqa.weight": (width, shape.kv_rank + shape.rope_size),
            "attn_k_b.weight": (plain, shape.kv_rank, shape.heads),
            "attn_v_b.weight": (shape.kv_rank, shape.values, shape.heads),
        }
    else:
        expected |= {
            "attn_k.weight": (width, shape.kv_heads * shape.head_size),
            "attn_v.weight": (width, shape.kv_heads * shape.values),
        }
    if shape.experts:
        each, shared = shape.expert_ffn, shape.expert_ffn * shape.shared
        expected |= {
            "ffn_gate_inp.weight": (width, shape.experts),
            "ffn_gate_exps.weight": (width, each, shape.experts),
            "ffn_up_exps.weight": (width, each, shape.experts),
            "ffn_gate_up_exps.weight": (width, 2 * each, shape.experts),
            "ffn_down_exps.weight": (each, width, shape.experts),
            "ffn_gate_shexp.weight": (width, shared),
            "ffn_up_shexp.weight": (width, shared),
            "ffn_down_shexp.weight": (shared, width),
        }
    return expected


def _contradiction(path: Path, why: str) -> BadFile:
    return BadFile(f"{path} contradicts itself: {why}.", "Fetch it again, or choose another build.")
