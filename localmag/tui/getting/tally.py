"""What a pull has come to: its steps, added up for the eye. Imported late: it brings the hub's client."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from localmag.store.pull import Checking, Fetching, Plan, Step, Verified, Waiting, Wanted
from localmag.tui.getting.progress import FileProgress, Phase, Progress

_WINDOW_S = 10.0
"""Seconds over which the rate is taken: long enough to be calm, short enough to notice a change."""


class Tally:
    """Takes every step of one pull, and tells at any moment how far it is."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._files = [FileProgress(f.path, f.size, f.here, "waiting") for f in plan.files]
        self._at = {(f.repo, f.path): n for n, f in enumerate(plan.files)}
        self._samples: deque[tuple[float, int]] = deque()
        self._fetched = 0
        self._waiting = ""

    def take(self, step: Step) -> None:
        self._waiting = ""
        match step:
            case Fetching(file, done):
                self._fetched += max(0, done - self._files[self._place(file)].done)
                self._sample()
                # Once all bytes are here the last are hashed, and nothing more is said until that is done.
                phase: Phase = "checking" if done == file.size else "fetching"
                self._set(file, FileProgress(file.path, file.size, done, phase))
            case Checking(file, done):
                self._set(file, FileProgress(file.path, file.size, file.size, "checking", done))
            case Verified(file):
                self._set(file, FileProgress(file.path, file.size, file.size, "verified", file.size))
            case Waiting(why, seconds):
                self._waiting = f"{why}; trying again in {math.ceil(seconds)} s"

    def progress(self) -> Progress:
        return Progress(tuple(self._files), self._rate(), self._waiting)

    def _place(self, file: Wanted) -> int:
        return self._at[file.repo, file.path]

    def _set(self, file: Wanted, now: FileProgress) -> None:
        self._files[self._place(file)] = now

    def _sample(self) -> None:
        now = self._clock()
        if self._samples and now - self._samples[-1][0] < _WINDOW_S / 50:
            return
        self._samples.append((now, self._fetched))
        while now - self._samples[0][0] > _WINDOW_S:
            self._samples.popleft()

    def _rate(self) -> float:
        """Bytes per second of late; 0 while that cannot be told."""
        if not self._samples:
            return 0.0
        began, before = self._samples[0]
        elapsed = self._clock() - began
        return (self._fetched - before) / elapsed if elapsed > 0.5 else 0.0
