"""A GGUF's own vocabulary → the `tekken.json` that it was made from, where that file is not at hand.

Tekken's ids are its control tokens, then its ranks, of which the first 256 are the single bytes in order:
that is how both are told apart. A GGUF keeps all of it but two things: the pattern that cuts text into words,
which is the same in every Tekken, and the version, which says how a conversation is laid out. The catalogue
knows the version of its models; of others the names of their control tokens tell it.

What is rebuilt encodes as the original does (tests compare them). The engine still holds it against the
weights' own vocabulary before the first id is made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from localmag import gguf, paths
from localmag.errors import BadFile, RunFailed
from localmag.gguf.letters import spelled, unspelled

NAME = "tekken.json"

_FORM = 1  # of what is written: another number, and it is rebuilt
_KEPT = 16  # rebuilt tokenizers, the newest; each is up to 9 MB
_START = 1 << 20  # bytes of a file that its fingerprint looks at
_SPECIAL = (2, 3, 4, 5)  # tokenizer.ggml.token_type: unknown, control, user-defined, unused
_FILLER = "<SPECIAL_{}>"
_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Tekken cuts text before it merges, as every tekken.json that Mistral published has it."""

_IDS = {
    "<unk>": 0, "<s>": 1, "</s>": 2, "[INST]": 3, "[/INST]": 4, "[AVAILABLE_TOOLS]": 5,
    "[/AVAILABLE_TOOLS]": 6, "[TOOL_RESULTS]": 7, "[/TOOL_RESULTS]": 8, "[TOOL_CALLS]": 9, "[PREFIX]": 14,
    "[SUFFIX]": 16,
}  # fmt: skip
_SYSTEM = {"[SYSTEM_PROMPT]": 17, "[/SYSTEM_PROMPT]": 18, "[TOOL_CONTENT]": 19}
_CALLS = {"[ARGS]": 32, "[CALL_ID]": 33}
_VERSIONS = {  # version → control tokens that mistral-common cannot do without, at their ids
    "v3": _IDS,
    "v7": _IDS | _SYSTEM,
    "v11": _IDS | _SYSTEM | _CALLS,
    "v13": _IDS | _SYSTEM | _CALLS | {"[THINK]": 34, "[/THINK]": 35},
}
_MARKS = (("[MODEL_SETTINGS]", "v15"), ("[THINK]", "v13"), ("[CALL_ID]", "v11"), ("[SYSTEM_PROMPT]", "v7"))


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`path` is a tekken.json in localmag's cache folder, `version` the tokenizer's, as `v13`."""

    path: Path
    version: str


def tokenizer(weights: Path, version: str = "", vocabulary: int = 0) -> Rebuilt:
    """The tokenizer of a GGUF with a Tekken vocabulary, rebuilt, or as it was rebuilt earlier.

    `version` and `vocabulary` (ids) are what the catalogue says of the model, if it knows it.

    Raises BadFile if the vocabulary is not what it claims to be, RunFailed if the cache folder cannot be
    written.
    """
    folder = paths.cache() / "tokenizers"
    mark = fingerprint(weights)
    for known in (version,) if version else (*_VERSIONS,):
        there = folder / f"{mark}-{known}-{vocabulary}" / NAME
        if there.is_file():
            return Rebuilt(there, known)
    names, pieces = _vocabulary(weights)
    version = version or next((v for mark, v in _MARKS if mark in names), "v3")
    _require_expected(weights, names, len(names) + len(pieces), version, vocabulary)
    path = folder / f"{mark}-{version}-{vocabulary}" / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        aside.write_text(json.dumps(_tekken(names, pieces, version)), encoding="utf-8")
        aside.replace(path)
        _sweep(folder)
    except OSError as exc:
        raise RunFailed(
            f"The tokenizer of {weights.name} cannot be written to {folder} ({exc.strerror}).",
            "Free some space there, or set LOCALMAG_HOME to another folder.",
        ) from exc
    return Rebuilt(path, version)


def fingerprint(weights: Path) -> str:
    """Of a file's content, as far as its size, its time of change and its first MiB tell it: 32 digits."""
    about = weights.stat()
    digest = hashlib.sha256(f"{_FORM} {about.st_size} {about.st_mtime_ns} ".encode())
    with weights.open("rb") as file:
        digest.update(file.read(_START))
    return digest.hexdigest()[:32]


def _vocabulary(weights: Path) -> tuple[list[str], list[bytes]]:
    """Names of the control tokens, and the bytes of every rank."""
    header = gguf.read(weights)
    gguf.require_tekken(weights, header)
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    texts = [str(text) for text in tokens] if isinstance(tokens, list) else []
    letters = list(spelled(bytes(range(256))))
    starts = [at for at in range(len(texts) - 255) if texts[at] == letters[0] and texts[at + 1] == letters[1]]
    first = next((at for at in starts if texts[at : at + 256] == letters), None)
    if first is None:
        _refuse(weights, "the 256 single bytes are not in it, in order, as in every Tekken")
    _require_types(weights, header.metadata.get("tokenizer.ggml.token_type"), first, len(texts))
    names, pieces = texts[:first], []
    for id, text in enumerate(texts[first:], first):
        try:
            pieces.append(unspelled(text))
        except KeyError:
            _refuse(weights, f"id {id} is {text[:40]!r}, which spells no bytes")
    if len(set(names)) < first or not all(name and name.isprintable() for name in names):
        _refuse(weights, "two of its control tokens have one name, or one has none")
    if len(set(pieces)) < len(pieces) or not all(pieces):
        _refuse(weights, "two of its ids mean the same, or one means nothing")
    return names, pieces


def _require_types(weights: Path, types: object, first: int, count: int) -> None:
    if types is None:
        return
    if not isinstance(types, list) or len(types) != count:
        _refuse(weights, "its ids and their types differ in number")
    wrong = next((id for id, kind in enumerate(types) if (kind in _SPECIAL) != (id < first)), None)
    if wrong is not None:
        _refuse(weights, f"id {wrong} is marked as {'text' if wrong < first else 'a control token'}")


def _require_expected(weights: Path, names: list[str], count: int, version: str, vocabulary: int) -> None:
    if vocabulary and count != vocabulary:
        _refuse(weights, f"it has {count:,} ids where the model has {vocabulary:,}")
    if version not in _VERSIONS:
        raise BadFile(
            f"{weights.name} needs a tokenizer of version {version}, whose settings no GGUF carries.",
            "Put the tekken.json of the model's own repository beside it.",
        )
    for name, id in _VERSIONS[version].items():
        if id >= len(names) or names[id] != name:
            said = repr(names[id]) if id < len(names) else "no control token"
            _refuse(weights, f"id {id} is {said}, and {name} in {version}")


def _tekken(names: list[str], pieces: list[bytes], version: str) -> dict[str, object]:
    """In Tekken's own form. Fillers at the end are left to the reader, who makes them by the same rule."""
    named = len(names)
    while named and names[named - 1] == _FILLER.format(named - 1):
        named -= 1
    return {
        "config": {
            "pattern": _PATTERN,
            "num_vocab_tokens": len(pieces),
            "default_vocab_size": len(names) + len(pieces),
            "default_num_special_tokens": len(names),
            "version": version,
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(piece).decode(), "token_str": None}
            for rank, piece in enumerate(pieces)
        ],
        "special_tokens": [
            {"rank": id, "token_str": name, "is_control": True} for id, name in enumerate(names[:named])
        ],
    }


def _sweep(folder: Path) -> None:
    """Keep the newest few."""
    with suppress(OSError):
        ages = sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
        for old in ages[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)


def _refuse(weights: Path, why: str) -> NoReturn:
    raise BadFile(
        f"{weights.name} has no Tekken vocabulary that can be trusted: {why}.",
        "Use another build of the model, or put its own tekken.json beside the file.",
    )
