"""Bytes that MLX needs on Apple silicon. From mlx-lm's sources; not measured on a Mac by us."""

from __future__ import annotations

from localmag.config import KVType
from localmag.fit.memory import MIB, Need
from localmag.fit.weights import GROUP_BITS
from localmag.shape import Shape

PREFILL = 512
"""Tokens read at once, at most. mlx-lm's default of 2,048 is what Macs have panicked with on long prompts."""

PREFILL_QUANTIZED = 128
"""The same with a quantized cache, where attention is not fused and keeps every head's scores."""

_BITS: dict[KVType, float] = {"f16": 16, "q8_0": 8, "q4_0": 4}
_PROCESS = 300 * MIB  # Python, MLX, Metal's compiled kernels and the tokenizer


def prefill(kv_type: KVType) -> int:
    """Tokens read at once, at most."""
    return PREFILL if kv_type == "f16" else PREFILL_QUANTIZED


def kv(shape: Shape, context: int, kv_type: KVType) -> int:
    """Bytes of the whole cache, taken at the start. Quantized, 64 numbers share a scale and a bias."""
    each = _BITS[kv_type] + (0 if kv_type == "f16" else GROUP_BITS)
    numbers = shape.kv_heads * (shape.head_size + shape.values)
    if shape.kv_rank:
        numbers = shape.kv_rank + shape.rope_size
    return round(shape.layers * context * numbers * each / 8)


def compute(shape: Shape, context: int, kv_type: KVType) -> int:
    """A chunk's activations at their widest, in 16 bits.

    With a quantized cache attention is not fused: the scores of every head too, in 32 bits and again in 16.
    """
    widest = 3 * (shape.expert_ffn * shape.active if shape.experts else shape.ffn)
    tokens = prefill(kv_type)
    activations = tokens * 2 * (widest + 4 * shape.width) + 4 * shape.vocabulary
    scores = 0 if kv_type == "f16" else tokens * context * shape.heads * 6
    return activations + scores


def need(shape: Shape, held: int, context: int, kv_type: KVType, place: str = "memory") -> Need:
    """All of it is one memory: `held` bytes of weights, cache, scratch space and process."""
    return Need(place, held, kv(shape, context, kv_type), compute(shape, context, kv_type), _PROCESS)
