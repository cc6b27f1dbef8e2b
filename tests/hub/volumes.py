"""Disks of a test's own: a tmpfs of any size, mounted where only the programs that run in it can see it.

Linux lets root do so, and on most machines any user (in a namespace of that user's).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest


def script(folder: Path, options: str, lines: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run lines of sh where `folder` is a volume mounted with these options. `$LOCALMAG` is the program."""
    if not _possible():
        pytest.skip("this system lets no test mount a disk")
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [*_namespace(), "sh", "-c", f'mount -t tmpfs -o {options} tmpfs "$VOLUME" || exit 99\n{lines}'],
        env={**os.environ, "VOLUME": str(folder), "LOCALMAG": f"{sys.executable} -m localmag"},
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=timeout, check=False,
    )  # fmt: skip


def _namespace() -> list[str]:
    alone = ["unshare", "--mount"]
    return alone if hasattr(os, "geteuid") and os.geteuid() == 0 else [*alone, "--user", "--map-root-user"]


@cache
def _possible() -> bool:
    if not shutil.which("unshare"):
        return False
    trial = [*_namespace(), "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0
