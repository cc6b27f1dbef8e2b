"""Draws the next id exactly as the model card says: temperature, then top_p, then one draw. Nothing else.

llama.cpp's own chain sorts the whole vocabulary for this (1.6 ms for 131,072 ids). Here the nucleus is found
among the ids that can be in it, which takes a tenth of that. All ids above a share of the mass, if they hold
top_p of it together, contain the smallest set that does. Such a share always exists: ids with less than
(1 - top_p) / vocabulary each hold less than 1 - top_p together. Same distribution, no approximation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from localmag.errors import RunFailed
from localmag.types import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGE_SHARE = 1e-4  # at most 10,000 ids have so much; where they suffice, the rest need no look


class Sampler:
    """One reply's sampler: call it with logits (float32, one per id of the vocabulary) to draw an id.

    Its random numbers (numpy's PCG64) depend on the seed alone, so equal logits give equal replies on
    every engine and platform.
    """

    def __init__(self, sampling: Sampling) -> None:
        # Far below any use, logits divided by it would leave float32: the limit is greedy anyway.
        self._temperature = sampling.temperature if sampling.temperature >= 1e-6 else 0.0
        self._top_p = sampling.top_p
        self._random = np.random.default_rng(sampling.seed).random
        self._mass = np.empty(0, np.float32)

    def __call__(self, logits: NDArray[np.float32]) -> int:
        """Raises RunFailed if the model's numbers are broken (not finite)."""
        best = int(logits.argmax())
        peak = logits[best]
        if not np.isfinite(peak):
            raise RunFailed(
                "The model computed numbers that are not finite.",
                "Its file may be damaged: verify it, or try another quant or KV type.",
            )
        return best if self._temperature == 0 else self._draw(logits, peak)

    def _draw(self, logits: NDArray[np.float32], peak: np.float32) -> int:
        if self._mass.size != logits.size:
            self._mass = np.empty(logits.size, np.float32)
        mass = np.subtract(logits, peak, out=self._mass)
        mass /= self._temperature
        np.exp(mass, out=mass)
        total = float(mass.sum())
        if self._top_p >= 1:
            return _pick(np.cumsum(mass, dtype=np.float64), self._random())
        wanted = self._top_p * total
        ids, found = self._candidates(mass, total, wanted)
        falling = np.sort(found)[::-1]
        reached = np.cumsum(falling, dtype=np.float64)
        size = int(np.searchsorted(reached, wanted)) + 1
        place = _pick(reached[:size], self._random())
        value = falling[place]
        # Ids of equal mass stand in the order of their numbers, on every platform.
        return int(ids[found == value][place - np.count_nonzero(found > value)])

    def _candidates(
        self, mass: NDArray[np.float32], total: float, wanted: float
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Every id of at least some share of the mass, and the masses, such that they hold what is wanted."""
        ids = np.flatnonzero(mass >= _LARGE_SHARE * total)
        found = mass[ids]
        if found.sum(dtype=np.float64) < wanted:
            ids = np.flatnonzero(mass >= (1 - self._top_p) / mass.size * total)
            found = mass[ids]
        return ids, found


def _pick(reached: NDArray[np.float64], uniform: float) -> int:
    """Index drawn from running sums of mass, by a number in [0, 1)."""
    place = int(np.searchsorted(reached, uniform * reached[-1], side="right"))
    return min(place, reached.size - 1)
