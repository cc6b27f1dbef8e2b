"""What a container, a service or a session may use of the memory: Linux control groups, both versions.

And what `ulimit -v` leaves a process of addresses.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_V1_NONE = 2**60  # version 1 writes "no limit" as a number near 2**63


@dataclass(frozen=True, slots=True)
class Limit:
    """Bytes: the most that a group may hold, and what it may still take; caches that give way are free."""

    total: int
    free: int


def memory_limit(root: Path = _ROOT, own: Path = _OWN) -> Limit | None:
    """The tightest limit on this process, None if there is none (or no control groups)."""
    found = [limit for folder in _groups(root, own) if (limit := _limit(folder))]
    if not found:
        return None
    return Limit(min(limit.total for limit in found), min(limit.free for limit in found))


def addresses() -> int | None:
    """Bytes of addresses that this process may still take, None without a limit. Linux alone keeps to one."""
    if sys.platform != "linux":
        return None
    import resource

    import psutil

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY:
        return None
    return max(0, most - int(psutil.Process().memory_info().vms))


def _groups(root: Path, own: Path) -> Iterator[Path]:
    """The folders of this process's group and of those around it, as far as they are shown to it."""
    try:
        lines = own.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        inner = top / path.lstrip("/")
        yield inner
        # A container sees its own group as the root, under a path that may not exist in it.
        yield from (folder for folder in inner.parents if folder == top or top in folder.parents)


def _limit(folder: Path) -> Limit | None:
    v2 = _number(folder / "memory.max")
    total = v2 or _number(folder / "memory.limit_in_bytes")
    if not total or total >= _V1_NONE:
        return None
    used = _number(folder / ("memory.current" if v2 else "memory.usage_in_bytes")) or 0
    yielding = _statistic(folder / "memory.stat", "inactive_file" if v2 else "total_inactive_file")
    return Limit(total, max(0, total - max(0, used - yielding)))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _statistic(path: Path, name: str) -> int:
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return 0
    values = (line.split()[1] for line in lines if line.split()[:1] == [name] and len(line.split()) == 2)
    return next((int(value) for value in values if value.isdigit()), 0)
