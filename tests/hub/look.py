"""What a test looks at after a pull."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hub.zygote import Zygote

Pull = Callable[..., subprocess.CompletedProcess[str]]


def cached(repo: str) -> Path:
    return Path(os.environ["HF_HOME"]) / "hub" / f"models--{repo.replace('/', '--')}"


def listed(run: Zygote) -> dict[str, Any]:
    return {entry["name"]: entry for entry in json.loads(run("list", "--json").stdout)}


def leftovers() -> list[str]:
    base = Path(os.environ["HF_HOME"]) / "hub"
    return [p.name for p in base.rglob("*") if p.name.endswith((".incomplete", ".tmp"))]


def two_sentences(stderr: str) -> bool:
    """Of the error, which is the last line: what happened, and what to do."""
    last = stderr.strip().splitlines()[-1]
    return last.startswith("localmag: ") and len(re.findall(r"[.?!](?= |$)", last)) >= 2
