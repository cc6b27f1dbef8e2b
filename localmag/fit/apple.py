"""Bytes that MLX needs on Apple silicon. From mlx-lm's sources; not measured on a Mac by us."""

from __future__ import annotations

from localmag.config import KVType
from localmag.fit.memory import MIB, Need
from localmag.shape import Shape

STEP = 256
"""The KV cache grows by so many tokens (KVCache.step in mlx_lm/models/cache.py)."""

PREFILL = 512
"""Tokens read at once. mlx-lm's default of 2,048 is what Macs have panicked with on long prompts."""

_GROUP = 64  # weights that share a scale and a bias, each two bytes (mlx_lm.utils.quantize_model)
_BITS: dict[KVType, float] = {"f16": 16, "q8_0": 8, "q4_0": 4}
_PROCESS = 300 * MIB  # Python, MLX, Metal's compiled kernels and the tokenizer


def bits(quant: str) -> float:
    """Bits per weight of a build named like `4bit` or `bf16`, scales and biases of its groups included."""
    if not quant.endswith("bit"):
        return 16.0
    return int(quant.removesuffix("bit")) + 2 * 16 / _GROUP


def weights(shape: Shape, quant: str) -> int:
    """Bytes of the weights, embedding and output layer quantized like the rest."""
    return round(shape.parameters * bits(quant) / 8)


def kv(shape: Shape, context: int, kv_type: KVType) -> int:
    """Bytes of the whole cache. Quantized, each group of 64 numbers has a scale and a bias of its own."""
    tokens = -(-context // STEP) * STEP
    each = _BITS[kv_type] + (0 if kv_type == "f16" else 2 * 16 / _GROUP)
    numbers = shape.kv_heads * (shape.head_size + shape.values)
    if shape.kv_rank:
        numbers = shape.kv_rank + shape.rope_size
    return round(shape.layers * tokens * numbers * each / 8)


def compute(shape: Shape, context: int, kv_type: KVType) -> int:
    """A chunk's activations at their widest, in 16 bits; a layer's cache, which is copied when it grows.

    With a quantized cache attention is not fused: the scores of every head too, in 32 bits and again in 16.
    """
    widest = 3 * (shape.expert_ffn * shape.active if shape.experts else shape.ffn)
    activations = PREFILL * 2 * (widest + 4 * shape.width) + 4 * shape.vocabulary
    scores = 0 if kv_type == "f16" else PREFILL * context * shape.heads * 6
    return activations + kv(shape, context, kv_type) // shape.layers + scores


def mlx(shape: Shape, held: int, context: int, kv_type: KVType, place: str = "memory") -> Need:
    """All of it is one memory: `held` bytes of weights, cache, scratch space and process."""
    return Need(place, held, kv(shape, context, kv_type), compute(shape, context, kv_type), _PROCESS)
