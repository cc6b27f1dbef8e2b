"""Writes a GGUF with random weights, a true Tekken vocabulary, and any shape and quant mix.

It says nothing sensible, but it loads, costs and measures like a real model of its shape: tests use tiny
ones, `make bench` one of about 100 million parameters, `make bench-fit` up to the full 24 billion (14.3 GB in
Q4_K_M's mix). ggml's own quantizer makes the blocks; a large tensor repeats a few rows.

    python -m tools.synthetic_gguf OUT.gguf --tokenizer localmag/demo/tekken.json --mix Q8_0 --width 768
    python -m tools.synthetic_gguf OUT.gguf --tokenizer TEKKEN.json --mix Q4_K_M --like magistral
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import json
import math
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

import gguf
import numpy as np

from localmag import catalogue
from localmag.gguf import Tensor, layout
from localmag.gguf.letters import spelled
from localmag.shape import Shape

MIXES = layout.MIXES
_WHOLE = 1 << 21  # most numbers of a tensor that are all drawn
_TILE = 1 << 18  # numbers that a larger one repeats, the same for every tensor of its type and row length
_ALIGNMENT = 32  # bytes; GGUF's default


def llama(layers: int = 2, width: int = 64, heads: int = 2, kv_heads: int = 1, ffn: int = 128) -> Shape:
    """A small dense shape; `write` counts the vocabulary. For Q8_0, rows and heads are multiples of 32."""
    return Shape(layers, width, heads, kv_heads, width // heads, ffn, vocabulary=0)


def mixture(
    layers: int = 2,
    width: int = 256,
    heads: int = 4,
    *,
    experts: int = 8,
    active: int = 2,
    expert_ffn: int = 256,
    q_rank: int = 128,
    kv_rank: int = 64,
) -> Shape:
    """A small shape of experts behind latent attention, as Mistral Small 4's; rows as in `llama`."""
    return Shape(
        layers, width, heads, heads, 128, 2 * width, vocabulary=0,
        experts=experts, active=active, shared=1, expert_ffn=expert_ffn,
        q_rank=q_rank, kv_rank=kv_rank, rope_size=64,
    )  # fmt: skip


HUNDRED_MILLION = llama(layers=14, width=768, heads=12, kv_heads=4, ffn=2304)


def write(
    out: Path,
    tokenizer: Path,
    shape: Shape,
    mix: str = "Q8_0",
    *,
    context: int = 4096,
    seed: int = 0,
    talkative: bool = False,
    hollow: bool = False,
) -> None:
    """Write the model with the vocabulary of that `tekken.json`, whatever `shape` says of its size.

    A `talkative` one never draws a control token, and so never ends. A `hollow` one has a header only, and
    zeros after it that take no room on most disks: enough to be asked how much memory it would take.
    """
    tokens, types = vocabulary(tokenizer)
    shape = replace(shape, vocabulary=len(tokens))
    writer = gguf.GGUFWriter(out, "mistral4" if shape.kv_rank else "llama")
    _describe(writer, shape, context)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("tekken")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges(tokens[1000:]))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    made = list(layout.tensors(shape, mix))
    for tensor in made:
        kind = gguf.GGMLQuantizationType(tensor.type)
        writer.add_tensor_info(
            tensor.name, _rows_first(tensor, kind), np.dtype(np.uint8), _bytes(tensor), kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    assert writer.fout
    file = writer.fout[0]
    rng = np.random.default_rng(seed)
    if hollow:
        file.truncate(file.tell() + sum(_bytes(tensor) + _ALIGNMENT for tensor in made))
        made = []
    for tensor in made:
        file.write(bytes(-file.tell() % _ALIGNMENT))
        _write_values(file, tensor, rng, silent=1000 if talkative and tensor.name == "output.weight" else 0)
    file.write(bytes(-file.tell() % _ALIGNMENT))
    writer.close()


def vocabulary(tokenizer: Path) -> tuple[list[str], list[gguf.TokenType]]:
    """GGUF's spelling and type of every id of a `tekken.json`: special tokens first, then ranks."""
    tekken = json.loads(tokenizer.read_text("utf-8"))
    specials = tekken["config"]["default_num_special_tokens"]
    names = {t["rank"]: t["token_str"] for t in tekken["special_tokens"]}
    ranks = tekken["vocab"][: tekken["config"]["default_vocab_size"] - specials]
    tokens = [names.get(i, f"<SPECIAL_{i}>") for i in range(specials)]
    tokens += [spelled(base64.b64decode(t["token_bytes"])) for t in ranks]
    types = [gguf.TokenType.CONTROL] * specials + [gguf.TokenType.NORMAL] * len(ranks)
    return tokens, types


def merges(pieces: list[str]) -> list[str]:
    """Every way to make a piece of two others: as many as converters write, about two for each piece."""
    known = set(pieces)
    return [
        f"{piece[:i]} {piece[i:]}"
        for piece in pieces
        for i in range(1, len(piece))
        if piece[:i] in known and piece[i:] in known
    ]


def _describe(writer: gguf.GGUFWriter, shape: Shape, context: int) -> None:
    writer.add_name(f"synthetic {shape.layers}x{shape.width}")
    writer.add_context_length(context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)
    if shape.kv_rank:
        writer.add_head_count_kv(1)
        writer.add_q_lora_rank(shape.q_rank)
        writer.add_kv_lora_rank(shape.kv_rank)
        writer.add_key_length(shape.kv_rank + shape.rope_size)
        writer.add_value_length(shape.kv_rank)
        writer.add_key_length_mla(shape.head_size)
        writer.add_value_length_mla(shape.values)
        writer.add_rope_dimension_count(shape.rope_size)
    else:
        writer.add_head_count_kv(shape.kv_heads)
        writer.add_key_length(shape.head_size)
        writer.add_value_length(shape.values)
        writer.add_rope_dimension_count(shape.head_size)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(shape.active)
        writer.add_expert_feed_forward_length(shape.expert_ffn)
        writer.add_expert_shared_count(shape.shared)
        writer.add_leading_dense_block_count(shape.dense_layers)


def _rows_first(tensor: Tensor, kind: gguf.GGMLQuantizationType) -> tuple[int, ...]:
    """NumPy's order of the dimensions, the last in bytes, as the writer wants it."""
    per_block, size = gguf.GGML_QUANT_SIZES[kind]
    return (*reversed(tensor.shape[1:]), tensor.shape[0] // per_block * size)


def _bytes(tensor: Tensor) -> int:
    assert tensor.nbytes
    return tensor.nbytes


def _write_values(file: BinaryIO, tensor: Tensor, rng: np.random.Generator, silent: int) -> None:
    """Random values, scaled so that activations neither die nor explode. The first `silent` rows are 0."""
    columns, rows = tensor.shape[0], math.prod(tensor.shape[1:])
    if len(tensor.shape) == 1:
        # Sharper than unit logits, so that sampling has a real nucleus to find.
        norm = 3.0 if tensor.name == "output_norm.weight" else 1.0
        file.write(np.full(columns, norm, np.float32).tobytes())
    elif columns * rows <= _WHOLE:
        values = _random(rng, rows, columns)
        if tensor.name == "token_embd.weight":
            values *= np.float32(columns**0.5)
        values[:silent] = 0  # a middling logit, outside of every nucleus
        file.write(quantized(values, tensor.type))
    else:
        tile = _tile(columns, tensor.type)
        repeats, rest = divmod(_bytes(tensor), len(tile))
        for _ in range(repeats):
            file.write(tile)
        file.write(tile[:rest])


def _random(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return rng.standard_normal((rows, columns), np.float32) / np.float32(columns**0.5)


@cache
def _tile(columns: int, kind: int) -> memoryview:
    return quantized(_random(np.random.default_rng(0), max(1, _TILE // columns), columns), kind)


def quantized(values: np.ndarray, kind: int) -> memoryview:
    """Rows of float32 as ggml stores them in that type."""
    rows, columns = values.shape
    per_block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    out = np.empty(rows * (columns // per_block) * size, np.uint8)
    pointer = np.ascontiguousarray(values).ctypes.data_as(ctypes.c_void_p)
    _ggml().ggml_quantize_chunk(kind, pointer, out.ctypes.data_as(ctypes.c_void_p), 0, rows, columns, None)
    return out.data


def _ggml() -> ctypes.CDLL:
    import llama_cpp.llama_cpp  # loads the library, wherever the wheel has it

    folder = Path(llama_cpp.__file__).parent / "lib"
    library = ctypes.CDLL(str(next(_libraries(folder))))
    number, many, pointer = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
    library.ggml_quantize_chunk.argtypes = [number, pointer, pointer, many, many, many, pointer]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library


def _libraries(folder: Path) -> Iterator[Path]:
    for name in ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll"):
        if (folder / name).exists():
            yield folder / name


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tekken.json")
    parser.add_argument("--mix", default="Q8_0", choices=MIXES)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--like", metavar="MODEL", help="the shape of that model of the catalogue")
    numbers = [f.name for f in fields(Shape) if f.name not in ("tied", "vocabulary")]
    for name in numbers:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    chosen = vars(parser.parse_args())
    base = HUNDRED_MILLION
    if chosen["like"]:
        base = catalogue.find(chosen["like"])[0].shape or parser.error("its shape is not known")
    shape = replace(base, **{name: chosen[name] for name in numbers if chosen[name] is not None})
    write(
        chosen["out"],
        chosen["tokenizer"],
        shape,
        chosen["mix"],
        context=chosen["context"],
        seed=chosen["seed"],
    )


if __name__ == "__main__":
    main()
