"""The parts of mlx-lm that the engine is made of, imported without what that does to the process.

mlx_lm/utils.py sets how many files the process may open to 2,048, and at most 4,096 ever after: less than it
had, mostly, and an error where a container allows fewer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

if sys.platform == "win32":
    raise ImportError("MLX does not run on Windows.")
import resource


@contextmanager
def _limits_kept() -> Iterator[None]:
    setter = resource.setrlimit
    resource.setrlimit = lambda *_: None
    try:
        yield
    finally:
        resource.setrlimit = setter


with _limits_kept():
    from mlx_lm.models.cache import (
        KVCache,
        QuantizedKVCache,
        can_trim_prompt_cache,
        make_prompt_cache,
        trim_prompt_cache,
    )
    from mlx_lm.utils import load_model

__all__ = [
    "KVCache",
    "QuantizedKVCache",
    "can_trim_prompt_cache",
    "load_model",
    "make_prompt_cache",
    "trim_prompt_cache",
]
