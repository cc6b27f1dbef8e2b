"""MLX as a TokenModel, on mlx-lm's own parts: its networks, its KV caches, its way to read weights.

mlx-lm's generate_step is not among them: it samples before the logits are seen, and a prompt that it reads
can be left by an exception only. The loop here is the same, with localmag's sampler, so that all engines
draw alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from localmag.engines import EngineSpec, mlx_loading, mlx_memory
from localmag.engines.mlx_caches import Caches, cannot_be
from localmag.engines.mlx_guess import Guesser
from localmag.engines.prefix import reusable
from localmag.engines.sampler import Sampler
from localmag.errors import RunFailed
from localmag.fit import mlx as fit
from localmag.types import Cancel, Prefill, Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_CHUNK = 16  # fewer ids at once would read the weights too often for too little
_CHUNK_S = 0.5  # for progress only, where a cancel waits for some of a chunk's layers and not for all
_AT_ONCE_S = 0.1  # what MLX has begun cannot be stopped


@dataclass(slots=True)
class _Step:
    """One id being read: what it will give, not evaluated yet."""

    logits: mx.array
    guess: mx.array


class Mlx:
    """One model and its KV cache of `spec.context` tokens.

    `on_load` is called with fractions from 0 to 1 while weights load; what it raises stops the loading and
    comes out of here.

    Raises NotFound and BadFile for the files, DoesNotFit for memory, WrongUsage for a KV type that the model
    cannot have, RunFailed otherwise.
    """

    def __init__(self, spec: EngineSpec, on_load: Callable[[float], None] = lambda fraction: None) -> None:
        self.context = spec.context
        self._spec = spec
        self.library = f"mlx {version('mlx')}, mlx-lm {version('mlx-lm')}"
        self.held: list[int] = []
        self.rate = 0.0
        self._most = fit.prefill(spec.kv_type)
        self._model: Any = None
        self._caches: Any = None
        if not mx.metal.is_available():
            mx.disable_compile()  # fusing for a CPU starts a C++ compiler, for seconds, and fails without one
        self._limits = mlx_memory.limits(mx.device_info())
        if self._limits:
            mx.set_memory_limit(self._limits.memory)
            mx.set_cache_limit(self._limits.cache)
        try:
            with self._foreign():
                self._load(on_load)
        except BaseException:
            self.close()
            raise

    # ── Loading ───────────────────────────────────────────────────────────────────────────────────

    def _load(self, on_load: Callable[[float], None]) -> None:
        build = mlx_loading.open_build(self._spec)
        self._model = build.model
        self._caches = Caches(self._model, self.context, self._spec.kv_type, build.shape.head_size)
        logits = self._traced()
        self.vocabulary_size = logits.shape[-1]
        self._require_room(build)
        if build.images:
            self._note(
                f"{build.images:,} bytes of the weights are for images, and are left out: not used here."
            )
        mlx_loading.read_weights(self._model, on_load)
        mx.eval(logits)  # takes the whole cache's memory now, so that no reply can fail for want of it
        self._trim(0)

    def _traced(self) -> mx.array:
        """Logits of two ids: MLX is lazy, so this finds out what fits together, and computes nothing."""
        try:
            return self._forward(mx.array([0, 0]))
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as exc:
            if self._spec.kv_type != "f16":  # some attention takes plain arrays only
                raise cannot_be(self._spec.kv_type) from exc
            raise mlx_loading.damaged(self._spec, exc) from exc

    def _require_room(self, build: mlx_loading.Build) -> None:
        """Raises DoesNotFit if weights, KV cache and scratch space together are more than there may be."""
        scratch = fit.compute(build.shape, self.context, self._spec.kv_type, build.itemsize)
        needed = build.size + self._caches.nbytes + scratch
        room = self._limits.memory if self._limits else mlx_memory.free()
        if needed > room:
            raise mlx_memory.does_not_fit(self._spec.name, self.context, needed, room)

    def _note(self, sentence: str) -> None:
        if self._spec.log:
            with self._spec.log.open("a", encoding="utf-8") as log:
                log.write(sentence + "\n")

    def vocabulary(self) -> list[bytes] | None:
        """Every id's text as the build's `tokenizer.json` spells it; None if it has none. Raises BadFile."""
        return mlx_loading.vocabulary(self._spec)

    # ── Generating ────────────────────────────────────────────────────────────────────────────────

    def generate(self, ids: Sequence[int], sampling: Sampling, cancel: Cancel) -> Generator[Prefill | int]:
        """See TokenModel."""
        if self._model is None:
            raise RunFailed("The model is closed.", "Load it again.")
        self._trim(reusable(self.held, ids, self.context))
        self._require_known(ids)
        yield Prefill(len(self.held), len(ids))
        while (left := len(ids) - 1 - len(self.held)) > 0:
            if cancel.is_set() or not self._read_chunk(ids, left, cancel):
                return
            yield Prefill(len(self.held), len(ids))
        if not cancel.is_set():
            yield from self._draw(ids, sampling, cancel)

    def _read_chunk(self, ids: Sequence[int], left: int, cancel: Cancel) -> bool:
        """Read the prompt's next chunk, sized by the speed of the last one; False if cancelled.

        The cache is then as it was.
        """
        seconds = _CHUNK_S if self._caches.can_forget else _AT_ONCE_S
        size = int(self.rate * seconds) // _LEAST_CHUNK * _LEAST_CHUNK
        whole = min(max(size, _LEAST_CHUNK), self._most)
        start = len(self.held)
        chunk = ids[start : start + min(whole, left)]
        began = time.perf_counter()
        layers_at_once = int(len(self._caches.layers) * _AT_ONCE_S * self.rate / len(chunk))
        with self._foreign():
            before = self._caches.as_they_are()
            self._forward(mx.array(chunk))  # its logits are not asked for, and so not computed
            if not self._caches.evaluate(before, max(layers_at_once, 1), cancel):
                self._trim(start)
                return False
            self._require_within_limits()
        rate = len(chunk) / (time.perf_counter() - began)
        if len(chunk) == whole or rate > self.rate:  # a prompt's short end is no measure
            self.rate = rate
        self.held += chunk
        return True

    def _draw(self, ids: Sequence[int], sampling: Sampling, cancel: Cancel) -> Generator[Prefill | int]:
        """Read the prompt's last id, then draw.

        Each step is begun with the id that its forerunner is guessed to give, while that is still computed.
        """
        draw, guess = Sampler(sampling), Guesser(sampling)
        step = self._begin(mx.array(ids[-1:]), guess)
        self.held.append(ids[-1])
        self._logits(step)
        yield Prefill(len(ids), len(ids))
        for left in reversed(range(self.context - len(ids))):
            if cancel.is_set():
                return
            ahead = self._begin(step.guess[None], guess) if left and self._caches.can_forget else None
            id = draw(self._logits(step))
            if ahead and step.guess.item() != id:
                self._trim(len(self.held))
                guess.take_back()
                ahead = None
            if left and not ahead:
                ahead = self._begin(mx.array([id]), guess)
            if ahead:
                self.held.append(id)
                step = ahead
            yield id

    def _begin(self, id: mx.array, guess: Guesser) -> _Step:
        """Have one id read, without waiting for it."""
        with self._foreign():
            logits = self._forward(id)[0, -1].astype(mx.float32)
            step = _Step(logits, guess(logits))
            mx.async_eval(step.logits, step.guess)
        return step

    def _logits(self, step: _Step) -> NDArray[np.float32]:
        """Waits for them."""
        with self._foreign():
            mx.eval(step.logits)
        return np.asarray(memoryview(step.logits))

    def _forward(self, ids: mx.array) -> mx.array:
        """Logits, one row per id and one number per id of the vocabulary."""
        return self._model(ids[None], cache=self._caches.layers)

    def _trim(self, count: int) -> None:
        """Forget what the cache holds after its first `count` ids."""
        del self.held[self._caches.trim(count) :]

    def _require_known(self, ids: Sequence[int]) -> None:
        """MLX looks an id up without asking whether there is such a row."""
        if min(ids) < 0 or max(ids) >= self.vocabulary_size:
            raise RunFailed(
                f"The conversation has an id that {self._spec.name} does not know.",
                "Use the tekken.json of the model that these weights were made from.",
            )

    def _require_within_limits(self) -> None:
        """MLX's own limit slows allocations down and lets them pass; here it is an error."""
        if self._limits and (peak := mx.get_peak_memory()) > self._limits.memory:
            mx.reset_peak_memory()
            raise mlx_memory.does_not_fit(self._spec.name, self.context, peak, self._limits.memory)

    @contextmanager
    def _foreign(self) -> Iterator[None]:
        """Exceptions of MLX become ours. After any, the cache may be half written, and starts anew."""
        try:
            yield
        except BaseException as exc:
            self.held.clear()
            if self._caches:
                self._caches.renew()
            if isinstance(exc, mlx_loading.MLX_ERRORS):
                raise mlx_loading.failure(exc, self._spec) from exc
            raise

    # ── Keeping the KV cache ──────────────────────────────────────────────────────────────────────

    def state_bytes(self, count: int) -> int:
        """See TokenModel."""
        whole: int = self._caches.nbytes if self._caches.can_forget else 0
        return whole * count // self.context

    def save_state(self, folder: Path, count: int) -> None:
        """See TokenModel."""
        self._trim(count)
        try:
            with mlx_loading.plain(folder) as place:
                self._caches.save(place)
        except mlx_loading.MLX_ERRORS as exc:
            raise RunFailed(
                f"The context could not be written to {folder.parent} ({exc}).",
                "Check that its disk has room; nothing is lost, it is read again next time.",
            ) from exc

    def load_state(self, folder: Path, ids: Sequence[int]) -> None:
        """See TokenModel."""
        self._trim(0)
        with self._foreign():
            if not self._caches.nbytes:  # given back by a failure
                mx.eval(self._traced())
                self._caches.trim(0)
            with mlx_loading.plain(folder) as place:
                self._caches.load(place, len(ids))
            self._require_within_limits()
        self.held[:] = ids

    def close(self) -> None:
        """Give the memory back. Safe to call twice."""
        self._model = self._caches = None
        self.held.clear()
        mx.clear_cache()
