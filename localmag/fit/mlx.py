"""Bytes that MLX needs on Apple silicon. From mlx-lm's sources; not measured on a Mac by us."""

from __future__ import annotations

from localmag.config import KVType
from localmag.fit.memory import MIB, Need
from localmag.fit.weights import Weights
from localmag.shape import Shape

PREFILL = 512
"""Tokens read at once, at most. mlx-lm's default of 2,048 is what Macs have panicked with on long prompts."""

PREFILL_QUANTIZED = 128
"""The same with a quantized cache, where attention is not fused and keeps every head's scores."""

BITS: dict[KVType, int] = {"q8_0": 8, "q4_0": 4}
_GROUPS = (64, 32)
"""Numbers of a head that may share a scale and a bias: mlx-lm's default, and what else mx.quantize knows."""

_PROCESS = 300 * MIB  # Python, MLX, Metal's compiled kernels and the tokenizer


def prefill(kv_type: KVType) -> int:
    """Tokens read at once, at most."""
    return PREFILL if kv_type == "f16" else PREFILL_QUANTIZED


def group(head_size: int) -> int:
    """How many numbers share a scale and a bias in a quantized cache; 0 if heads of that size cannot be."""
    return next((size for size in _GROUPS if head_size % size == 0), 0)


def kv(shape: Shape, context: int, kv_type: KVType, itemsize: int = 2) -> int:
    """Bytes of the whole cache, taken at the start. `itemsize` is bytes of a number that is not quantized,
    and of a scale or a bias: "f16" is what the model computes in.
    """
    each = 8.0 * itemsize
    if kv_type in BITS:
        each = BITS[kv_type] + 2 * 8 * itemsize / (group(shape.head_size) or _GROUPS[-1])
    numbers = shape.kv_heads * (shape.head_size + shape.values)
    if shape.kv_rank:
        numbers = shape.kv_rank + shape.rope_size
    return round(shape.layers * context * numbers * each / 8)


def compute(shape: Shape, context: int, kv_type: KVType, itemsize: int = 2) -> int:
    """A chunk's activations at their widest, of `itemsize` bytes each.

    With a quantized cache attention is not fused: the scores of every head too, in 32 bits and again in as
    many as the rest.
    """
    widest = 3 * (shape.expert_ffn * shape.active if shape.experts else shape.ffn)
    tokens = prefill(kv_type)
    activations = tokens * itemsize * (widest + 4 * shape.width) + 4 * shape.vocabulary
    scores = 0 if kv_type == "f16" else tokens * context * shape.heads * (4 + itemsize)
    return activations + scores


def need(shape: Shape, weights: Weights, context: int, kv_type: KVType, place: str = "memory") -> Need:
    """All of it is one memory: weights, cache, scratch space and process."""
    held, scratch = (count(shape, context, kv_type, weights.itemsize) for count in (kv, compute))
    return Need(place, weights.total, held, scratch, _PROCESS)
