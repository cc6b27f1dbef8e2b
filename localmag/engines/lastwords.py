"""What an engine's process said before it ended: whether it was memory that ran out.

Metal reports an error of the GPU on a thread of its own, where nothing can catch what MLX throws: the process
is ended by the C++ runtime, and all that is left is a line in the log (mlx #479 put it there). llama.cpp ends
its process itself where CUDA has no memory left for a buffer. Pure, but for reading the log.
"""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

from localmag.errors import DoesNotFit

_MOST = 2**17  # bytes at the log's end: Python's own report of the crash follows, with every thread's stack
_MEMORY = re.compile(
    r"\ballocat|insufficient memory|bad_alloc|out ?of ?(?:device ?|host ?)?memory", re.IGNORECASE
)
_ABORTS = (-signal.SIGABRT, 3, 0xC0000409)  # the latter two on Windows: abort(), a fail-fast exception
SMALLER = "Choose a smaller quant, a shorter context (--ctx) or a smaller KV cache (--kv-type)."
_UNCAUGHT = re.compile(
    r"^libc\+\+abi: terminating .*"  # macOS
    r"|^terminate called after .*"  # Linux; what the exception says follows on a line of its own
    r"|^  what\(\):  .*"
    r"|^(?:CUDA|ROCm|MUSA) error: .*"  # ggml, before it aborts
    r"|^error: .*\(\d+:kIOGPUCommandBuffer\w+\)",  # the same on Metal
    re.MULTILINE,
)


def is_lack_of_memory(said: str) -> bool:
    """Whether an exception's text, of MLX, Metal, CUDA or the C++ library, means that memory ran out."""
    return bool(_MEMORY.search(said))


def died_of_memory(code: int | None, log: str) -> bool:
    """Whether native code ended the process itself, and the last line that says why says so.

    `code` is subprocess's exit code. That the system ended it is another matter, whatever it had survived.
    """
    if code not in _ABORTS:
        return False
    ends = _UNCAUGHT.findall(log)
    # Of an exception the type says it, or the line after that.
    return any(is_lack_of_memory(line) for line in ends[-2:])


def tail(log: Path | None, start: int = 0) -> str:
    """The end of a log, without what was in it before `start`; "" where it cannot be read."""
    if log is None:
        return ""
    with suppress(OSError), log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - _MOST))
        return file.read(_MOST).decode("utf-8", "replace")
    return ""


def size(log: Path | None) -> int:
    """Bytes of a log; 0 for none."""
    if log:
        with suppress(OSError):
            return log.stat().st_size
    return 0


def does_not_fit(name: str, context: int) -> DoesNotFit:
    """The library says so of weights with a context of so many tokens."""
    return DoesNotFit(f"{name} with a context of {context:,} tokens needs more memory than is free.", SMALLER)


def out_of_memory(what: str, log: Path | None) -> DoesNotFit:
    """`what` was being done, as in `while loading Magistral`."""
    more = f" Its log may say more: {log}." if log else ""
    return DoesNotFit(
        f"The engine ran out of memory {what}, and its process ended.",
        f"{SMALLER.removesuffix('.')}, or close other programs.{more}",
    )
