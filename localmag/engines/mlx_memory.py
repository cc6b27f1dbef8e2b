"""What MLX may hold of a machine's memory: arithmetic on what the machine says of itself.

On a Mac memory is one, and past the recommended working set the system first swaps, then stalls, and has
panicked (mlx-lm #883, #1666; mlx #3186, #3346). MLX's own memory limit is "a guideline": allocations wait for
others to end, and then go on. So what a model is going to hold is added up before any of it is read, and
looked at again after each chunk of a prompt; too much is an error.

The wired limit is never set. It pins the weights, so that the system can take nothing back, and the panics
come with it: in mlx #3186 (2026-07-07) a workload that had panicked within two minutes, three times of three,
ran for four hours once it was left at 0. Its use is for models that take nearly all of the memory, and those
are refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from localmag.engines.lastwords import SMALLER
from localmag.errors import DoesNotFit
from localmag.hardware.limits import addresses, memory_limit

GIB = 2**30
_THREADS = GIB // 2  # addresses that stacks and allocators of threads to come will take


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes: `memory` is all that may be held at once; of that `cache` is freed buffers kept for reuse."""

    memory: int
    cache: int


def limits(facts: Mapping[str, str | int]) -> Limits | None:
    """What to set, from mx.device_info(); None for a device that states no working set, which a CPU is.

    The working set is two thirds of the memory of small Macs, and up to five sixths of that of large ones
    (tests/macs.py has what is on record). Whoever has raised it (sysctl iogpu.wired_limit_mb) may have left
    the system nothing: a sixteenth of the memory, at least 2 GiB, stays with it.

    Of freed buffers as much is kept as the chunks of a prompt take and give back over and over: buffers that
    come and go are the other half of those panics (mlx #3186). More would be held for nothing.
    """
    working_set, total = (facts.get(key) for key in ("max_recommended_working_set_size", "memory_size"))
    if not isinstance(working_set, int) or working_set <= 0:
        return None
    memory = working_set
    if isinstance(total, int) and total > 0:
        memory = min(memory, total - max(2 * GIB, total // 16))
    memory = max(memory, 0)
    return Limits(memory, min(GIB, memory // 16))


def free() -> int:
    """Bytes that may be taken where no device states a limit: what this machine, or its container, has free.

    A sixteenth of the memory, at least 1 GiB, is left alone. A CPU is refused nothing: allocations succeed,
    and end the process when they are used, or at once where `ulimit -v` leaves no addresses for them.
    """
    memory = psutil.virtual_memory()
    limit, space = memory_limit(), addresses()
    available = min(memory.available, limit.free) if limit else memory.available
    room = available - max(GIB, memory.total // 16)
    return max(0, room if space is None else min(room, space - _THREADS))


def does_not_fit(name: str, context: int, needed: int, room: int) -> DoesNotFit:
    return DoesNotFit(
        f"{name} with a context of {context:,} tokens needs {needed / GIB:.1f} GiB, and there may be"
        f" {room / GIB:.1f}.",
        SMALLER,
    )
