"""The two protocols that everything below the conversation obeys.

A `TokenModel` knows ids only. An `Engine` knows turns and events only. Everything above this package
sees events, whatever runs underneath; generators are synchronous throughout.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from localmag.types import Cancel, Event, Prefill, Sampling, Turn

if TYPE_CHECKING:
    from localmag.engines.state import State

Backend = Literal["llama.cpp", "mlx", "scripted"]
KVType = Literal["f16", "q8_0", "q4_0"]


class TokenModel(Protocol):
    """Ids in, ids out: llama.cpp, MLX, scripted."""

    context: int
    """Tokens the KV cache holds, prompt and reply together."""
    held: list[int]
    """The ids whose keys and values the KV cache holds, by place. From outside it may be emptied only."""
    rate: float
    """Ids per second that it last read a prompt at; 0 while that is not known.

    A prompt's short end, slower than whole chunks, counts only while there is nothing else to go by.
    """
    library: str
    """The package it runs on, with its version."""

    def generate(self, ids: Sequence[int], sampling: Sampling, cancel: Cancel) -> Generator[Prefill | int]:
        """Read the prompt, then draw ids without end.

        Yields one `Prefill` per chunk (the first says how many ids the KV cache already held, the last
        has done == total), then ids, each one as soon as it is drawn. It never stops at an end-of-text id
        by itself: the caller closes the generator. It returns when the context is full, and when `cancel`
        is set (polled between prefill chunks or sooner, and before each id). What was read and drawn stays
        in the KV cache for the next call's prefix.

        Raises RunFailed if the native library does, ContextTooSmall if `ids` leave no room for one id.
        """
        ...

    def state_bytes(self, count: int) -> int:
        """About how many bytes `save_state` would write; 0 where this model's KV cache cannot be kept."""
        ...

    def save_state(self, folder: Path, count: int) -> None:
        """Write the KV cache of the first `count` ids as files into the empty `folder`; forget the others.

        Raises RunFailed where that cannot be, OSError for the disk's faults. For `engines.state`, which says
        what the files are of.
        """
        ...

    def load_state(self, folder: Path, ids: Sequence[int]) -> None:
        """Put into the KV cache what `save_state` wrote when it held `ids`, in place of what it holds.

        The files are trusted: whoever calls has made sure that they are this program's own. Raises BadFile,
        with an empty cache, where they do not fit all the same.
        """
        ...

    def close(self) -> None:
        """Free native memory. Safe to call twice."""
        ...


class Engine(Protocol):
    """A turn in, events out: `local` (any TokenModel), `host` (a local one in its own process), remote."""

    def reply(self, turn: Turn, cancel: Cancel) -> Iterator[Event]:
        """Write one reply. The last event is `Done`, also when cancelled; failures raise a LocalmagError.

        May yield `Loading` first if the weights are not in memory yet.
        """
        ...

    def keep(self, folder: Path, turn: Turn, most: int, cancel: Cancel) -> State | None:
        """Keep in `folder` the KV state of the prompt that `turn.messages` and a next question would make.

        Only as far as it was read already. None where that is nothing, or more than `most` bytes, or read
        anew in less time than from a disk, or where there is no KV cache on this machine. Raises a
        LocalmagError where it cannot be written, or the conversation cannot be encoded.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Which engine to start, in full: plain data that crosses to the engine's process.

    `context` is in tokens, `gpu_layers` counts from the top (-1: all that the device list allows); of a
    mixture's layers the `cpu_experts` lowest keep their experts in memory. `threads` 0 lets the engine choose
    the physical cores.
    """

    backend: Backend
    weights: Path
    tokenizer: Path
    context: int
    kv_type: KVType = "f16"
    gpu_layers: int = -1
    cpu_experts: int = 0
    threads: int = 0
    log: Path | None = None
    state: Path | None = None
    """The KV state to begin with, if there is one and it is of these weights."""

    @property
    def name(self) -> str:
        """What to call the weights: their file or folder; in the hub's cache, the repository of a folder."""
        repo = self.weights.parent.parent.name
        if self.weights.parent.name == "snapshots" and repo.startswith("models--"):
            return repo.removeprefix("models--").replace("--", "/", 1)
        return self.weights.name
