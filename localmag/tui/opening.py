"""What a chat begins with."""

from __future__ import annotations

from dataclasses import dataclass

from localmag.tui.worker import Opener


@dataclass(frozen=True, slots=True)
class Label:
    """What the status line says of the engine. `context` is in tokens, 0 if not known."""

    model: str
    build: str = ""
    backend: str = ""
    context: int = 0


@dataclass(frozen=True, slots=True)
class Opening:
    """A conversation to be: how it is opened, and what the screen says of it."""

    open: Opener
    label: Label
    greeting: str = ""
