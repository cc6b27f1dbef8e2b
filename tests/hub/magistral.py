"""Repositories with the true names and tiny contents."""

from __future__ import annotations

import random

from tests.hub.server import Hub
from tests.test_gguf import small

WEIGHTS_REPO = "mistralai/Magistral-Small-2509-GGUF"
BASE_REPO = "mistralai/Magistral-Small-2509"
IMAGES_REPO = "unsloth/Magistral-Small-2509-GGUF"
IMAGES = "mmproj-F16.gguf"
WEIGHTS = "Magistral-Small-2509-Q4_K_M.gguf"


def weights(size: int = 3_000_000, seed: int = 0) -> bytes:
    """A GGUF whose one tensor is noise."""
    head = small(floats=size // 4)
    kept = len(head) - size // 4 * 4
    return head[:kept] + random.Random(seed).randbytes(size // 4 * 4)


def fill(hub: Hub, content: bytes | None = None) -> Hub:
    """Magistral Small 1.2: one build, what encodes its images, and the base repository beside it."""
    hub.add(WEIGHTS_REPO, {WEIGHTS: content or weights(), "README.md": b"# Magistral"})
    hub.add(
        BASE_REPO,
        {
            "tekken.json": b'{"config": {}}',
            "SYSTEM_PROMPT.txt": "Réfléchis. [THINK]…[/THINK]".encode(),
            "params.json": b'{"dim": 5120}',
            "consolidated.safetensors": b"never asked for",
        },
    )
    hub.add(IMAGES_REPO, {IMAGES: weights(20_000, 3)})
    return hub
