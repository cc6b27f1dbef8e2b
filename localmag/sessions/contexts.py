"""What engines keep of conversations on disk, so as not to read them again: a folder each, and not too many.

What is in them is the engines' business (`engines.state`). Here they are counted, and removed: with their
conversation, and those that were longest not used where all together take too much.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from localmag import files, paths
from localmag.errors import RunFailed

_TRIES = 5
_OVER_S = 600.0
"""Age at which what is still unfinished is nobody's: an engine has a tenth of that to make one."""


def folder(session: str) -> Path:
    return paths.contexts() / session


def remove(session: str) -> None:
    """Also what is unfinished, be it still written. Raises RunFailed where it stays."""
    path = folder(session)
    for _ in range(_TRIES):  # what is just being put in its place may be missed at first
        try:
            left = [path for path in _there() if _owner(path) == session]
        except OSError:
            break
        if not left:
            return
        for path in left:
            _removed(path)
    raise RunFailed(
        f"What was kept of the conversation's context could not be removed from {path}.",
        "It can be read back as text, so remove that yourself.",
    )


def used(session: str) -> None:
    """It is not among those longest not used."""
    with suppress(OSError):
        os.utime(folder(session))


def room(most: int) -> int:
    """Bytes that a new one may take: `most`, and no more than half of what is free on the disk."""
    with suppress(OSError):
        return min(most, shutil.disk_usage(paths.cache()).free // 2)
    return most


def owners() -> set[str]:
    """The conversations of which anything is here, were it unfinished."""
    with suppress(OSError):
        return set(map(_owner, _there()))
    return set()


def tidy(most: int, spare: str, gone: Collection[str] = ()) -> None:
    """Remove what was cut off while it was written, and what is kept of conversations that are `gone`.

    Then those longest not used, until all take at most `most` bytes; that of `spare` goes last.
    """
    with suppress(OSError):
        for path in _there():
            old = path.suffix and abs(time.time() - _changed(path)) > _OVER_S
            if old or _owner(path) in gone:
                _removed(path)
    held = all_held()
    total = sum(held.values())
    for name in sorted(held, key=lambda name: (name == spare, _changed(folder(name)))):
        if total <= most:
            return
        _removed(folder(name))
        total -= held[name]


def all_held() -> dict[str, int]:
    """Bytes of each, by its conversation; without what is unfinished."""
    held: dict[str, int] = {}
    with suppress(OSError):
        for path in _there():
            if not path.suffix:
                with suppress(OSError):  # another program may be tidying up
                    held[path.name] = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return held


def _there() -> list[Path]:
    try:
        return list(paths.contexts().iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _owner(path: Path) -> str:
    """The conversation's id. `engines.state` makes each new one beside the old one, by a name with dots."""
    return path.name.split(".")[0]


def _removed(path: Path) -> None:
    """As far as it can be, whatever it is.

    Under another name first: whoever is still writing to it makes no more files in it.
    """
    with suppress(OSError):
        path = path.rename(path.with_name(f"{_owner(path)}.{os.getpid()}.gone"))
    files.discard(path)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
