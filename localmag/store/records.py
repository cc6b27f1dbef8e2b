"""What localmag fetched, and what it verified: one small JSON file for each file of a repository.

A record knows its bytes by their size and time of change: bytes changed since are no longer verified.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from localmag import files, paths
from localmag.errors import BadFile
from localmag.store import cache

_KINDS = {"repo": str, "commit": str, "path": str, "etag": str, "size": int, "fetched": bool, "changed": int}


@dataclass(frozen=True, slots=True)
class Record:
    """One file of one commit. `etag` is the hub's digest of it; `size` is bytes, `changed` nanoseconds.

    `changed` is 0 until the file is whole and its digest was found to be `etag`. `fetched` is whether
    localmag brought it here, and so may remove it: from this commit, and from those `earlier` ones that had
    the same bytes when it linked them there.
    """

    repo: str
    commit: str
    path: str
    etag: str
    size: int
    fetched: bool
    changed: int = 0
    earlier: tuple[str, ...] = ()


def save(record: Record) -> None:
    """Write it, whole or not at all."""
    file = _file(record.repo, record.etag)
    aside = file.with_suffix(".tmp")
    aside.write_text(json.dumps(asdict(record)), encoding="utf-8")
    aside.replace(file)


def load(repo: str, etag: str) -> Record | None:
    return _read(_file(repo, etag))


def of(repo: str, file: Path) -> Record | None:
    """The record of these very bytes as they are now, verified; None if there is none."""
    return next((r for r in every() if r.repo == repo and verified(r, file)), None)


def forget(record: Record) -> None:
    _file(record.repo, record.etag).unlink(missing_ok=True)


def every() -> Iterator[Record]:
    return filter(None, map(_read, sorted(_folder().glob("*.json"))))


def verified(record: Record | None, file: Path) -> bool:
    """Whether `file` still is what was verified."""
    if record is None or not record.changed:
        return False
    try:
        stat = file.stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (record.size, record.changed)


def _read(file: Path) -> Record | None:
    """None if it is not there, or not ours: then nothing is known."""
    told = files.json_object(file)
    try:
        record = Record(**told | {"earlier": tuple(told.get("earlier", ()))})
        cache.blob(record.repo, record.etag)
        cache.safe(record.path)
        ours = all(type(getattr(record, name)) is kind for name, kind in _KINDS.items())
        return record if ours and _file(record.repo, record.etag) == file else None
    except (TypeError, BadFile):
        return None


def _file(repo: str, etag: str) -> Path:
    """Named by a digest, since names from outside are no names for our own files."""
    return _folder() / f"{hashlib.sha256(f'{repo}/{etag}'.encode()).hexdigest()[:32]}.json"


def _folder() -> Path:
    folder = paths.data() / "weights"
    folder.mkdir(exist_ok=True)
    return folder
