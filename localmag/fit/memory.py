"""Bytes that llama.cpp needs, by place, from a model's shape and how it is run. Pure arithmetic.

Sources are llama.cpp's own: src/llama-kv-cache.cpp for the KV cache, src/llama-model.cpp for which layers go
where, the graph of src/models/llama.cpp for the compute buffer. docs/fit.md holds predictions against
measurements.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from localmag.config import KVType
from localmag.fit.weights import Weights
from localmag.shape import Shape

MIB = 2**20
CELLS = 256
"""The KV cache holds a multiple of so many tokens (llama_context, GGML_PAD of n_ctx)."""

_BLOCK: dict[str, tuple[int, int]] = {"f16": (1, 2), "q8_0": (32, 34), "q4_0": (32, 18)}
"""KV type → (numbers per block, bytes per block), from ggml-common.h."""

_BATCH = 512  # tokens that one graph computes (n_ubatch); the engine keeps llama.cpp's default
_PROCESS = 65 * MIB  # the engine's process with its libraries, before it knows a vocabulary (measured)
_PER_ID = 1220  # bytes for each id: llama.cpp's vocabulary and merges, and mistral-common's (measured)
_CONTEXT = {"cuda": 450 * MIB, "rocm": 450 * MIB, "vulkan": 200 * MIB, "metal": 64 * MIB}
"""What a driver keeps for itself on a device; rounded up, and not measured by us."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a model is run. `context` is tokens. `gpu_layers` are counted from the top, the output layer first;
    of the layers there, the first `cpu_experts` mixtures of the model keep their routed experts in memory.
    """

    context: int
    kv_type: KVType = "f16"
    gpu_layers: int = 0
    cpu_experts: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes in one place. `compute` is scratch space, `process` what program, driver and tokenizer take."""

    place: str
    weights: int
    kv: int
    compute: int
    process: int

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute + self.process


@dataclass(frozen=True, slots=True)
class Gpu:
    """An accelerator to put layers on. `share` is its part of them: llama.cpp takes the free memory."""

    place: str
    kind: str
    share: float = 1.0


def kv_row(shape: Shape, kv_type: KVType) -> int:
    """Bytes of the KV cache for each token and layer.

    A key and a value for every KV head; with MLA the latent vector and the part that carries the position,
    from which the value is made as well (llama_kv_cache::llama_kv_cache, where `is_mla` has no V).
    """
    per_block, size = _BLOCK[kv_type]
    if shape.kv_rank:
        return (shape.kv_rank + shape.rope_size) // per_block * size
    keys, values = shape.kv_heads * shape.head_size, shape.kv_heads * shape.values
    return (keys // per_block + values // per_block) * size


def cells(context: int) -> int:
    """Tokens that are allocated for a context."""
    return -(-context // CELLS) * CELLS


def compute(shape: Shape, context: int, kv_type: KVType) -> int:
    """The compute buffer for one batch, in bytes: its widest moment, the attention mask, a row of logits.

    The mask is float16, for each token of the batch and of the context. Flash attention, which the engine
    uses wherever llama.cpp has it, keeps no scores.
    """
    tokens = min(_BATCH, cells(context))
    return tokens * (4 * _widest(shape, kv_type) + 2 * cells(context)) + 4 * shape.vocabulary


def _widest(shape: Shape, kv_type: KVType) -> int:
    """Most numbers, in float32, that a token of the batch has in the buffer at once.

    In a dense layer that is gate, up and their product beside three vectors of the model's width and the
    queries (twice where the cache is quantized, since they are rotated for it). In a mixture it is the same
    of the active experts, or what these have put out; with MLA it may be the queries in the latent space. The
    allocator's gaps are in it, as read off llama.cpp for 25 shapes.
    """
    width, queries = shape.width, shape.heads * shape.head_size
    if shape.experts:
        inside, outside = shape.expert_ffn * shape.active, width * shape.active
        widest = max(3 * inside + 4 * width, 2 * outside + 3 * width)
    else:
        widest = 3 * shape.ffn + 3 * width + queries * (1 if kv_type == "f16" else 2)
    if shape.kv_rank:
        widest = max(widest, 2 * shape.heads * (shape.kv_rank + shape.rope_size) + queries + 3 * width)
    return widest


def llama_cpp(shape: Shape, weights: Weights, setting: Setting, gpus: Sequence[Gpu] = ()) -> tuple[Need, ...]:
    """What is needed in memory, and on each GPU in their order.

    The embedding always stays in memory. The top `gpu_layers` layers go to the GPUs, by their shares
    (llama_model_base::load_tensors, get_layer_buft_list), each with its part of the KV cache.
    """
    on = _placed(shape.layers, setting.gpu_layers if gpus else 0, gpus)
    row = kv_row(shape, setting.kv_type) * cells(setting.context)
    scratch = compute(shape, setting.context, setting.kv_type)
    held, kv = [0] * (len(gpus) + 1), [0] * (len(gpus) + 1)
    held[0] = weights.embedding
    for layer, place in enumerate(on[:-1]):
        stays = weights.experts[layer] if layer < shape.dense_layers + setting.cpu_experts else 0
        held[place] += weights.layers[layer] - stays
        held[0] += stays
        kv[place] += row
    held[on[-1]] += weights.output
    if shape.tied and on[-1]:
        held[on[-1]] += weights.embedding
    used = set(on)
    needs = [
        _memory(shape, weights, setting, gpus, held[0], kv[0], in_use=0 in used or setting.cpu_experts > 0)
    ]
    for place, gpu in enumerate(gpus, 1):
        if place not in used:
            needs.append(Need(gpu.place, 0, 0, 0, 0))
            continue
        spare = scratch + _converted(shape, setting, gpu)
        needs.append(Need(gpu.place, held[place], kv[place], spare, _CONTEXT.get(gpu.kind, 200 * MIB)))
    return tuple(needs)


def _memory(
    shape: Shape, weights: Weights, setting: Setting, gpus: Sequence[Gpu], held: int, kv: int, *, in_use: bool
) -> Need:
    process = _PROCESS + _PER_ID * shape.vocabulary
    if any(gpu.kind in ("cuda", "rocm") for gpu in gpus):
        process += 400 * MIB  # their run-time libraries and pinned buffers
    spare = 4 * shape.vocabulary
    if in_use:
        spare += compute(shape, setting.context, setting.kv_type)
    else:  # a batch's embeddings and the mask, on their way to the GPU
        spare += min(_BATCH, setting.context) * (4 * shape.width + 2 * cells(setting.context))
    return Need("memory", held, kv, spare, process)


def _converted(shape: Shape, setting: Setting, gpu: Gpu) -> int:
    """CUDA's flash attention reads a quantized cache, a layer at a time, through a copy in float16."""
    if setting.kv_type == "f16" or gpu.kind not in ("cuda", "rocm"):
        return 0
    return kv_row(shape, "f16") * cells(setting.context)


def _placed(layers: int, gpu_layers: int, gpus: Sequence[Gpu]) -> list[int]:
    """For each layer, and last the output layer: 0 for memory, else the number of its GPU."""
    first = max(layers + 1 - gpu_layers, 0)
    there = min(gpu_layers, layers + 1)
    shares = list(accumulate(gpu.share for gpu in gpus))
    return [
        0
        if layer < first
        else 1 + min(bisect_right(shares, (layer - first) / there * shares[-1]), len(gpus) - 1)
        for layer in range(layers + 1)
    ]
