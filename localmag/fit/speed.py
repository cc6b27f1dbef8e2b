"""How fast it will write: weights are read once for every token, so memory's bandwidth is the limit.

tokens/s = 1 / (a fixed time + Σ over places of (bytes read there for a token) / (bandwidth × efficiency))

A token reads the layers, the output layer, of a mixture the active experts only, and the KV cache as far as
it is filled; here it is empty, so long conversations are slower. Bandwidths are the makers' own.
"""

from __future__ import annotations

import re

from localmag.hardware import Machine

EFFICIENCY = 0.7
"""Of the bandwidth, what decoding reaches: 0.6 to 0.85 in what llama.cpp's users report."""

FIXED = 0.25e-3
"""Seconds of every token that no bandwidth explains: to start the graph, and to draw from the logits. The
demo, whose weights are read in 0.08 ms, takes 0.33 ms (docs/log.md: 3,022 tokens/s)."""

ASSUMED = 50e9
"""Bytes per second of memory that says nothing of itself: two channels of DDR4-3200 (51.2 GB/s)."""

_GBPS: tuple[tuple[str, int], ...] = (
    # NVIDIA's data sheets; a laptop's card before its namesake
    (r"RTX 5090 Laptop", 896), (r"RTX 5080 Laptop", 896), (r"RTX 5070 Ti Laptop", 672),
    (r"RTX 50[67]0 Laptop", 384), (r"RTX 4060 Laptop", 256), (r"RTX 4050", 192), (r"RTX 30[78]0 Laptop", 384),
    (r"RTX 3060 Laptop", 336), (r"RTX 3050", 168),
    (r"RTX 5090", 1792), (r"RTX 5080", 960), (r"RTX 5070 Ti", 896), (r"RTX 5070", 672), (r"RTX 5060", 448),
    (r"RTX 4090 Laptop", 576), (r"RTX 4090", 1008), (r"RTX 4080 Laptop", 432), (r"RTX 4080", 717),
    (r"RTX 4070 Laptop", 256), (r"RTX 4070 Ti SUPER", 672), (r"RTX 4070", 504), (r"RTX 4060 Ti", 288),
    (r"RTX 4060", 272), (r"RTX 3090", 936), (r"RTX 3080", 760), (r"RTX 3070", 448), (r"RTX 3060", 360),
    (r"RTX 6000 Ada", 960), (r"RTX A6000", 768), (r"H200", 4800), (r"H100", 3350), (r"A100", 1555),
    (r"L40S", 864), (r"L4\b", 300), (r"T4\b", 320), (r"GB10", 273),
    # AMD's
    (r"7900 XTX", 960), (r"7900 XT", 800), (r"7800 XT", 624), (r"9070", 640), (r"6900 XT", 512),
    # Apple's; of two sizes of a chip the slower
    (r"M5 Max", 460), (r"M5 Pro", 307), (r"M5", 153), (r"M4 Max", 410), (r"M4 Pro", 273), (r"M4", 120),
    (r"M3 Ultra", 819), (r"M3 Max", 300), (r"M3 Pro", 150), (r"M3", 100), (r"M2 Ultra", 800),
    (r"M2 Max", 400), (r"M2 Pro", 200), (r"M2", 100), (r"M1 Ultra", 800), (r"M1 Max", 400),
    (r"M1 Pro", 200), (r"M1", 68),
)  # fmt: skip


def bandwidth(name: str) -> float:
    """Bytes per second of the device of that name, 0 if it is not known."""
    return next((gbps * 1e9 for model, gbps in _GBPS if re.search(rf"{model}", name)), 0.0)


def of_memory(machine: Machine) -> float:
    """Bytes per second of a machine's own memory: known for Apple's chips, assumed for others."""
    return (bandwidth(machine.cpu) if machine.apple_silicon else 0.0) or ASSUMED


def decode(read: list[tuple[int, float]]) -> float:
    """Tokens per second from (bytes read for a token, bandwidth) of each place; 0 if one is not known."""
    if any(rate <= 0 for size, rate in read if size):
        return 0.0
    seconds = sum(size / (rate * EFFICIENCY) for size, rate in read if size)
    return 1 / (FIXED + seconds) if seconds else 0.0
