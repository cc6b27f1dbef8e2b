"""What a set of weights says of itself, from its header alone, and remembered until the file changes.

Reading a header takes 50 ms where the vocabulary is full-size; someone with thirty models should not wait for
that each time. So a look is kept in the cache folder beside the file's size and time of change.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from localmag import gguf, mlxfiles, paths
from localmag.errors import BadFile, LocalmagError
from localmag.files import json_object
from localmag.shape import Shape
from localmag.store.places import Found, is_regular

ARCHITECTURES = ("llama", "mistral3", "mistral4", "deepseek2", "mistral", "ministral3")
"""What Magistral and its kin are called by llama.cpp and by Transformers' config.json."""

DIMENSIONS = ("layers", "width", "heads", "kv_heads", "head_size", "ffn", "vocabulary")
"""The fields of a shape that are compared with the catalogue's."""

_FORM = 4  # of what is kept: another number, and all is looked at again
_MOST_INDEX = 32 * 2**20  # bytes; true ones are a few hundred thousand
_MOST_LOOKS = 32 * 2**20  # of our own; a look takes half a thousand
_QUANT = re.compile(
    r"(?:^|[-_.:])((?:UD-)?(?:I?Q\d+(?:_[A-Z0-9]+)*|TQ\d_\d|BF16|F16|F32|FP16|MXFP4(?:_MOE)?))$",
    re.IGNORECASE,
)
_BITS = re.compile(r"(?:^|[-_.])(\d{1,2})-?bit", re.IGNORECASE)
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
_INDEX = "model.safetensors.index.json"  # of an MLX build of several files
_FILE_TYPES = {  # general.file_type, as llama.h's llama_ftype counts them
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
    36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """`size` is bytes of all files together; `shape` holds those DIMENSIONS that it states; `context` is
    tokens it was trained for, 0 if it does not say. `images` is bytes of its weights that are for seeing, and
    are not used. `tekken` is whether its vocabulary is Mistral's.
    `problem` and `todo` are why it cannot be used and what helps, "" if nothing speaks against it.
    """

    size: int
    quant: str = ""
    title: str = ""
    architecture: str = ""
    tekken: bool = False
    context: int = 0
    shape: dict[str, int] = field(default_factory=dict[str, int])
    images: int = 0
    problem: str = ""
    todo: str = ""


class Looks:
    """Looks at files, and remembers. `save` keeps what was seen, and forgets what is gone."""

    def __init__(self) -> None:
        self._file = paths.cache() / "looks.json"
        self._kept = self._load()
        self._seen: dict[str, list[Any]] = {}

    def at(self, found: Found) -> Look:
        key = os.fspath(found.path.absolute())
        stamp = _stamp(found)
        kept = self._kept.get(key)
        look = _restored(kept[1]) if kept and kept[0] == stamp else None
        if look is None:
            look = fresh(found)
        self._seen[key] = [stamp, asdict(look)]
        return look

    def save(self) -> None:
        """Where the folder cannot be written, the next look takes as long as this one did."""
        if self._seen == self._kept:
            return
        aside = self._file.with_suffix(f".{os.getpid()}.tmp")
        with suppress(OSError):
            aside.write_text(json.dumps({"form": _FORM, "looks": self._seen}), encoding="utf-8")
            aside.replace(self._file)

    def _load(self) -> dict[str, list[Any]]:
        told = json_object(self._file, _MOST_LOOKS)
        with suppress(ValueError, TypeError, KeyError):
            if told["form"] == _FORM:
                kept = dict(told["looks"])
                return {
                    key: value for key, value in kept.items() if isinstance(value, list) and len(value) == 2
                }
        return {}


def quant_named(name: str) -> str:
    """The quant that a file's or a tag's name ends in, as `Q4_K_M`; "" if none."""
    named = _QUANT.search(name)
    return named[1].upper() if named else ""


def _stamp(found: Found) -> list[list[int]]:
    """Sizes and times of change: when they are the same, so is what was seen."""
    tables = [found.path / name for name in (mlxfiles.CONFIG, _INDEX)] if found.backend == "mlx" else []
    stamps = []
    for file in (*found.files, *tables):
        try:
            about = file.stat()
        except OSError:
            stamps.append([0, 0])
        else:
            stamps.append([about.st_size, about.st_mtime_ns])
    return stamps


def fresh(found: Found) -> Look:
    """Read the headers now."""
    return _mlx(found) if found.backend == "mlx" else _gguf(found)


def _restored(told: Any) -> Look | None:
    usual = asdict(Look(0))
    if not isinstance(told, dict) or {k: type(v) for k, v in told.items()} != {
        k: type(v) for k, v in usual.items()
    }:
        return None
    return Look(**told)


# ── GGUF ──────────────────────────────────────────────────────────────────────────────────────────


def _gguf(found: Found) -> Look:
    size = _size(found)
    try:
        header, *others = (gguf.read(file, strings=False) for file in found.files)
    except LocalmagError as exc:
        return Look(size, problem=exc.what, todo=exc.todo)
    if not found.whole:
        missing = f"{len(found.files)} of its {found.parts} files are here"
        why = f"{found.path} is not whole: {missing}."
        return Look(size, problem=why, todo="Fetch the others, too.", tekken=True)
    problem, todo = _unloadable(found, header, [t.name for part in (header, *others) for t in part.tensors])
    told = header.metadata
    return Look(
        size=size,
        quant=_FILE_TYPES.get(_whole(told.get("general.file_type")), ""),
        title=str(told.get("general.name", ""))[:200],
        architecture=header.architecture[:60],
        tekken=told.get("tokenizer.ggml.model") == "gpt2" and told.get("tokenizer.ggml.pre") == "tekken",
        context=header.trained_context,
        shape=_stated(header.shape()),
        problem=problem,
        todo=todo,
    )


def _unloadable(found: Found, header: gguf.Header, tensors: list[str]) -> tuple[str, str]:
    """What happened and what to do, both "" if nothing speaks against it."""
    kind = str(header.metadata.get("general.type", "model"))
    if kind != "model" or header.architecture in ("clip", "imatrix"):
        kind = kind if kind != "model" else header.architecture
        return f"{found.path} is not a model's weights but {kind!r}.", "Give the model's own file."
    if any(name.startswith(("v.", "mm.")) for name in tensors):
        why = f"{found.path} has its vision part inside, a form that Ollama alone reads."
        return why, "Use the build of the model's own repository."
    try:
        gguf.require_tekken(found.path, header)
    except LocalmagError as exc:
        return exc.what, exc.todo
    return "", ""


def _stated(shape: Shape) -> dict[str, int]:
    return {name: getattr(shape, name) for name in DIMENSIONS if getattr(shape, name) > 0}


def _whole(value: object) -> int:
    return value if type(value) is int else -1


def _size(found: Found) -> int:
    total = 0
    for file in found.files:
        with suppress(OSError):
            total += file.stat().st_size
    return total


# ── MLX ───────────────────────────────────────────────────────────────────────────────────────────


def _mlx(found: Found) -> Look:
    """From config.json, and from the headers of the tensors' files, which tell whether they are whole."""
    config: dict[str, Any] = {}
    tensors: list[dict[str, mlxfiles.Tensor]] = []
    problem = todo = ""
    try:
        config = mlxfiles.config(found.path)
        tensors = [mlxfiles.tensors(file) for file in found.files]
        _require_all(found)
    except BadFile as exc:
        problem, todo = exc.what, exc.todo
    except (OSError, ValueError, TypeError, RecursionError) as exc:  # what JSON of another form leads to
        why = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
        problem, todo = f"{found.path} is damaged: {why}.", "Fetch it again."
    text = mlxfiles.text_of(config)
    architecture = str(text.get("model_type", config.get("model_type", "")))[:60]
    kin = architecture in ARCHITECTURES
    if not problem and not kin:
        problem = f"{found.path} is of the architecture {architecture!r}, not Mistral's."
        todo = "Use a build of Magistral or another Mistral model."
    return Look(
        size=_size(found),
        quant=_bits(found, config.get("quantization")),
        title=found.label,
        architecture=architecture,
        tekken=kin,
        context=_whole(text.get("max_position_embeddings", 0)),
        shape=_stated(mlxfiles.shape(config)),
        images=mlxfiles.contents(config, tensors).images,
        problem=problem,
        todo=todo,
    )


def _bits(found: Found, quantization: object) -> str:
    """As MLX builds are called by them: `4bit`."""
    bits = quantization.get("bits") if isinstance(quantization, dict) else None
    if type(bits) is int:
        return f"{bits}bit"
    named = _BITS.search(" ".join((found.label, *found.hints)))
    return f"{named[1]}bit" if named else "bf16"


def _require_all(found: Found) -> None:
    """Raises ValueError if its index, or the parts' own names, tell of files that are not there; BadFile for
    an index that says nothing.
    """
    index = found.path / _INDEX
    if is_regular(index):
        told = mlxfiles.json_object(index, _MOST_INDEX).get("weight_map")
        named = set(map(str, told.values() if isinstance(told, dict) else ()))
        missing = len(named - {file.name for file in found.files})
    else:
        parts = [m.groups() for file in found.files if (m := _PART.fullmatch(file.name))]
        there = Counter((name, of) for name, number, of in parts if 1 <= int(number) <= int(of))
        missing = sum(int(of) - there[name, of] for name, of in {(name, of) for name, _, of in parts})
    if missing:
        raise ValueError(f"{missing} of its files are not here")
