"""A machine and its devices, as plain data. All sizes are bytes, as whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["cuda", "rocm", "vulkan", "metal", "sycl", "other"]


@dataclass(frozen=True, slots=True)
class Note:
    """Something about this machine that its owner should know, and the command or step that mends it."""

    what: str
    todo: str = ""
    broken: bool = False
    """Whether llama.cpp cannot be used at all because of it."""


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator, by the interface that reaches it.

    `total` and `free` are the memory it may allocate from, as a process sees them that has opened it: what
    its driver takes for that process is off already. Where `unified`, that memory is the machine's own and
    counts within `Machine.memory_free` as well. `free` is 0 where nobody can tell.
    """

    name: str
    """As its driver says: "NVIDIA GeForce RTX 4090", "Apple M4 Max"."""
    kind: Kind
    total: int
    free: int
    backends: tuple[str, ...] = ()
    """What can compute on it as things are installed now: "llama.cpp", "mlx"; empty if nothing can."""
    unified: bool = False
    """Whether it has no memory of its own: Apple silicon, integrated GPUs."""
    working_set: int | None = None
    """On Apple silicon, Metal's recommendedMaxWorkingSetSize: beyond it the system stalls or panics."""
    id: str = ""
    """llama.cpp's name for it (`CUDA0`), empty where llama.cpp does not see it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as one process may use it: within its affinity, its control group and its quotas."""

    system: str
    """`platform.system()`: Linux, Darwin, Windows."""
    arch: str
    """x86_64 or arm64, on every system."""
    cpu: str
    cores: int
    """Physical cores; on Apple silicon the fast ones only."""
    threads: int
    """Hardware threads."""
    memory_total: int
    memory_free: int
    """What can be had without swapping: free memory and caches that give way."""
    devices: tuple[Device, ...] = ()
    """llama.cpp's in its order first, then those that nothing installed can use."""
    disk_free: int = 0
    """Where weights are kept."""
    llama_cpp: tuple[str, ...] = ()
    """What llama.cpp was built with, in lower case, as ("cuda", "cpu"); empty if it does not load."""
    mlx: bool = False
    """Whether MLX is installed."""
    notes: tuple[Note, ...] = ()
    """What could not be found out, and hardware that lies idle."""

    @property
    def apple_silicon(self) -> bool:
        return self.system == "Darwin" and self.arch == "arm64"

    @property
    def unified(self) -> bool:
        """Whether CPU and GPU share one memory."""
        return any(device.unified for device in self.devices)

    def usable(self, backend: str) -> tuple[Device, ...]:
        """The accelerators that `backend` ("llama.cpp", "mlx") computes on as things are installed now."""
        return tuple(device for device in self.devices if backend in device.backends)
