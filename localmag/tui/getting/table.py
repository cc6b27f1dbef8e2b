"""One build as a row of the table: columns that give way to a narrow screen, the least needed first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from localmag import amounts
from localmag.sanitize import sanitize
from localmag.tui.getting.offers import Offer

_MARK = 2  # cells before the first column: ★ the one to take, ✓ here already
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """`width` is cells; `keep` says how long it stays: those of the lowest go first."""

    name: str
    width: int
    keep: int
    right: bool = False

    def padded(self, text: str) -> str:
        return text.rjust(self.width) if self.right else text.ljust(self.width)


_COLUMNS = (
    Column("quant", 8, 9),
    Column("context", 7, 7, right=True),
    Column("KV", 5, 2),
    Column("runs on", 9, 3),
    Column("download", 12, 8, right=True),
    Column("speed", 10, 6, right=True),
)


def columns(width: int) -> tuple[Column, ...]:
    """Those that fit into so many cells."""
    shown = list(_COLUMNS)
    while len(shown) > 1 and _width(shown) > width:
        shown.remove(min(shown, key=lambda c: c.keep))
    return tuple(shown)


def head(width: int) -> Content:
    names = (column.padded(column.name) for column in columns(width))
    return Content(" " * _MARK + (" " * _GAP).join(names))


def row(offer: Offer, width: int) -> Content:
    shown = columns(width)
    mark = "★ " if offer.chosen else "✓ " if offer.usable else "  "
    if not offer.fits:
        return _unfit(offer, shown, width)
    cells = _cells(offer)
    text = (" " * _GAP).join(column.padded(cells[column.name]) for column in shown)
    return Content.assemble((mark, "$primary" if offer.chosen else "$success"), text)


def _unfit(offer: Offer, shown: tuple[Column, ...], width: int) -> Content:
    """Greyed, the reason in place of what it would be like; a long one moves the download to the right."""
    quant, download = shown[0].padded(offer.build.quant), _download(offer)
    names = [column.name for column in shown]
    upto = names.index("download") + 1 if "download" in names else len(shown)
    beside = _MARK + len(quant) + len(download) + 2 * _GAP
    least = max(0, _width(shown[:upto]) - beside)
    why = sanitize(offer.lacks or offer.why)
    room = max(least, min(len(why), width - beside), 0)
    why = why if len(why) <= room else f"{why[: max(0, room - 1)]}…"
    text = f"{' ' * _MARK}{quant}{' ' * _GAP}{why.ljust(room)}{' ' * _GAP}{download}"
    return Content.styled(text[:width], "$foreground 45%")


def _width(shown: Sequence[Column]) -> int:
    """Cells of a row of these, its mark included."""
    return _MARK + sum(column.width + _GAP for column in shown) - _GAP


def _cells(offer: Offer) -> dict[str, str]:
    return {
        "quant": sanitize(offer.build.quant),
        "context": f"{offer.context:,}" if offer.context else "",
        "KV": offer.kv_type,
        "runs on": sanitize(offer.where),
        "download": _download(offer),
        "speed": f"~{offer.speed:.0f} tok/s"
        if offer.speed >= 1
        else f"~{offer.speed:.1f} tok/s"
        if offer.speed
        else "",
    }


def _download(offer: Offer) -> str:
    if offer.usable:
        return "here"
    if offer.here:
        return f"{amounts.size(max(0.0, offer.bytes - offer.here))} more"
    return amounts.size(offer.bytes)
