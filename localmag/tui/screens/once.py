"""Screens that are left once, whatever arrives together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.screen import Screen

if TYPE_CHECKING:
    _Base = Screen[Any]
else:  # Textual takes the first base that is a node for the only one
    _Base = object


class Once(_Base):
    """Mixed into a screen, before its base: only the first of its dismissals counts.

    Keys of one read have all been given to a screen before the first of them is handled, and each may dismiss
    it. Textual would take the second for the screen below, which is the last.
    """

    def dismiss(self, result: Any = None) -> AwaitComplete:
        return super().dismiss(result) if self.is_active else AwaitComplete()


class Palette(Once, CommandPalette):
    """Textual's."""
