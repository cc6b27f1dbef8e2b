"""Reads the header of a GGUF file without trusting it.

Native loaders have crashed on malformed files, so every count, length and offset is held against the file's
real size before a byte is handed to llama.cpp, and a truncated download is named for what it is. Only the
header is read (metadata and the tensor table); weights are never touched.

Format: ggml's docs/gguf.md. Little-endian, versions 2 and 3.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from localmag.errors import BadFile, NotFound

Value = int | float | bool | str | list["Value"]

_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_MAX_DEPTH = 4  # arrays in arrays: none is known in the wild

# ggml type → (values per block, bytes per block), from ggml-common.h; what is not here is not size-checked.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
    22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


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
        if self.type not in _BLOCKS:
            return None
        per_block, size = _BLOCKS[self.type]
        values = 1
        for n in self.shape:
            values *= n
        return values // per_block * size


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF says of itself."""

    metadata: dict[str, Value]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def trained_context(self) -> int:
        """Tokens it was trained for, 0 if it does not say."""
        value = self.metadata.get(f"{self.architecture}.context_length", 0)
        return value if isinstance(value, int) else 0


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
    except (FileNotFoundError, IsADirectoryError) as exc:
        raise NotFound(f"There is no file {path}.", "Check the path.") from exc
    except OSError as exc:
        raise BadFile(
            f"{path} cannot be read ({exc.strerror}).", "Check its permissions and the disk."
        ) from exc


def require_tekken(path: Path, header: Header) -> None:
    """Raises BadFile unless the vocabulary is Mistral's Tekken, which is all that localmag can speak."""
    pre = header.metadata.get("tokenizer.ggml.pre")
    if header.metadata.get("tokenizer.ggml.model") != "gpt2" or pre != "tekken":
        named = pre or header.metadata.get("tokenizer.ggml.model") or "unnamed"
        raise BadFile(
            f"{path} has the vocabulary {named!r}, not Mistral's Tekken.",
            "Use a GGUF of Magistral or another Mistral model with a Tekken vocabulary.",
        )


class _Reader:
    def __init__(self, path: Path, data: mmap.mmap, keep_strings: bool) -> None:
        self.path, self.data, self.at, self.size = path, data, 4, len(data)
        self.keep_strings = keep_strings

    def header(self) -> Header:
        version = self.scalar("<I")
        if version not in (2, 3):
            raise BadFile(
                f"{self.path} is GGUF version {version}, and 2 and 3 are known.", "Fetch a newer build."
            )
        tensors, pairs = self.count(24), self.count(13)
        metadata: dict[str, Value] = {}
        for _ in range(pairs):
            key = self.string()
            metadata[key] = self.value(int(self.scalar("<I")), 0)
        table = [self.tensor() for _ in range(tensors)]
        align = metadata.get("general.alignment", 32)
        if not isinstance(align, int) or align <= 0 or align & (align - 1):
            self.broken("its alignment is not a power of two")
        start = (self.at + align - 1) // align * align
        return Header(metadata, tuple(self.placed(t, start) for t in table))

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
        if self.at + size > self.size:
            self.broken("it ends inside its header")
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += size
        return value  # type: ignore[no-any-return]

    def count(self, least: int) -> int:
        """A number of things of at least `least` bytes each: more than the file could hold is a lie."""
        n = int(self.scalar("<Q"))
        if n * least > self.size - self.at:
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
            return self.strings(self.count(8))
        if kind not in _SCALARS:
            return [self.value(kind, depth) for _ in range(self.count(12))]
        form = _SCALARS[kind]
        size = struct.calcsize(form)
        n = self.count(size)
        values = struct.unpack_from(f"<{n}{form[1]}", self.data, self.at)
        self.at += n * size
        return list(values)

    def strings(self, n: int) -> list[Value]:
        """There are hundreds of thousands of them: this loop calls as little as it can."""
        found: list[Value] = []
        data, at, size = self.data, self.at, self.size
        length_at = struct.Struct("<Q").unpack_from
        for _ in range(n):
            end = at + 8
            if end <= size:
                at, end = end, end + length_at(data, at)[0]
            if end > size:
                self.broken("it ends inside its header, or its header counts more than the file can hold")
            if self.keep_strings:
                found.append(data[at:end].decode("utf-8", "replace"))
            at = end
        self.at = at
        return found

    def broken(self, why: str) -> NoReturn:
        raise BadFile(f"{self.path} is damaged: {why}.", "Fetch it again.")
