"""What a piece of the program imports, seen from outside."""

from __future__ import annotations

import subprocess
import sys


def loaded_by(code: str) -> set[str]:
    """The modules that are there once a fresh interpreter has run `code`."""
    look = f"{code}\nimport sys\nprint()\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())
