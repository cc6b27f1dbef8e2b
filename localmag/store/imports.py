"""What the user imported: paths of weights, each in one small JSON file, so that every system can do it.

A record links and never copies. It outlives a disk that is not mounted, and removing it removes nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localmag import files, paths


@dataclass(frozen=True, slots=True)
class Import:
    """`path` is absolute: a GGUF (the first of its parts), or an MLX build's folder. `name` is what the user
    chose to call it, "" for the file's own name.
    """

    name: str
    path: Path


def save(one: Import) -> None:
    """Write it, whole or not at all; an earlier record of the same path goes."""
    file = _file(one.path)
    file.parent.mkdir(exist_ok=True)
    aside = file.with_name(f"{file.stem}.{os.getpid()}.tmp")
    aside.write_text(json.dumps({"name": one.name, "path": os.fspath(one.path)}), encoding="utf-8")
    aside.replace(file)


def forget(path: Path) -> None:
    _file(path).unlink(missing_ok=True)


def every() -> Iterator[Import]:
    for file in sorted(_folder().glob("*.json")):
        with suppress(ValueError, TypeError, KeyError):  # not ours: then nothing is known
            told = files.json_object(file)
            one = Import(str(told["name"]), Path(told["path"]))
            if one.path.is_absolute() and _file(one.path) == file:
                yield one


def _file(path: Path) -> Path:
    return _folder() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _folder() -> Path:
    return paths.data() / "imports"
