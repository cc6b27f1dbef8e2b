"""What Macs have said of their memory: recorded, not reckoned.

`DEVICES` are whole answers of mx.device_info(), as programs of others printed them into public repositories
(the number of bytes finds them). `WORKING_SETS` are Metal's recommendedMaxWorkingSetSize alone, each from the
issue beside it; llama.cpp prints it when it starts.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30
MIB = 2**20

Facts = dict[str, str | int]


def _device(name: str, architecture: str, memory: int, working_set: int, buffer: int) -> Facts:
    return {
        "architecture": architecture,
        "device_name": name,
        "max_buffer_length": buffer,
        "max_recommended_working_set_size": working_set,
        "memory_size": memory * GIB,
        "resource_limit": 499_000,
    }


DEVICES: dict[str, Facts] = {
    "8 GB": _device("Apple A18 Pro", "applegpu_g17p", 8, 5_726_633_984, 4_294_967_296),
    "48 GB": _device("Apple M4 Pro", "applegpu_g16s", 48, 40_200_896_512, 30_150_672_384),
    "128 GB": _device("Apple M5 Max", "applegpu_g17s", 128, 115_448_725_504, 86_586_540_032),
    "256 GB": _device("Apple M3 Ultra", "applegpu_g15d", 256, 223_338_299_392, 167_503_724_544),
}

RAISED: dict[str, Facts] = {  # by sysctl iogpu.wired_limit_mb: whole MiB
    "64 GB, 57,344 MiB": _device("Apple M5 Max", "applegpu_g17s", 64, 57_344 * MIB, 41_747_087_360),
    "128 GB, 124,518 MiB": _device("Apple M5 Max", "applegpu_g17s", 128, 124_518 * MIB, 86_586_540_032),
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """Bytes of memory and of the working set that macOS gave the GPU of it."""

    chip: str
    memory: int
    working_set: int
    source: str


WORKING_SETS = (
    Recorded("M1", 16 * GIB, round(10_922.67 * MIB), "ise-uiuc/magicoder #19"),
    Recorded("M3", 16 * GIB, round(11.84 * GIB), "AlexsJones/llmfit #754"),
    Recorded("M4", 16 * GIB, round(10.67 * GIB), "exo-explore/exo #1672"),
    Recorded("M1 Max", 32 * GIB, round(21_845.34 * MIB), "ggml-org/llama.cpp #2011"),
    Recorded("M2 Max", 32 * GIB, round(21_845.34 * MIB), "ollama/ollama #434"),
    Recorded("M1 Max", 64 * GIB, 49_152 * MIB, "ggml-org/llama.cpp #1870"),
    Recorded("M2 Max", 96 * GIB, 73_728 * MIB, "ggml-org/llama.cpp #3213"),
    Recorded("M5 Max", 128 * GIB, round(107.52 * GIB), "antirez/ds4 #893"),
)
