"""Weights to files: GGUF for llama.cpp (F16, Q8_0), safetensors in Hugging Face's form."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize
from safetensors.numpy import save_file
from torch import Tensor

from tools.demo_model import tokenizer
from tools.demo_model.model import Model
from tools.demo_model.shape import Shape

_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _gguf_name(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` -> `blk.3.ffn_up.weight`."""
    stem = name.removesuffix(".weight")
    if stem.startswith("model.layers."):
        _, _, layer, rest = stem.split(".", 3)
        return f"blk.{layer}.{_GGUF_NAMES[rest]}.weight"
    return f"{_GGUF_NAMES[stem]}.weight"


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte, which GGUF's `gpt2` tokenizers use."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {byte: chr(byte) for byte in printable}
    hidden = (byte for byte in range(256) if byte not in alphabet)
    return alphabet | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    alphabet = _byte_alphabet()

    def text(token: bytes) -> str:
        return "".join(alphabet[byte] for byte in token)

    ordinary = [text(token) for token in tokenizer.full_vocabulary()[: tokenizer.RANKS]]
    specials = tokenizer.special_tokens()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("tekken")
    writer.add_token_list(specials + ordinary)
    writer.add_token_types([gguf.TokenType.CONTROL] * len(specials) + [gguf.TokenType.NORMAL] * len(ordinary))
    writer.add_token_merges([f"{text(left)} {text(right)}" for left, right in tokenizer.merges()])
    writer.add_bos_token_id(tokenizer.BOS)
    writer.add_eos_token_id(tokenizer.EOS)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(tokenizer.PAD)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def write_gguf(shape: Shape, weights: dict[str, Tensor], path: Path, quant: str) -> None:
    """Write one GGUF; `quant` is `F16` or `Q8_0` (norms stay in float32). It has no chat template."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("localmag demo")
    writer.add_description("The small reasoning model bundled with localmag.")
    writer.add_license("apache-2.0")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if quant == "Q8_0" else gguf.LlamaFileType.MOSTLY_F16)
    if quant == "Q8_0":
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_tokenizer(writer)
    for name, tensor in weights.items():
        values = tensor.numpy()
        if values.ndim == 1:
            writer.add_tensor(_gguf_name(name), values)
        elif quant == "Q8_0":
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(_gguf_name(name), quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(_gguf_name(name), values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_hugging_face(shape: Shape, weights: dict[str, Tensor], folder: Path) -> None:
    """Write `config.json` and `model.safetensors` (float16).

    `rope_traditional` tells MLX of the interleaved layout.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_theta,
        "rope_traditional": True,
        "rms_norm_eps": shape.norm_eps,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": tokenizer.BOS,
        "eos_token_id": tokenizer.EOS,
        "pad_token_id": tokenizer.PAD,
        "torch_dtype": "float16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    halves = {name: tensor.numpy().astype(np.float16) for name, tensor in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "mlx"})


def write_params(shape: Shape, path: Path) -> None:
    """Write `params.json` with Mistral's own names for the sizes."""
    params = {
        "dim": shape.width,
        "n_layers": shape.layers,
        "head_dim": shape.head_size,
        "hidden_dim": shape.ffn,
        "n_heads": shape.heads,
        "n_kv_heads": shape.kv_heads,
        "rope_theta": shape.rope_theta,
        "norm_eps": shape.norm_eps,
        "vocab_size": shape.vocabulary,
        "tied_embeddings": False,
        "max_position_embeddings": shape.context,
    }
    path.write_text(json.dumps(params, indent=2) + "\n", encoding="utf-8")


def export(model: Model, folder: Path, system_prompt: str, quants: tuple[str, ...] = ("Q8_0", "F16")) -> None:
    """Write everything a runner needs into `folder`: the GGUF builds, tokenizer, system prompt and sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = model.weights()
    for quant in quants:
        write_gguf(model.shape, weights, folder / f"demo-{quant}.gguf", quant)
    tokenizer.write_tekken(folder / "tekken.json")
    (folder / "SYSTEM_PROMPT.txt").write_text(system_prompt, encoding="utf-8")
    write_params(model.shape, folder / "params.json")
