"""Digests of files as the hub names them, computed beside the download rather than after it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

_BLOCK = 1 << 20  # bytes read at once: hashing so many lets other threads run meanwhile


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


def start(etag: str, size: int) -> _Hash:
    """A hash whose outcome is `etag` if the bytes are right: SHA-256 for 64 digits, git's SHA-1 for 40."""
    if len(etag) == 64:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def of_file(path: Path, etag: str) -> Iterator[int | str]:
    """Bytes hashed so far, again and again, and last the digest of the whole file."""
    digest = start(etag, path.stat().st_size)
    block, done = memoryview(bytearray(_BLOCK)), 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(block[:count])
            done += count
            yield done
    yield digest.hexdigest()


class Follower:
    """Hashes a file in a thread of its own, close behind the one who writes it.

    What it reads is what the file holds, so that bytes of an earlier, interrupted download count as well.
    """

    def __init__(self, path: Path, etag: str, size: int) -> None:
        self._path = path
        self._etag, self._size = etag, size
        self._hash = start(etag, size)
        self._news = threading.Condition()
        self._written = 0
        self._anew = False
        self._ended = False
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.written(0)  # nothing more is worth hashing: only let go of the file
        self._end()

    def written(self, total: int) -> None:
        """The file's first `total` bytes are as they will stay."""
        with self._news:
            self._written = total
            self._news.notify()

    def restart(self) -> None:
        """The file is empty again."""
        with self._news:
            self._written, self._anew = 0, True
            self._news.notify()

    def hexdigest(self) -> str:
        """The digest of all that was written. Raises OSError if it could not be read."""
        self._end()
        if self._failure:
            raise self._failure
        return self._hash.hexdigest()

    def _end(self) -> None:
        with self._news:
            self._ended = True
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        block, done = memoryview(bytearray(_BLOCK)), 0
        try:
            with self._path.open("rb", buffering=0) as file:
                while True:
                    until, anew = self._wait(done)
                    if anew:
                        self._hash, done = start(self._etag, self._size), file.seek(0)
                    elif until <= done:
                        return
                    else:
                        count = file.readinto(block[: min(_BLOCK, until - done)]) or 0
                        self._hash.update(block[:count])
                        done += count
        except OSError as exc:
            self._failure = exc

    def _wait(self, done: int) -> tuple[int, bool]:
        """How far the file is written: a whole block further than `done`, or as far as it will ever be."""
        with self._news:
            self._news.wait_for(lambda: self._ended or self._anew or self._written >= done + _BLOCK)
            anew, self._anew = self._anew, False
            return self._written, anew
