"""Which problems are held out: a hash of the problem decides, so no seed and no wording can move it."""

from __future__ import annotations

import zlib


def held_out(problem: str, share: float) -> bool:
    """Whether `problem` belongs to the `share` (0 to 1) of problems that training never sees."""
    return zlib.crc32(problem.encode()) / 2**32 < share


def held_operation(op: str, a: int, b: int) -> bool:
    """Whether an operation is held out, in both orders of its operands; `op` is one of + - ×."""
    low, high = sorted((a, b))
    return held_out(f"{op} {low} {high}", share=0.2 if op == "×" else 0.1)
