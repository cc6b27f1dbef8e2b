"""What machines of several kinds say of themselves, as their tools print it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from localmag.hardware.limits import Limit
from localmag.hardware.probes import Output, Probes

GIB = 2**30
MIB = 2**20


def ggml(backends: str, *devices: tuple[str, str, str, int, int]) -> Output:
    """engines/devices.py's answer; each device is name, description, backend, MiB free and in all."""
    told: list[dict[str, Any]] = [
        {
            "name": name,
            "description": description,
            "backend": backend,
            "type": "cpu" if backend == "CPU" else "accel" if backend == "BLAS" else "gpu",
            "free": free * MIB,
            "total": total * MIB,
        }
        for name, description, backend, free, total in devices
    ]
    return Output(json.dumps({"backends": backends.split(), "devices": told}))


def integrated(output: Output) -> Output:
    """The same, of GPUs without memory of their own."""
    return replace(output, text=output.text.replace('"gpu"', '"igpu"'))


def sized(probes: Probes, cores: int, threads: int, total: int, free: int) -> Probes:
    """The same with so many cores and threads, and GiB of memory: in all, and free."""
    return replace(probes, cores=cores, threads=threads, memory_total=total * GIB, memory_free=free * GIB)


CPU_ONLY = ggml("CPU", ("CPU", "some CPU", "CPU", 0, 0))
PC = Probes(system="Linux", machine="x86_64", disk_free=800 * GIB, ggml=CPU_ONLY)
LINUX = sized(replace(PC, cpu="AMD Ryzen 9 7950X 16-Core Processor"), 16, 32, 64, 57)
LAPTOP = sized(replace(PC, cpu="11th Gen Intel(R) Core(TM) i5-1135G7 @ 2.40GHz"), 4, 8, 8, 5)
CONTAINER = replace(LINUX, limit=Limit(16 * GIB, 12 * GIB))

# ── NVIDIA ────────────────────────────────────────────────────────────────────────────────────────

_4090 = "NVIDIA GeForce RTX 4090, 24564, 24101, 550.54.14\n"
_3090 = "NVIDIA GeForce RTX 3090, 24576, 24253, 550.54.14\n"
SMI_4090 = Output(_4090)
SMI_4090_WINDOWS = Output("NVIDIA GeForce RTX 4090, 24564, 22994, 572.83\r\n")
SMI_TWO = Output(_4090 + _3090)
SMI_PAIR = Output(_3090 * 2)
SMI_SPARK = Output("NVIDIA GB10, [N/A], [N/A], 580.95.05\n")
SMI_NO_DRIVER = Output(
    problem="NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the"
    " latest NVIDIA driver is installed and running."
)

CUDA_4090 = ("CUDA0", "NVIDIA GeForce RTX 4090", "CUDA", 23818, 24081)
RTX_4090 = replace(LINUX, ggml=ggml("CUDA CPU", CUDA_4090), nvidia_smi=SMI_4090)
RTX_4090_WINDOWS = replace(RTX_4090, system="Windows", machine="AMD64", nvidia_smi=SMI_4090_WINDOWS)
RTX_4090_ON_CPU_BUILD = replace(LINUX, nvidia_smi=SMI_4090)
TWO_GPUS = replace(
    LINUX,
    ggml=ggml("CUDA CPU", CUDA_4090, ("CUDA1", "NVIDIA GeForce RTX 3090", "CUDA", 23980, 24124)),
    nvidia_smi=SMI_TWO,
)
SPARK = replace(
    sized(LINUX, 16, 32, 119, 110),
    machine="aarch64",
    ggml=integrated(ggml("CUDA CPU", ("CUDA0", "NVIDIA GB10", "CUDA", 115000, 122500))),
    nvidia_smi=SMI_SPARK,
)

# ── AMD, Intel ────────────────────────────────────────────────────────────────────────────────────

VULKANINFO = Output(
    "Devices:\n========\nGPU0:\n\tapiVersion         = 1.3.289\n\tvendorID           = 0x1002\n"
    "\tdeviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU\n"
    "\tdeviceName         = AMD Radeon RX 7900 XTX (RADV NAVI31)\n"
    "GPU1:\n\tdeviceType         = PHYSICAL_DEVICE_TYPE_CPU\n\tdeviceName         = llvmpipe (LLVM 17.0.6)\n"
)
VULKAN_7900 = ("Vulkan0", "AMD Radeon RX 7900 XTX (RADV NAVI31)", "Vulkan", 24124, 24560)
RADEON = replace(LINUX, ggml=ggml("Vulkan CPU", VULKAN_7900), vulkaninfo=VULKANINFO)
RADEON_ON_CPU_BUILD = replace(LINUX, vulkaninfo=VULKANINFO)
IRIS = replace(
    LAPTOP,
    ggml=integrated(
        ggml("Vulkan CPU", ("Vulkan0", "Intel(R) Iris(R) Xe Graphics (TGL GT2)", "Vulkan", 5700, 5813))
    ),
)

# ── Apple ─────────────────────────────────────────────────────────────────────────────────────────


def sysctl(name: str, wired: int = 0, translated: int = 0) -> Output:
    return Output(
        f"machdep.cpu.brand_string: {name}\niogpu.wired_limit_mb: {wired}\n"
        f"sysctl.proc_translated: {translated}\n"
    )


def metal(name: str, working_set: int) -> Output:
    """As a Metal build of llama.cpp says it; `working_set` in MiB."""
    return ggml(
        "MTL BLAS CPU",
        ("MTL0", name, "MTL", working_set, working_set),
        ("BLAS", "Accelerate", "BLAS", 0, 0),
        ("CPU", name, "CPU", 0, 0),
    )


def apple(chip: str, working_set: int) -> Probes:
    """A Mac with a Metal build; `working_set` as in `metal`."""
    return Probes(
        system="Darwin",
        machine="arm64",
        disk_free=300 * GIB,
        ggml=metal(chip, working_set),
        sysctl=sysctl(chip),
    )


M2 = sized(apple("Apple M2", 21845), 4, 8, 32, 24)
M4_MAX = replace(sized(apple("Apple M4 Max", 110100), 12, 16, 128, 115), mlx=True)
ROSETTA = replace(
    M2,
    machine="x86_64",
    ggml=CPU_ONLY,
    sysctl=sysctl("VirtualApple @ 2.50GHz processor", translated=1),
)
