"""A TokenModel that plays given ids: what unit tests, and the engine process's own tests, run on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Self

from localmag.engines.prefix import reusable
from localmag.errors import RunFailed
from localmag.types import Cancel, Prefill, Sampling

_TICK = 0.01  # seconds between looks at `cancel` while it pretends to work


class Scripted:
    """Plays `replies` in turn, the last one again and again, each followed by `eos` without end.

    `chunk` is ids per step of the prompt; `load_s`, `chunk_s`, `id_s` and `save_s` are seconds that loading,
    one such step, one drawn id and saving the state take. The KV cache is real, in that it remembers ids and
    reuses a prefix.
    """

    def __init__(
        self,
        replies: Sequence[Sequence[int]],
        *,
        context: int = 4096,
        eos: int = 2,
        chunk: int = 64,
        load_s: float = 0.0,
        chunk_s: float = 0.0,
        id_s: float = 0.0,
        save_s: float = 0.0,
        on_load: Callable[[float], None] = lambda fraction: None,
    ) -> None:
        self.context = context
        self.prompts: list[list[int]] = []
        """Every prompt it was given, for a test to look at."""
        self._replies = iter(chain(replies, repeat(replies[-1])))
        self._eos, self._chunk, self._chunk_s, self._id_s, self._save_s = eos, chunk, chunk_s, id_s, save_s
        self.library = "scripted 1"
        self.held: list[int] = []
        self.rate = 0.0
        self._closed = False
        for step in range(10):
            on_load(step / 10)
            time.sleep(load_s / 10)
        on_load(1.0)

    @classmethod
    def load(cls, path: Path, on_load: Callable[[float], None]) -> Self:
        """From a JSON object of the constructor's arguments, for an engine in its own process."""
        arguments: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return cls(**arguments, on_load=on_load)

    def generate(self, ids: Sequence[int], sampling: Sampling, cancel: Cancel) -> Generator[Prefill | int]:
        if self._closed:
            raise RunFailed("The model is closed.", "Load it again.")
        done = reusable(self.held, ids, self.context)
        self.prompts.append(list(ids))
        self.held = list(ids[:done])
        yield Prefill(done, len(ids))
        while done < len(ids):
            if not _work(self._chunk_s, cancel):
                return
            step = ids[done : done + self._chunk]
            self.held += step
            done += len(step)
            yield Prefill(done, len(ids))
        for id in chain(next(self._replies), repeat(self._eos)):
            if len(self.held) >= self.context or not _work(self._id_s, cancel):
                return
            self.held.append(id)
            yield id

    def state_bytes(self, count: int) -> int:
        """See TokenModel."""
        return 8 * count

    def save_state(self, folder: Path, count: int) -> None:
        """See TokenModel."""
        del self.held[count:]
        time.sleep(self._save_s)
        (folder / "ids.json").write_text(json.dumps(self.held), "utf-8")

    def load_state(self, folder: Path, ids: Sequence[int]) -> None:
        """See TokenModel."""
        self.held = json.loads((folder / "ids.json").read_text("utf-8"))

    def close(self) -> None:
        self._closed = True
        self.held = []


def _work(seconds: float, cancel: Cancel) -> bool:
    """Take that long; False if cancelled meanwhile."""
    until = time.monotonic() + seconds
    while not cancel.is_set():
        left = until - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(left, _TICK))
    return False
