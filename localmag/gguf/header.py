"""Reads the header of a GGUF file without trusting it.

Native loaders have crashed on malformed files, so every count, length and offset is held against the file's
real size before a byte is handed to llama.cpp, and a truncated download is named for what it is. Only the
header is read (metadata and the tensor table); weights are never touched.

Format: ggml's docs/gguf.md. Little-endian, versions 2 and 3.
"""

from __future__ import annotations

import errno
import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from localmag.errors import BadFile, NotFound
from localmag.shape import Shape

Value = int | float | bool | str | list["Value"]

_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_MAX_DEPTH = 4  # arrays in arrays: none is known in the wild
_MOST_BYTES = (
    128 * 2**20
)  # of a header: true ones take up to 20 MB, and a lie about one must not take minutes
_MOST_PAIRS = 2**16  # of metadata: true files have under a hundred
_MOST_ITEMS = 2**22  # of a list: true vocabularies and their merges have under a million
_TOKENS = "tokenizer.ggml.tokens"

# ggml type → (values per block, bytes per block), from ggml-common.h; what is not here is not size-checked.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip

TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11,
    "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "IQ4_NL": 20, "IQ4_XS": 23, "BF16": 30,
}  # fmt: skip
"""Those of ggml's types that `layout` speaks of, by the names that builds go by."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table. `offset` is bytes from the start of the file."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int

    @property
    def nbytes(self) -> int | None:
        """Bytes of data, None for a type this table does not know."""
        if self.type not in BLOCKS:
            return None
        per_block, size = BLOCKS[self.type]
        values = 1
        for n in self.shape:
            values *= n
        return values // per_block * size


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF says of itself. `left_out` are the lists of strings passed over: key → length."""

    metadata: dict[str, Value]
    tensors: tuple[Tensor, ...]
    left_out: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def trained_context(self) -> int:
        """Tokens it was trained for, 0 if it does not say."""
        return self.number("context_length")

    def number(self, key: str) -> int:
        """The architecture's own value of that name, 0 if there is none; of one per layer the largest."""
        value = self.metadata.get(f"{self.architecture}.{key}", 0)
        if isinstance(value, list):
            return max((v for v in value if type(v) is int), default=0)
        return value if type(value) is int else 0

    def shape(self) -> Shape:
        """The dimensions, 0 where the file does not say (`read_model` insists that it does)."""
        names = {tensor.name for tensor in self.tensors}
        width, heads = self.number("embedding_length"), self.number("attention.head_count")
        kv_rank = self.number("attention.kv_lora_rank")
        per_head = width // heads if heads else 0
        key, value = (
            self.number(f"attention.{what}_length_mla" if kv_rank else f"attention.{what}_length")
            for what in ("key", "value")
        )
        experts = self.number("expert_count")
        ffn = self.number("feed_forward_length")
        return Shape(
            layers=self.number("block_count"),
            width=width,
            heads=heads,
            # To llama.cpp MLA is attention with one KV head; the model's card counts them before they unfold.
            kv_heads=heads if kv_rank else self.number("attention.head_count_kv") or heads,
            head_size=key or per_head,
            ffn=ffn,
            vocabulary=self.vocabulary_size,
            tied="output.weight" not in names,
            experts=experts,
            active=self.number("expert_used_count"),
            shared=self.number("expert_shared_count"),
            expert_ffn=(self.number("expert_feed_forward_length") or ffn) if experts else 0,
            dense_layers=self.number("leading_dense_block_count"),
            q_rank=self.number("attention.q_lora_rank"),
            kv_rank=kv_rank,
            rope_size=self.number("rope.dimension_count") if kv_rank else 0,
            value_size=0 if value in (0, key or per_head) else value,
        )

    @property
    def vocabulary_size(self) -> int:
        """How many ids it has names for."""
        tokens = self.metadata.get(_TOKENS)
        there = len(tokens) if isinstance(tokens, list) else 0
        return there or self.left_out.get(_TOKENS, 0)


def read(path: Path, *, strings: bool = True) -> Header:
    """The file's header, every number checked against the file's size.

    Without `strings`, lists of strings (the vocabulary, its merges) are passed over and left empty: a look at
    a file of 131,072 ids then takes a tenth of the time.

    Raises NotFound if there is no such file, BadFile if it is not a GGUF, is cut short or contradicts itself.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise BadFile(f"{path} is not a regular file.", "Give the path of a model's .gguf file.")
        with path.open("rb") as f:
            if f.read(4) != b"GGUF":
                raise BadFile(f"{path} is not a GGUF file.", "Give the path of a model's .gguf file.")
            with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data, strings).header()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
        raise NotFound(f"There is no file {path}.", "Check the path.") from exc
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:
            raise NotFound("There is no file of so long a name.", "Check the path.") from exc
        raise BadFile(
            f"{path} cannot be read ({exc.strerror}).", "Check its permissions and the disk."
        ) from exc


class _Reader:
    def __init__(self, path: Path, data: mmap.mmap, keep_strings: bool) -> None:
        self.path, self.data, self.at, self.size = path, data, 4, len(data)
        self.limit = min(self.size, _MOST_BYTES)
        self.keep_strings = keep_strings
        self.passed_over = 0

    def header(self) -> Header:
        version = self.scalar("<I")
        if version not in (2, 3):
            raise BadFile(
                f"{self.path} is GGUF version {version}, and 2 and 3 are known.", "Fetch a newer build."
            )
        tensors, pairs = self.count(24), self.count(13, _MOST_PAIRS)
        metadata: dict[str, Value] = {}
        left_out: dict[str, int] = {}
        for _ in range(pairs):
            key, self.passed_over = self.string(), 0
            metadata[key] = self.value(int(self.scalar("<I")), 0)
            if self.passed_over:
                left_out[key] = self.passed_over
        table = [self.tensor() for _ in range(tensors)]
        align = metadata.get("general.alignment", 32)
        if not isinstance(align, int) or align <= 0 or align & (align - 1):
            self.broken("its alignment is not a power of two")
        start = (self.at + align - 1) // align * align
        return Header(metadata, tuple(self.placed(t, start) for t in table), left_out)

    def tensor(self) -> Tensor:
        name = self.string()
        dims = int(self.scalar("<I"))
        if not 0 < dims <= 4:
            self.broken(f"tensor {name!r} has {dims} dimensions")
        shape = tuple(int(self.scalar("<Q")) for _ in range(dims))
        return Tensor(name, shape, int(self.scalar("<I")), int(self.scalar("<Q")))

    def placed(self, tensor: Tensor, start: int) -> Tensor:
        offset = start + tensor.offset
        missing = offset + (tensor.nbytes or 0) - self.size
        if missing > 0:
            raise BadFile(
                f"{self.path} is cut short: {tensor.name!r} would end {missing:,} bytes after the file does.",
                "Fetch it again.",
            )
        return Tensor(tensor.name, tensor.shape, tensor.type, offset)

    def scalar(self, form: str) -> int | float | bool:
        size = struct.calcsize(form)
        if self.at + size > self.limit:
            self.broken("it ends inside its header")
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return value  # type: ignore[no-any-return]

    def count(self, least: int, most: int = _MOST_BYTES) -> int:
        """A number of things of at least `least` bytes each: more than the file could hold is a lie."""
        n = int(self.scalar("<Q"))
        if n * least > self.limit - self.at or n > most:
            self.broken("it ends inside its header, or its header counts more than the file can hold")
        return n

    def string(self) -> str:
        n = self.count(1)
        text = self.data[self.at : self.at + n]
        self.at += n
        return text.decode("utf-8", "replace")

    def value(self, kind: int, depth: int) -> Value:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array(depth + 1)
        if kind not in _SCALARS:
            self.broken(f"its metadata has a value of unknown type {kind}")
        return self.scalar(_SCALARS[kind])

    def array(self, depth: int) -> list[Value]:
        if depth > _MAX_DEPTH:
            self.broken("its metadata nests too deeply")
        kind = int(self.scalar("<I"))
        if kind == _STRING:
            return self.strings(self.count(8, _MOST_ITEMS))
        if kind not in _SCALARS:
            return [self.value(kind, depth) for _ in range(self.count(12, _MOST_ITEMS))]
        form = _SCALARS[kind]
        size = struct.calcsize(form)
        n = self.count(size, _MOST_ITEMS)
        values = struct.unpack_from(f"<{n}{form[1]}", self.data, self.at)
        self.at += n * size
        return list(values)

    def strings(self, n: int) -> list[Value]:
        """There are hundreds of thousands of them: this loop calls as little as it can."""
        found: list[Value] = []
        data, at, limit = self.data, self.at, self.limit
        length_at = struct.Struct("<Q").unpack_from
        edges = [at]
        for _ in range(n):
            end = at + 8
            if end <= limit:
                at, end = end, end + length_at(data, at)[0]
            if end > limit:
                self.broken("it ends inside its header, or its header counts more than the file can hold")
            if end - at > 127:
                edges += (at - 8, at)
            if self.keep_strings:
                found.append(data[at:end].decode("utf-8", "replace"))
            at = end
        self.require_text((*edges, at))
        self.at = at
        self.passed_over += n - len(found)
        return found

    def require_text(self, edges: Sequence[int]) -> None:
        """Between each two edges all must be UTF-8: llama.cpp ends the process over a token that is not.

        Strings are looked at together with their lengths, which are UTF-8 too while they are under 128; those
        of longer ones lie between edges that are skipped.
        """
        try:
            for start, end in zip(edges[::2], edges[1::2], strict=True):
                self.data[start:end].decode()
        except UnicodeDecodeError:
            self.broken("a token of its vocabulary is no text")

    def broken(self, why: str) -> NoReturn:
        raise BadFile(f"{self.path} is damaged: {why}.", "Fetch it again.")
