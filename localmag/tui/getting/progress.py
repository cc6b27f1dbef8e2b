"""How far a pull is, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["waiting", "fetching", "checking", "verified"]


@dataclass(frozen=True, slots=True)
class FileProgress:
    """One file: `done` of its `size` bytes are here, `checked` of them hashed."""

    path: str
    size: int
    done: int
    phase: Phase
    checked: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is. `rate` is bytes per second of late, 0 if not known; `waiting` says what for."""

    files: tuple[FileProgress, ...]
    rate: float = 0.0
    waiting: str = ""

    @property
    def done(self) -> int:
        """Bytes that are here."""
        return sum(f.done for f in self.files)

    @property
    def total(self) -> int:
        return sum(f.size for f in self.files)

    @property
    def seconds_left(self) -> float | None:
        """None while nobody can tell."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None
