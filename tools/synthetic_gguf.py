"""Writes a GGUF of the `llama` architecture with random weights and a true Tekken vocabulary.

It says nothing sensible, but it loads, costs and measures like a real model of its shape: tests use tiny
ones, `make bench` one of about 100 million parameters.

    python tools/synthetic_gguf.py OUT.gguf --tokenizer localmag/demo/tekken.json --type Q8_0
"""

from __future__ import annotations

import argparse
import base64
import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a llama. Rows and heads are multiples of 32, for Q8_0 weights and quantized KV caches."""

    layers: int = 2
    width: int = 64
    heads: int = 2
    kv_heads: int = 1
    ffn: int = 128
    context: int = 4096

    @property
    def head_size(self) -> int:
        return self.width // self.heads


HUNDRED_MILLION = Shape(layers=14, width=768, heads=12, kv_heads=4, ffn=2304)


def byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes, which is how GGUF spells byte-level BPE."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(b if b in printable else next(others)) for b in range(256)]


def vocabulary(tokenizer: Path) -> tuple[list[str], list[gguf.TokenType]]:
    """GGUF's spelling and type of every id of a `tekken.json`: special tokens first, then ranks."""
    tekken = json.loads(tokenizer.read_text("utf-8"))
    specials = tekken["config"]["default_num_special_tokens"]
    names = {t["rank"]: t["token_str"] for t in tekken["special_tokens"]}
    letters = byte_letters()
    ranks = tekken["vocab"][: tekken["config"]["default_vocab_size"] - specials]
    tokens = [names.get(i, f"<SPECIAL_{i}>") for i in range(specials)]
    tokens += ["".join(letters[b] for b in base64.b64decode(t["token_bytes"])) for t in ranks]
    types = [gguf.TokenType.CONTROL] * specials + [gguf.TokenType.NORMAL] * len(ranks)
    return tokens, types


def tensors(shape: Shape, vocabulary_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random matrices, each (rows out, columns in), scaled so that activations neither die nor explode."""

    def matrix(rows: int, columns: int) -> np.ndarray:
        return rng.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns**0.5)

    kv = shape.kv_heads * shape.head_size
    made = {"token_embd.weight": matrix(vocabulary_size, shape.width) * np.float32(shape.width**0.5)}
    for i in range(shape.layers):
        made |= {
            f"blk.{i}.attn_norm.weight": np.ones(shape.width, np.float32),
            f"blk.{i}.attn_q.weight": matrix(shape.width, shape.width),
            f"blk.{i}.attn_k.weight": matrix(kv, shape.width),
            f"blk.{i}.attn_v.weight": matrix(kv, shape.width),
            f"blk.{i}.attn_output.weight": matrix(shape.width, shape.width),
            f"blk.{i}.ffn_norm.weight": np.ones(shape.width, np.float32),
            f"blk.{i}.ffn_gate.weight": matrix(shape.ffn, shape.width),
            f"blk.{i}.ffn_up.weight": matrix(shape.ffn, shape.width),
            f"blk.{i}.ffn_down.weight": matrix(shape.width, shape.ffn),
        }
    # Sharper than unit logits, so that sampling has a real nucleus to find.
    return made | {
        "output_norm.weight": np.full(shape.width, 3.0, np.float32),
        "output.weight": matrix(vocabulary_size, shape.width),
    }


def write(out: Path, tokenizer: Path, shape: Shape, weight_type: str = "Q8_0", seed: int = 0) -> None:
    """Write the model. `weight_type` (F16 or Q8_0) holds for matrices; norms stay F32."""
    tokens, types = vocabulary(tokenizer)
    quant = gguf.GGMLQuantizationType[weight_type]
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name(f"synthetic {shape.layers}x{shape.width}")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("tekken")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(
        [f"{tokens[1032]} {tokens[1033]}"]
    )  # llama.cpp wants some; we never tokenize with it
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, values in tensors(shape, len(tokens), np.random.default_rng(seed)).items():
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, quant), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tekken.json")
    parser.add_argument("--type", default="Q8_0", choices=("F16", "Q8_0"))
    parser.add_argument("--seed", type=int, default=0)
    for name in Shape.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(HUNDRED_MILLION, name))
    chosen = vars(parser.parse_args())
    shape = Shape(**{name: chosen[name] for name in Shape.__dataclass_fields__})
    write(chosen["out"], chosen["tokenizer"], shape, chosen["type"], chosen["seed"])


if __name__ == "__main__":
    main()
