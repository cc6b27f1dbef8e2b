"""Keeps what is being written, in a thread of its own: the turn's thread may be asleep in the engine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from localmag.errors import LocalmagError


class Keeper:
    """`put` returns at once; `keep` is called with the newest text there is, one call at a time."""

    def __init__(self, keep: Callable[[str], None]) -> None:
        self._keep = keep
        self._texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="localmag-unsent", daemon=True)
        self._thread.start()

    def put(self, text: str) -> None:
        self._texts.put(text)

    def close(self) -> None:
        """Returns when `keep` is not running and will not be called again."""
        self._texts.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (text := self._texts.get()) is not None:
            while not self._texts.empty():
                newer = self._texts.get()
                if newer is None:
                    return
                text = newer
            with suppress(LocalmagError):  # a full disk, say: it is tried again with the next change
                self._keep(text)
