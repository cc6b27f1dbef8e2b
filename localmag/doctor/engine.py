"""Whether an engine really starts: the demo's loads, on the backend of chat, and draws one token."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from localmag import catalogue, store
from localmag.engines import EngineSpec
from localmag.engines.host import HostedEngine
from localmag.engines.select import Runner
from localmag.errors import RunFailed
from localmag.types import Cancel, Done, Message, Sampling, Stop, Turn

_PATIENCE_S = 60.0  # it takes 2 on a slow machine
_TURN = Turn((Message.of("user", "2 + 2"),), Sampling(temperature=0.0), max_tokens=1)


class Demo:
    """The demo's engine, loading from the start of the block to its end.

    Raises a LocalmagError if the demo is not in place or no process can be started.
    """

    def __init__(self, backend: Runner = "llama.cpp", patience_s: float = _PATIENCE_S) -> None:
        found = store.locate(catalogue.DEMO, backend=backend)
        self.backend = backend
        self._engine = HostedEngine(EngineSpec(backend, found.weights, found.tokenizer, found.context))
        self._began = time.monotonic()
        self._patience = _Deadline(self._began + patience_s)

    def __enter__(self) -> Self:
        self._engine.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.close()

    def draw(self) -> float:
        """One token. Returns the seconds from the start until it came; raises what the engine does."""
        done = None
        for event in self._engine.reply(_TURN, self._patience):
            if isinstance(event, Done):
                done = event
        if done is None or done.stop is Stop.CANCELLED:
            raise RunFailed(
                "The demo's engine starts, but draws no token.", f"Its log may say why: {self._engine.log}."
            )
        return time.monotonic() - self._began


class _Deadline(Cancel):
    """A cancel that sets itself."""

    def __init__(self, end: float) -> None:
        self._end = end

    def is_set(self) -> bool:
        return time.monotonic() > self._end
