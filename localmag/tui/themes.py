"""localmag's two themes: warm orange for what is yours to act on, violet for what the model thinks."""

from __future__ import annotations

from collections.abc import Mapping

from textual.theme import Theme

DARK = Theme(
    name="localmag-dark",
    dark=True,
    primary="#ff8a3d",
    secondary="#b8a5e8",
    accent="#f2c078",
    foreground="#e4e1da",
    background="#15151a",
    surface="#1e1e25",
    panel="#282831",
    success="#8fc18a",
    warning="#f2c078",
    error="#f2777a",
)
LIGHT = Theme(
    name="localmag-light",
    dark=False,
    primary="#c2410c",
    secondary="#6247aa",
    accent="#9a5b00",
    foreground="#2a2932",
    background="#fbfaf6",
    surface="#f1eee6",
    panel="#e6e2d8",
    success="#2e7d32",
    warning="#9a5b00",
    error="#b3261e",
)


def preferred(environ: Mapping[str, str]) -> str:
    """The theme for this terminal, as far as it tells: COLORFGBG ends in its background's colour number."""
    background = environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if background in ("7", "15") else DARK.name
