"""The answer column: questions and answers, one under the other, drawn row by row.

What was drawn for another width is drawn again when it comes near the window; so neither a token nor a
resize costs more in a long conversation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip

from localmag.tui.reply import Reply
from localmag.tui.section import BLANK, STYLES, Palette, Section
from localmag.tui.widgets.lines import Lines
from localmag.tui.wrap import wrap


def component(name: str) -> str:
    """The component class of a style."""
    return f"transcript--{name.replace('_', '-')}"


class Transcript(Lines):
    """All sections, one under the other."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {component(name) for name in STYLES}

    class Picked(Message):
        """A reply was clicked."""

        def __init__(self, reply: Reply) -> None:
            super().__init__()
            self.reply = reply

    def __init__(self, greeting: str = "") -> None:
        super().__init__()
        self._greeting = greeting
        self._sections: list[Section] = []
        self._starts: list[int] = []
        self._greeting_rows: list[str] = []
        self._palette: Palette | None = None
        self._now = 0.0

    # ── what the screen calls ─────────────────────────────────────────────────────────────────────

    def add(self, replies: Sequence[Reply], now: float) -> None:
        self.draw(now)  # the last section's end: it will not be the last any more
        self._sections += [Section(reply) for reply in replies]
        self._now = now
        self._place(0)
        self.follow()
        self._draw_near()

    def load(self, replies: Sequence[Reply], now: float) -> None:
        """Draw these replies in place of all others."""
        self._sections, self._starts = [], []
        self.add(replies, now)

    def draw(self, now: float) -> None:
        """Bring the last section up to date. Costs the same however many there are."""
        self._now = now
        if not self.size:
            return
        if not self._sections:
            self._greet()
            return
        last = self._sections[-1]
        if last.width != self.text_width:
            self._draw_near()
            return
        changed = last.advance(self.palette, now)
        self.grow(self._starts[-1] + last.height, self._starts[-1] + changed)

    def _greet(self) -> None:
        rows = wrap(self._greeting, self.text_width) if self._greeting else []
        self._greeting_rows = ["localmag", "", *rows] if rows else []
        self.grow(len(self._greeting_rows))

    def choose(self, reply: Reply | None, *, show: bool) -> None:
        """Mark the reply whose reasoning is shown; `show` scrolls to it."""
        for index, section in enumerate(self._sections):
            chosen = section.reply is reply
            if chosen != section.chosen:
                section.chosen = chosen
                if section.width:
                    section.advance(self.palette, self._now)
                    self._place(index)
            if chosen and show:
                self.scroll_to(y=self._starts[index], animate=False, immediate=True, force=True)
        self.refresh()

    @property
    def palette(self) -> Palette:
        if self._palette is None:
            self._palette = Palette(self._style, dark=self.app.current_theme.dark)
        return self._palette

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(component(name))

    # ── rows ──────────────────────────────────────────────────────────────────────────────────────

    def row(self, y: int) -> Strip:
        if not self._sections:
            # Not by way of the palette, which takes its time: this is in the first paint.
            style = self._style("head" if y else "h2")
            return Strip([Segment(self._greeting_rows[y], style)])
        index = bisect_right(self._starts, y) - 1
        return self._sections[index].row(y - self._starts[index]) if index >= 0 else BLANK

    def _place(self, first: int) -> None:
        """Work out where the sections from `first` on start."""
        del self._starts[first:]
        y = self._starts[-1] + self._sections[first - 1].height if first else 0
        for section in self._sections[first:]:
            self._starts.append(y)
            y += section.height
        self.grow(y)

    def _draw_near(self) -> None:
        """Draw the sections in and around the window that are not drawn for this width yet."""
        width, window = self.text_width, self.size.height
        if not self._sections or not window or width <= 1:
            return
        top = self.scroll_offset.y
        if self.following:
            top = max(0, self._starts[-1] + self._sections[-1].height - window)
        index = max(0, bisect_right(self._starts, top) - 1)
        offset = top - self._starts[index]
        changed = False
        # Upwards from the end of the window, so that following needs no more than what it shows.
        for at in range(len(self._sections) - 1, -1, -1):
            section = self._sections[at]
            near = self._starts[at] < top + 2 * window and self._starts[at] + section.height > top - window
            if near and section.width != width:
                section.redraw(width, self.palette, self._now)
                changed = True
        if changed:
            following = self.following
            self._place(0)
            if following:
                self.follow()
            else:
                self.scroll_to(y=self._starts[index] + offset, animate=False, immediate=True, force=True)
            self.call_after_refresh(self._draw_near)
        self.refresh()

    # ── what Textual calls ────────────────────────────────────────────────────────────────────────

    def on_resize(self) -> None:
        super().on_resize()
        self._draw_near()
        self.draw(self._now)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self.is_mounted and round(old_value) != round(new_value):
            self.call_after_refresh(self._draw_near)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._palette = None
        for section in getattr(self, "_sections", ()):
            if section.width:
                section.redraw(section.width, self.palette, self._now)

    def on_click(self, event: events.Click) -> None:
        y = event.y + self.scroll_offset.y
        index = bisect_right(self._starts, y) - 1
        if 0 <= index < len(self._sections) and y < self.virtual_size.height:
            self.post_message(self.Picked(self._sections[index].reply))
