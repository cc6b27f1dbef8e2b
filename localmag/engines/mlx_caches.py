"""The KV caches of an MLX model: mlx-lm's own, of a size fixed in advance."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map

from localmag.config import KVType
from localmag.engines.mlx_parts import (
    KVCache,
    QuantizedKVCache,
    can_trim_prompt_cache,
    make_prompt_cache,
    trim_prompt_cache,
)
from localmag.errors import BadFile, WrongUsage
from localmag.fit import mlx as fit
from localmag.types import Cancel


class Caches:
    """One per layer, as the model wants them, for `context` tokens and heads of `head_size` numbers.

    mlx-lm's caches grow in steps and copy themselves each time, so that a long reply leaves a trail of freed
    buffers of every size. Here the first step is the last: memory is taken once, and kept.

    Raises WrongUsage if these caches cannot be of that KV type.
    """

    def __init__(self, model: Any, context: int, kv_type: KVType, head_size: int) -> None:
        self.layers: list[Any] = []
        """What the model takes as its `cache`."""
        self._model = model
        self._context = context
        self._bits = fit.BITS.get(kv_type)
        self._group = fit.group(head_size)
        self.renew()
        kind = QuantizedKVCache if self._bits else KVCache
        self.can_forget = all(type(layer) is kind for layer in self.layers)
        """Whether the last ids can be taken out again, however many there are."""
        if self._bits and not self.can_forget:
            raise cannot_be(kv_type)

    def renew(self) -> None:
        """Forget everything, and free it. Memory is taken again by the next use."""
        self.layers = [self._sized(cache) for cache in make_prompt_cache(self._model)]

    def _sized(self, cache: Any) -> Any:
        if type(cache) is KVCache and self._bits and self._group:
            cache = QuantizedKVCache(self._group, self._bits)
        if type(cache) in (KVCache, QuantizedKVCache):
            cache.step = self._context
        return cache

    def trim(self, count: int) -> int:
        """Forget all after the first `count` ids, or everything where that cannot be done; how many are left.

        A cache that slides a window over the tokens has overwritten what came before it.
        """
        surplus = self.layers[0].offset - count
        if surplus <= 0:
            return count
        if can_trim_prompt_cache(self.layers):
            trim_prompt_cache(self.layers, surplus)
            return count
        self.renew()
        return 0

    def as_they_are(self) -> list[Any]:
        """Each layer's arrays, from the last to the first, for `evaluate`; none where they cannot return."""
        if not self.can_forget or any(layer.keys is None for layer in self.layers):
            return []
        return [tree_map(copy, (layer.keys, layer.values)) for layer in reversed(self.layers)]

    def evaluate(self, before: list[Any], layers_at_once: int, cancel: Cancel) -> bool:
        """Compute what has been read since `before`, so many layers at once; False if cancelled meanwhile.

        Then the layers that were not reached hold their old arrays again, or the next evaluation would go on
        with what was given up. `before` is emptied on the way: MLX writes in place what nobody else holds.
        """
        if not before:
            mx.eval(self.state)
        while before:
            layers = self.layers[-len(before) :]
            if cancel.is_set():
                for layer, arrays in zip(layers, reversed(before), strict=True):
                    layer.keys, layer.values = arrays
                return False
            del before[-layers_at_once:]
            mx.eval([(layer.keys, layer.values) for layer in layers[:layers_at_once]])
        return True

    def save(self, folder: Path) -> None:
        """Write what they hold, a file for each layer: so that only one at a time is copied in memory."""
        for place, layer in enumerate(self.layers):
            used = {name: array[..., : layer.offset, :] for name, array in _arrays(layer).items()}
            mx.save_safetensors(str(folder / _file(place)), used)

    def load(self, folder: Path, count: int) -> None:
        """Put in what `save` wrote of `count` ids. They must have had their memory. Raises BadFile."""
        for place, layer in enumerate(self.layers):
            arrays, kept = _arrays(layer), mx.load(str(folder / _file(place)))
            for name, array in arrays.items():
                shape = (*array.shape[:-2], count, array.shape[-1])
                if name not in kept or (kept[name].shape, kept[name].dtype) != (shape, array.dtype):
                    raise BadFile(
                        "What was kept of the context is not of this model's form.",
                        "The conversation is read again.",
                    )
                array[..., :count, :] = kept[name]
            mx.eval(list(arrays.values()))
            layer.offset = count

    @property
    def state(self) -> list[Any]:
        """Every array, as far as it is used."""
        return [cache.state for cache in self.layers]

    @property
    def nbytes(self) -> int:
        """Bytes of memory, evaluated or not yet."""
        return sum(cache.nbytes for cache in self.layers)


def _arrays(layer: Any) -> dict[str, mx.array]:
    """A layer's keys and values by name; each is three arrays where it is quantized. Axis -2 is the place."""
    return dict(tree_flatten({"keys": layer.keys, "values": layer.values}))


def _file(place: int) -> str:
    return f"layer-{place:04}.safetensors"


def cannot_be(kv_type: KVType) -> WrongUsage:
    return WrongUsage(
        f"This model's KV cache cannot be {kv_type} on MLX.", "Leave --kv-type out, or give f16."
    )
