"""Makes an MLX build of a GGUF of the `llama` architecture, as converters make one of a model on the hub.

    python -m tools.mlx_build localmag/demo/demo-Q8_0.gguf OUT
    python -m tools.mlx_build localmag/demo/demo-Q8_0.gguf OUT --bits 4

Without bits it is of bfloat16; 4, 6 or 8 bits are made by mlx-lm's own quantizer. A quantized GGUF's numbers
are taken as they are.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import numpy as np
from gguf.quants import dequantize

DTYPES = {"bfloat16": mx.bfloat16, "float16": mx.float16, "float32": mx.float32}
GROUP = 64
"""Numbers that share a scale and a bias; mlx-lm's default."""

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def write(source: Path, folder: Path, dtype: str = "bfloat16", bits: int | None = None) -> Path:
    """Write `config.json`, `model.safetensors` and `tokenizer.json`; the folder is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(source)
    config = _config(reader)
    weights = {_name(tensor.name): _values(tensor, DTYPES[dtype]) for tensor in reader.tensors}
    config["tie_word_embeddings"] = "lm_head.weight" not in weights
    if bits:
        config, weights = _quantized(config, weights, bits)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(reader)) + "\n", "utf-8")
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    return folder


def _config(reader: gguf.GGUFReader) -> dict[str, Any]:
    def told(key: str) -> Any:
        return reader.fields[f"llama.{key}"].contents()

    heads, width = told("attention.head_count"), told("embedding_length")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": told("feed_forward_length"),
        "num_hidden_layers": told("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": told("attention.head_count_kv"),
        "head_dim": width // heads,
        "vocab_size": len(reader.fields["tokenizer.ggml.tokens"].data),
        "max_position_embeddings": told("context_length"),
        "rope_theta": told("rope.freq_base"),
        "rope_traditional": True,  # GGUF keeps Llama's rows in the order of interleaved pairs
        "rms_norm_eps": told("attention.layer_norm_rms_epsilon"),
    }


def _name(name: str) -> str:
    """`blk.3.ffn_up.weight` -> `model.layers.3.mlp.up_proj.weight`."""
    found = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", name)
    assert found, name
    layer = f"model.layers.{found[1]}." if found[1] else ""
    return f"{layer}{_NAMES[found[2]]}.weight"


def _values(tensor: gguf.ReaderTensor, dtype: mx.Dtype) -> mx.array:
    values = dequantize(tensor.data, tensor.tensor_type)
    return mx.array(np.ascontiguousarray(values, np.float32)).astype(dtype)


def _quantized(
    config: dict[str, Any], weights: dict[str, mx.array], bits: int
) -> tuple[dict[str, Any], dict[str, mx.array]]:
    from mlx.utils import tree_flatten
    from mlx_lm.models import llama
    from mlx_lm.utils import quantize_model

    model = llama.Model(llama.ModelArgs.from_dict(config))
    model.load_weights(list(weights.items()))
    with redirect_stdout(sys.stderr):  # it has something to say
        model, config = quantize_model(model, config, GROUP, bits)
    return config, dict(tree_flatten(model.parameters()))


def _tokenizer(reader: gguf.GGUFReader) -> dict[str, Any]:
    """As much of Hugging Face's form as tells what each id means."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    return {"version": "1.0", "model": {"type": "BPE", "vocab": {text: id for id, text in enumerate(tokens)}}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--bits", type=int, choices=(4, 6, 8))
    told = parser.parse_args()
    print(write(told.source, told.folder, told.dtype, told.bits))


if __name__ == "__main__":
    main()
