"""What a chat begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmag.tui.worker import Opener

if TYPE_CHECKING:  # a database is no part of the first paint
    from localmag.sessions import Session


INVITATION = "Ask anything."


@dataclass(frozen=True, slots=True)
class Label:
    """What the status line says of the engine.

    `context` is in tokens, and so is `most`, the largest that the model could be given; 0 if not known.
    """

    model: str
    build: str = ""
    backend: str = ""
    context: int = 0
    most: int = 0

    @property
    def grows(self) -> bool:
        """Whether a larger context can be asked for."""
        return not self.most or self.context < self.most


@dataclass(frozen=True, slots=True)
class Opening:
    """A conversation to be: how it is opened, and what the screen says of it."""

    open: Opener
    label: Label
    greeting: str = ""
    invitation: str = INVITATION
    """What the box says while it is empty: a sentence."""


@dataclass(frozen=True, slots=True)
class Chats:
    """Where other conversations come from. Both are called in a thread, and raise LocalmagError."""

    earlier: Callable[[], tuple[Session, ...]]
    """Those on disk, the last one first."""
    opening: Callable[[Session | None], Opening]
    """That conversation, with what wrote it so far; None is a new one, with what writes the present one."""
