"""What the screen remembers from one run to the next."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from localmag import paths
from localmag.errors import WrongUsage


def reasoning_open() -> bool | None:
    """What was last chosen with Ctrl+T; None where nothing was, or where it cannot be read."""
    with suppress(WrongUsage, OSError, ValueError, AttributeError):
        chosen = json.loads(_file().read_bytes()).get("reasoning_open")
        return chosen if isinstance(chosen, bool) else None
    return None


def remember_reasoning_open(chosen: bool | None) -> None:
    """None forgets the choice. What cannot be written is not remembered: it is no more than a convenience."""
    with suppress(WrongUsage, OSError):
        _file().write_text(json.dumps({"reasoning_open": chosen}), encoding="utf-8")


def _file() -> Path:
    return paths.data() / "screen.json"
