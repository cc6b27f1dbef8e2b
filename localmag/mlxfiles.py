"""What an MLX build's files say of it: config.json, and the headers of the files that hold its tensors.

Nothing of MLX is needed for it, and nothing that is read is trusted.
"""

from __future__ import annotations

import json
import re
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localmag import files
from localmag.errors import BadFile
from localmag.shape import Shape

CONFIG = "config.json"
WEIGHTS = "model*.safetensors"
"""The files that mlx-lm reads."""

IMAGES = re.compile(r"vision_tower|vision_model|vision_encoder|multi_modal_projector|patch_merger")
"""In the names of the tensors for seeing, which mlx-lm leaves out."""

_LEFT_OUT = re.compile(r"rotary_emb\.inv_freq")  # besides those: it is computed
_OUTPUT = re.compile(r"(?:^|\.)lm_head\.")  # of no use where the embedding is the output layer
_MOST_CONFIG = 4 * 2**20  # bytes
_MOST_HEADER = 32 * 2**20  # bytes; true ones are a few hundred thousand
_MOST_NUMBER = 2**24  # of layers, heads, widths, ids: true ones are a few hundred thousand at most
_KEYS = {  # config.json's → fields of a Shape
    "num_hidden_layers": "layers",
    "hidden_size": "width",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "head_dim": "head_size",
    "intermediate_size": "ffn",
    "vocab_size": "vocabulary",
    "n_routed_experts": "experts",
    "num_experts_per_tok": "active",
    "n_shared_experts": "shared",
    "moe_intermediate_size": "expert_ffn",
    "first_k_dense_replace": "dense_layers",
    "q_lora_rank": "q_rank",
    "kv_lora_rank": "kv_rank",
    "qk_rope_head_dim": "rope_size",
    "v_head_dim": "value_size",
}
_NEEDED = ("layers", "width", "heads", "kv_heads", "head_size", "ffn", "vocabulary")


@dataclass(frozen=True, slots=True)
class Tensor:
    """`dtype` in safetensors' words: BF16, F32, U32. What is quantized is U32, beside scales and biases.

    `columns` is the last of its dimensions; 0 where that is not stated.
    """

    dtype: str
    nbytes: int
    columns: int = 0


@dataclass(frozen=True, slots=True)
class Contents:
    """Bytes: `weights` of what is loaded, `images` of what is for seeing and left out; `itemsize` of one
    number while it computes, and of the KV cache's where that is not quantized.

    `groups` is in how many the longest rows of what is quantized are divided; 0 if nothing is.
    """

    weights: int
    images: int
    itemsize: int
    groups: int = 0


def config(folder: Path) -> dict[str, Any]:
    """Raises BadFile if it cannot be read, or is no JSON object."""
    return json_object(folder / CONFIG, _MOST_CONFIG)


def json_object(path: Path, most: int) -> dict[str, Any]:
    """What a file of at most that many bytes says. Raises BadFile if it cannot be read, or is no object."""
    try:
        told = json.loads(files.read(path, most))
    except (OSError, ValueError, RecursionError) as exc:
        raise BadFile(f"{path} cannot be read ({exc}).", "Fetch it again.") from exc
    if not isinstance(told, dict):
        raise BadFile(f"{path} is not what it should be.", "Fetch it again.")
    return told


def text_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """Of a model that sees, the part of its configuration that reads."""
    nested = told.get("text_config")
    return dict(nested if isinstance(nested, dict) else told)


def shape(told: Mapping[str, Any]) -> Shape:
    """The dimensions in a config.json; 0 for those that it does not state."""
    text = text_of(told)
    found = {ours: _whole(text.get(key)) for key, ours in _KEYS.items()}
    found["kv_heads"] = found["kv_heads"] or found["heads"]
    if found["kv_rank"]:
        found["head_size"] = _whole(text.get("qk_nope_head_dim")) + found["rope_size"]
    if found["heads"] and not found["head_size"]:
        found["head_size"] = found["width"] // found["heads"]
    return Shape(**found, tied=_tied(told))


def odd_number(told: Mapping[str, Any]) -> str | None:
    """The first key of a dimension that is stated, and is no whole number of the kind that models have."""
    text = text_of(told)
    stated = {key: text[key] for key in _KEYS if text.get(key) is not None}
    return next((key for key, n in stated.items() if type(n) is not int or not 0 <= n <= _MOST_NUMBER), None)


def tensors(path: Path) -> dict[str, Tensor]:
    """What a safetensors file's header lists: 8 bytes of length, JSON, then the data without gaps.

    Raises OSError if it cannot be read; ValueError if the file is not as its header says.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):  # a pipe would be waited on for ever
        raise ValueError(f"{path.name} is no regular file")
    size = about.st_size
    amiss = f"{path.name} is cut short or not what its header says"
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, _MOST_HEADER):
            raise ValueError(f"{path.name} is cut short or no safetensors file")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("it is JSON, but no object")
    header.pop("__metadata__", None)
    found, extents = {}, []
    for name, told in header.items():
        extent = told.get("data_offsets") if isinstance(told, dict) else None
        if not isinstance(extent, list) or len(extent) != 2 or not all(type(n) is int for n in extent):
            raise ValueError(amiss)
        shape = told.get("shape")
        columns = _whole(shape[-1]) if isinstance(shape, list) and shape else 0
        found[name] = Tensor(str(told.get("dtype")), extent[1] - extent[0], columns)
        extents.append((extent[0], extent[1]))
    reached = 0
    for begin, end in sorted(extents):
        if not begin == reached <= end:
            raise ValueError(amiss)
        reached = end
    if reached != size - 8 - length:
        raise ValueError(amiss)
    return found


def contents(told: Mapping[str, Any], there: Iterable[Mapping[str, Tensor]]) -> Contents:
    """What tensors with that config.json take."""
    weights = images = groups = 0
    kinds = set()
    tied = _tied(told)
    for file in there:
        for name, tensor in file.items():
            if IMAGES.search(name):
                images += tensor.nbytes
            elif not _LEFT_OUT.search(name) and not (tied and _OUTPUT.search(name)):
                weights += tensor.nbytes
                kinds.add(tensor.dtype)
                groups = max(groups, tensor.columns if name.endswith(".scales") else 0)
    # MLX computes in the widest of what meets; two kinds of 16 bits meet in 32.
    sixteen = kinds & {"F16", "BF16"}
    return Contents(weights, images, 2 if len(sixteen) == 1 and "F32" not in kinds else 4, groups)


def measured(folder: Path) -> tuple[Shape, Contents] | None:
    """An MLX build's shape and what it takes; None if it does not state all that this takes to tell.

    Raises BadFile if it is damaged.
    """
    told = config(folder)
    stated = shape(told)
    if not all(getattr(stated, name) for name in _NEEDED):
        return None
    try:
        there = [tensors(path) for path in sorted(folder.glob(WEIGHTS))]
    except (OSError, ValueError, RecursionError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise BadFile(f"{folder} is damaged: {why}.", "Fetch it again.") from exc
    held = contents(told, there)
    if not held.weights:
        raise BadFile(f"{folder} holds no weights ({WEIGHTS}).", "Fetch it again.")
    return stated, held


def _tied(told: Mapping[str, Any]) -> bool:
    return text_of(told).get("tie_word_embeddings") is True


def _whole(number: object) -> int:
    return number if type(number) is int and 0 < number <= _MOST_NUMBER else 0
