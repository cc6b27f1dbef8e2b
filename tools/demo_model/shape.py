"""The sizes of the network, apart from the network: tests and the evaluation read them without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of the network. `context` is in tokens."""

    vocabulary: int = 3072
    layers: int = 5
    width: int = 192
    heads: int = 6
    kv_heads: int = 3
    ffn: int = 512
    context: int = 1024
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head_size(self) -> int:
        return self.width // self.heads
