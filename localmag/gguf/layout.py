"""Which tensors a model of a shape has in a GGUF, and of which types in llama.cpp's mix of a name.

So the bytes of a build are known before it is fetched, layer by layer. Names and dimensions are those that
llama.cpp creates (src/models/llama.cpp, deepseek2.cpp), types those that its quantizer chooses
(llama_tensor_get_type in src/llama-quant.cpp). Publishers who mix by recipes of their own differ by some
percent: the hub's listing says how large such a file really is.
"""

from __future__ import annotations

from collections.abc import Iterator

from localmag.gguf.header import BLOCKS, TYPES, Tensor
from localmag.shape import Shape

_BASE = {
    "F16": "F16", "BF16": "BF16", "Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K_M": "Q5_K", "Q4_K_M": "Q4_K",
    "Q3_K_M": "Q3_K", "IQ4_XS": "IQ4_XS", "Q4_0": "Q4_0", "F32": "F32",
}  # fmt: skip
"""The mix → the type of most of its tensors."""

MIXES = tuple(_BASE)


def tensors(shape: Shape, mix: str) -> Iterator[Tensor]:
    """Every tensor, with offset 0. Raises KeyError for a mix that is not in `MIXES`."""
    for name, dims in named(shape):
        yield Tensor(name, dims, TYPES[_type(shape, mix, name, dims)], 0)


def named(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Tensor and numbers along each of its dimensions, the fastest first."""
    yield "token_embd.weight", (shape.width, shape.vocabulary)
    for i in range(shape.layers):
        for name, dims in (_attention(shape) | _feed_forward(shape, i)).items():
            yield f"blk.{i}.{name}.weight", dims
    yield "output_norm.weight", (shape.width,)
    if not shape.tied:
        yield "output.weight", (shape.width, shape.vocabulary)


def _attention(shape: Shape) -> dict[str, tuple[int, ...]]:
    width, queries, values = shape.width, shape.heads * shape.head_size, shape.heads * shape.values
    if not shape.kv_rank:
        return {
            "attn_norm": (width,),
            "attn_q": (width, queries),
            "attn_k": (width, shape.kv_heads * shape.head_size),
            "attn_v": (width, shape.kv_heads * shape.values),
            "attn_output": (values, width),
        }
    plain = shape.head_size - shape.rope_size
    return {
        "attn_norm": (width,),
        "attn_q_a": (width, shape.q_rank),
        "attn_q_a_norm": (shape.q_rank,),
        "attn_q_b": (shape.q_rank, queries),
        "attn_kv_a_mqa": (width, shape.kv_rank + shape.rope_size),
        "attn_kv_a_norm": (shape.kv_rank,),
        "attn_k_b": (plain, shape.kv_rank, shape.heads),
        "attn_v_b": (shape.kv_rank, shape.values, shape.heads),
        "attn_output": (values, width),
    }


def _feed_forward(shape: Shape, layer: int) -> dict[str, tuple[int, ...]]:
    width, norm = shape.width, {"ffn_norm": (shape.width,)}
    if layer >= shape.layers - shape.mixtures:
        each, shared = shape.expert_ffn, shape.expert_ffn * shape.shared
        routed: dict[str, tuple[int, ...]] = {
            "ffn_gate_inp": (width, shape.experts),
            "ffn_gate_exps": (width, each, shape.experts),
            "ffn_up_exps": (width, each, shape.experts),
            "ffn_down_exps": (each, width, shape.experts),
        }
        always: dict[str, tuple[int, ...]] = {
            "ffn_gate_shexp": (width, shared),
            "ffn_up_shexp": (width, shared),
            "ffn_down_shexp": (shared, width),
        }
        return norm | routed | (always if shared else {})
    ffn = shape.ffn
    return norm | {"ffn_gate": (width, ffn), "ffn_up": (width, ffn), "ffn_down": (ffn, width)}


_NARROWER = {"Q6_K": "Q8_0", "Q5_K": "Q5_1", "Q4_K": "Q5_0", "Q3_K": "Q4_0", "IQ4_XS": "IQ4_NL"}
"""What stands in where a row is no whole number of a type's blocks (tensor_type_fallback)."""


def _type(shape: Shape, mix: str, name: str, dims: tuple[int, ...]) -> str:
    if len(dims) == 1 or "ffn_gate_inp" in name:
        return "F32"
    chosen = _BASE[mix]
    if BLOCKS[TYPES[chosen]][0] == 1:
        return chosen
    if name == "output.weight" or (shape.tied and name == "token_embd.weight"):
        chosen = "Q8_0" if mix == "Q8_0" or dims[0] % BLOCKS[TYPES[chosen]][0] else "Q6_K"
    elif name.startswith("blk."):
        _, layer, part, _ = name.split(".")
        chosen = _mixed(shape, mix, int(layer), part) or chosen
    while dims[0] % BLOCKS[TYPES[chosen]][0]:
        chosen = _NARROWER.get(chosen, "F16")
    return chosen


def _mixed(shape: Shape, mix: str, layer: int, part: str) -> str | None:
    """The type of a tensor that its mix treats better than the others."""
    eighth = shape.layers // 8
    better = layer < eighth or layer >= 7 * shape.layers // 8 or (layer - eighth) % 3 == 2
    match mix, part.removesuffix("_exps").removesuffix("_shexp"):
        case (("Q4_K_M" | "Q5_K_M"), ("attn_v" | "ffn_down")):
            return "Q6_K" if better else None
        case "Q3_K_M", "attn_v":
            return "Q5_K" if layer < 2 else "Q4_K"
        case "Q3_K_M", "ffn_down":
            return "Q5_K" if layer < shape.layers // 16 else "Q4_K"
        case "Q3_K_M", "attn_output":
            return "Q4_K"
        case "IQ4_XS", "attn_v" if shape.heads // shape.kv_heads >= 4:
            return "Q5_K"
        case "IQ4_XS", "ffn_down" if layer < eighth:
            return "Q5_K"
        case _:
            return None
