"""How many cores there are to compute on.

Matrix work gains nothing from a core's second hardware thread, and loses much by being given more threads
than a container may run: the count is of physical cores, within this process's affinity and quota.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def physical_cores() -> int:
    """Physical cores this process may use, at least 1; on Apple silicon the fast ones only."""
    if sys.platform == "linux":
        return _linux(os.sched_getaffinity(0), _CPUS, _QUOTA)
    if sys.platform == "darwin":
        return _darwin() or os.cpu_count() or 1
    if sys.platform == "win32":
        return _windows() or os.cpu_count() or 1
    return os.cpu_count() or 1


def _linux(allowed: set[int], cpus: Path, quota: Path) -> int:
    cores = {_core(cpus / f"cpu{n}/topology", n) for n in allowed}
    return max(1, min(len(cores), _quota(quota)))


def _core(topology: Path, cpu: int) -> str:
    try:
        return (topology / "thread_siblings_list").read_text().strip()
    except OSError:  # not every container shows its topology
        return str(cpu)


def _quota(path: Path) -> int:
    """Whole CPUs the control group allows, rounded up."""
    try:
        quota, period = path.read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return sys.maxsize


def _darwin() -> int:
    libc = ctypes.CDLL(None)
    for name in (b"hw.perflevel0.physicalcpu", b"hw.physicalcpu"):
        count, size = ctypes.c_int(0), ctypes.c_size_t(4)
        if libc.sysctlbyname(name, ctypes.byref(count), ctypes.byref(size), None, 0) == 0:
            return count.value
    return 0


def _windows() -> int:
    """Counts the records of GetLogicalProcessorInformationEx(RelationProcessorCore)."""
    kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    size = ctypes.c_uint32(0)
    kernel32.GetLogicalProcessorInformationEx(0, None, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    if not kernel32.GetLogicalProcessorInformationEx(0, buffer, ctypes.byref(size)):
        return 0
    at = cores = 0
    while at < size.value:
        at += int.from_bytes(buffer.raw[at + 4 : at + 8], "little")  # each record's own size
        cores += 1
    return cores
