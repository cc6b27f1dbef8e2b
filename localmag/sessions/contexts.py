"""What engines keep of conversations on disk, so as not to read them again: a folder each, and not too many.

What is in them is the engines' business (`engines.state`). Here they are counted, and removed: with their
conversation, and those that were longest not used where all together take too much.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from localmag import paths
from localmag.errors import RunFailed


def folder(session: str) -> Path:
    return paths.contexts() / session


def remove(session: str) -> None:
    """Also what is left of one that was cut off while it was written. Raises RunFailed where it stays."""
    for path in (folder(session), *paths.contexts().glob(f"{session}.*")):
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            raise RunFailed(
                f"What was kept of the conversation's context could not be removed from {path}.",
                "It can be read back as text, so remove that folder yourself.",
            )


def room(most: int) -> int:
    """Bytes that a new one may take: `most`, and no more than half of what is free on the disk."""
    return min(most, shutil.disk_usage(paths.cache()).free // 2)


def tidy(most: int, spare: str) -> None:
    """Remove those longest not written until all take at most `most` bytes; that of `spare` goes last."""
    held = all_held()
    total = sum(held.values())
    for name in sorted(held, key=lambda name: (name == spare, _written(name))):
        if total <= most:
            return
        shutil.rmtree(folder(name), ignore_errors=True)
        total -= held[name]


def all_held() -> dict[str, int]:
    """Bytes of each, by its conversation; what was cut off while it was written counts too."""
    held: dict[str, int] = {}
    with suppress(OSError):
        for path in paths.contexts().iterdir():
            with suppress(OSError):  # another program may be tidying up
                held[path.name] = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return held


def _written(name: str) -> float:
    try:
        return folder(name).stat().st_mtime
    except OSError:
        return 0.0
