"""Bytes and seconds as people say them."""

from __future__ import annotations

_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def size(count: float) -> str:
    """Bytes: 14.3 GB, 19.4 MB, 2.1 kB, 119 B."""
    for unit, name in _UNITS:
        if count >= 0.99995 * unit:  # which is rounded to 1.0 of it
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} B"


def part(done: float, total: float) -> str:
    """Bytes of bytes, in the unit of the whole: 6.2 of 14.3 GB."""
    for unit, name in _UNITS:
        if total >= unit:
            return f"{done / unit:.1f} of {total / unit:.1f} {name}"
    return f"{done:.0f} of {total:.0f} B"


def left(seconds: float) -> str:
    """A time to come, no finer than anybody can tell: 40 s, 12 min, 3 h 20 min."""
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} days"


def memory(count: float) -> str:
    """Bytes of memory, which comes in powers of two: 24.0 GiB."""
    return f"{count / 2**30:.1f} GiB"
