"""A scrolling widget drawn row by row: only rows on the screen are ever made into strips."""

from __future__ import annotations

from abc import abstractmethod

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip


class Lines(ScrollView, can_focus=False):  # so that typing is writing, whatever was clicked
    """Subclasses draw `row(y)` and call `grow` when the number of rows changes.

    It follows the tail until the user scrolls up, and again once they are back at the end.
    """

    ALLOW_SELECT = True

    following = True

    @abstractmethod
    def row(self, y: int) -> Strip:
        """What stands in row `y`, in cells of any width."""

    @property
    def text_width(self) -> int:
        """Cells there are for text."""
        return max(1, self.scrollable_content_region.width)

    def grow(self, height: int, first: int = 0) -> None:
        """There are `height` rows now, new or different from row `first` on: only those are painted."""
        following = self.following
        size = Size(self.text_width, height)
        shrunk = height < self.virtual_size.height
        if size != self.virtual_size:
            self.virtual_size = size
        if following:
            self.follow()  # paints everything if that scrolls
        if shrunk:
            self.refresh()
        elif height > first:
            self.refresh_lines(first, height - first)

    def follow(self) -> None:
        self.following = True
        # Forced: it may not have the scrollbar yet that it is about to get.
        self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.following = new_value >= self.max_scroll_y

    def on_resize(self) -> None:
        if self.following:
            self.call_after_refresh(self.follow)

    # ── drawing ───────────────────────────────────────────────────────────────────────────────────

    def render_line(self, y: int) -> Strip:
        y += self.scroll_offset.y
        base = self.rich_style
        width = self.size.width
        if not 0 <= y < self.virtual_size.height:
            return Strip.blank(width, base)
        strip = self.row(y)
        if (selection := self.text_selection) and (span := selection.get_span(y)) is not None:
            strip = _selected(strip, *span, self.screen.get_component_rich_style("screen--selection"))
        return strip.crop_extend(0, width, base).apply_style(base).apply_offsets(0, y)

    # ── selecting with the mouse ──────────────────────────────────────────────────────────────────

    @property
    def allow_select(self) -> bool:
        return True

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected rows as text; only they are drawn for it."""
        first = selection.start.y if selection.start else 0
        last = selection.end.y if selection.end else self.virtual_size.height - 1
        picked: list[str] = []
        for y in range(max(0, first), min(last, self.virtual_size.height - 1) + 1):
            span = selection.get_span(y)
            if span is not None:
                start, end = span
                picked.append(self.row(y).text[start : None if end == -1 else end].rstrip())
        return ("\n".join(picked), "\n") if picked else None

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()


def _selected(strip: Strip, start: int, end: int, style: Style) -> Strip:
    """The strip with the characters from `start` to `end` (-1: all that follow) in `style`."""
    segments: list[Segment] = []
    at = 0
    for text, own, _ in strip:
        lo = min(max(start - at, 0), len(text))
        hi = len(text) if end == -1 else min(max(end - at, lo), len(text))
        for piece, chosen in ((text[:lo], False), (text[lo:hi], True), (text[hi:], False)):
            if piece:
                segments.append(Segment(piece, (own or Style.null()) + style if chosen else own))
        at += len(text)
    return Strip(segments, strip.cell_length)
