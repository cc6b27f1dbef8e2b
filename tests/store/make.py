"""Weights for tests: GGUF headers of any content, and files as long as the true ones that take no space;
where to put them, and how to see them found.
"""

from __future__ import annotations

import functools
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from localmag import catalogue
from localmag.gguf import layout
from localmag.gguf.letters import spelled
from localmag.shape import Shape
from localmag.store import inventory
from localmag.store.inventory import Here
from tests.tekken import NAMES, tekken
from tools import synthetic_gguf

_ALIGN = 32
BYTES = [spelled(bytes([byte])) for byte in range(256)]
CONTROL, NORMAL = 3, 1

Metadata = Mapping[str, str | int | Sequence[str] | Sequence[int]]


def header(metadata: Metadata, tensors: Sequence[tuple[str, tuple[int, ...], int, int]] = ()) -> bytes:
    """The start of a GGUF. A tensor is its name, dimensions, type and offset."""
    pairs = b"".join(_string(key) + _value(value) for key, value in metadata.items())
    table = b"".join(
        _string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
        for name, dims, kind, offset in tensors
    )
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + pairs + table
    return head + bytes(-len(head) % _ALIGN)


def _string(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(raw)) + raw


def _value(value: str | int | Sequence[str] | Sequence[int]) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_string(str(v)) for v in value)
    return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)


def described(shape: Shape, architecture: str = "llama", **more: str | int) -> dict[str, str | int]:
    """Metadata of a Tekken model of that shape, without its vocabulary."""
    told: dict[str, str | int] = {
        "general.architecture": architecture,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "tekken",
        f"{architecture}.block_count": shape.layers,
        f"{architecture}.embedding_length": shape.width,
        f"{architecture}.attention.head_count": shape.heads,
        f"{architecture}.attention.head_count_kv": shape.kv_heads,
        f"{architecture}.attention.key_length": shape.head_size,
        f"{architecture}.attention.value_length": shape.head_size,
        f"{architecture}.feed_forward_length": shape.ffn,
        f"{architecture}.context_length": 131_072,
    }
    return told | more


def vocabulary(names: Sequence[str] = NAMES, specials: int = 1_000, words: Sequence[str] = ()) -> list[str]:
    """GGUF's list of tokens: control tokens, the single bytes, and `words` as they are spelled."""
    fillers = [f"<SPECIAL_{id}>" for id in range(len(names), specials)]
    return [*names, *fillers, *BYTES, *words]


def tiny(tokens: Sequence[str] | None = None, types: Sequence[int] | None = None, **more: Any) -> bytes:
    """A GGUF with a vocabulary and no tensors."""
    tokens = vocabulary() if tokens is None else tokens
    first = tokens.index(BYTES[0]) if types is None and BYTES[0] in tokens else 0
    types = [CONTROL] * first + [NORMAL] * (len(tokens) - first) if types is None else types
    told = described(synthetic_gguf.llama())
    return header({**told, "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types, **more})


def magistral(path: Path, *, quant: str = "Q4_K_M", **changed: int) -> Path:
    """A file of Magistral's true shape, vocabulary and length (14.3 GB), holes where its weights would be.

    `changed` are dimensions in which it differs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    head, length = _magistral(quant, tuple(changed.items()))
    return hollow(path, head, length)


def hollow(path: Path, head: bytes, length: int) -> Path:
    """A file of that length which begins with `head`; the rest takes no space."""
    with path.open("wb") as file:
        file.write(head)
        if os.name == "nt":  # without asking, NTFS would fill the holes
            import subprocess

            subprocess.run(["fsutil", "sparse", "setflag", str(path)], check=True)
        file.truncate(length)
    return path


@functools.cache
def _magistral(quant: str, changed: tuple[tuple[str, int], ...]) -> tuple[bytes, int]:
    model, _ = catalogue.find("magistral")
    assert model.shape
    numbers: dict[str, Any] = dict(changed)
    shape = replace(model.shape, **numbers)
    tokens = full_vocabulary()[: shape.vocabulary]
    table, offset = [], 0
    for tensor in layout.tensors(shape, quant):
        table.append((tensor.name, tensor.shape, tensor.type, offset))
        assert tensor.nbytes
        offset += (tensor.nbytes + _ALIGN - 1) // _ALIGN * _ALIGN
    types = [CONTROL] * 1_000 + [NORMAL] * (len(tokens) - 1_000)
    told = {**described(shape), "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}
    head = header(told, table)
    return head, len(head) + offset


@functools.cache
def full_vocabulary() -> list[str]:
    """Every id of a v13 as GGUF spells it."""
    import base64

    made = tekken("v13")
    words = [spelled(base64.b64decode(token["token_bytes"])) for token in made["vocab"]]
    return [*vocabulary()[:1_000], *words][:131_072]


def mlx(folder: Path, *, bits: int | None = 4, cut: int = 0, images: int = 0, **config: Any) -> Path:
    """An MLX build with one tensor, and one of so many bytes that is for images."""
    folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {"model_type": "mistral", "hidden_size": 5120, "num_hidden_layers": 40} | config
    if bits:
        told["quantization"] = {"group_size": 64, "bits": bits}
    (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")
    tensors = {"w": {"dtype": "U8", "shape": [64], "data_offsets": [0, 64]}}
    if images:
        name = "vision_tower.transformer.layers.0.attention.q_proj.weight"
        tensors[name] = {"dtype": "U8", "shape": [images], "data_offsets": [64, 64 + images]}
    table = json.dumps(tensors).encode()
    whole = struct.pack("<Q", len(table)) + table + bytes(64 + images)
    (folder / "model.safetensors").write_bytes(whole[: len(whole) - cut])
    return folder


def studio(home: Path, name: str = "lmstudio-community/Magistral-Small-2509-GGUF") -> Path:
    """A folder of LM Studio's, made."""
    folder = home / ".lmstudio" / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def listed() -> dict[str, Here]:
    """What of Tekken's kind is on this machine, by its name."""
    return {one.name: one for one in inventory.here()}
