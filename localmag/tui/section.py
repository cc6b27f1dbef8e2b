"""One question and its reply as rows of the answer column.

Closed blocks of an answer are drawn once and kept; the open block is drawn again with every frame while
it is short, and as plain text, appended to, once it is long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from localmag.tui.blocks import Block, Blocks
from localmag.tui.reply import Reply, State
from localmag.tui.wrap import Wrapped, wrap

LONG_BLOCK = 1000
LONG_FENCE = 300
"""Characters from which an open block, or fence, is drawn as plain text until it closes."""
WIDEST = 100
"""Cells of a row of text at most: longer rows are hard to read."""
MARGIN = 2

NOTES_SHOWN = 3
"""Notes drawn under a reply; a broken model may cause one with every token."""

BLANK = Strip([])
_MARKDOWN = ("h1", "h2", "h3", "h4", "code", "code_block", "block_quote", "math", "link", "link_url", "hr")
STYLES = ("bar", "question", "head", "chosen", "note", "error", *_MARKDOWN)


class Palette:
    """The styles of one theme at one moment."""

    def __init__(self, style: Callable[[str], Style], *, dark: bool) -> None:
        """`style` gives the style of a name in `STYLES`."""
        self.bar = style("bar")
        self.question = style("question")
        self.question_bar = self.question + Style(color=self.bar.color)
        self.head = style("head")
        self.chosen = style("chosen")
        self.note = style("note")
        self.error = style("error")
        styles = {name: style(name) for name in _MARKDOWN}
        for name in ("h5", "h6"):
            styles[name] = styles["h4"]
        styles["item.bullet"] = styles["item.number"] = self.bar
        styles["table.border"] = self.head
        styles["table.header"] = Style(bold=True)
        from localmag.tui.markdown import Renderer  # heavy, and the first paint has no answer to draw

        self.renderer = Renderer(styles, dark=dark)


class Section:
    """One reply as rows: question, head line, body, open block, notes."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.chosen = False
        self.width = 0
        self._guess = 4 + (len(reply.question) + sum(map(len, reply.answer))) // 60
        self._blocks = Blocks()
        self._closed: list[Block] = []
        self._seen = 0
        self._finished = False
        self._question: list[Strip] = []
        self._head: list[Strip] = []
        self._body: list[Strip] = []
        self._tail: list[Strip] = []
        self._plain: Wrapped | None = None
        self._foot: list[Strip] = []

    @property
    def height(self) -> int:
        if not self.width:
            return self._guess
        plain = len(self._plain) + 1 if self._plain else 0
        tail = plain or len(self._tail)
        return len(self._question) + len(self._head) + len(self._body) + tail + len(self._foot)

    def row(self, y: int) -> Strip:
        if not self.width:
            return BLANK
        for rows in (self._question, self._head, self._body):
            if y < len(rows):
                return rows[y]
            y -= len(rows)
        if self._plain is not None:
            if y <= len(self._plain):
                return _plain(self._plain.rows[y - 1]) if y else BLANK
            y -= len(self._plain) + 1
        elif y < len(self._tail):
            return self._tail[y]
        else:
            y -= len(self._tail)
        return self._foot[y] if y < len(self._foot) else BLANK

    # ── drawing ───────────────────────────────────────────────────────────────────────────────────

    def redraw(self, width: int, palette: Palette, now: float) -> None:
        """Draw everything, for a width or a palette that is new."""
        self.width = width
        self._question = self._draw_question(palette)
        self._body = []
        self._add(self._closed, palette)
        if self._plain is not None:
            self._plain.rewrap(self._measure)
        self.advance(palette, now, fresh=True)

    def advance(self, palette: Palette, now: float, *, fresh: bool = False) -> int:
        """Draw what has arrived since the last call; `fresh` draws the open block though nothing has.

        Returns the first row that changed.
        """
        arrived = "".join(self.reply.answer[self._seen :])
        self._seen = len(self.reply.answer)
        closed = self._blocks.feed(arrived) if arrived else []
        if self.reply.state.final and not self._finished:
            self._finished = True
            closed += self._blocks.finish()
        self._closed += closed
        changed = self.height - len(self._foot)
        if closed or arrived or fresh:
            changed = len(self._question) + len(self._head) + len(self._body)
            if not closed and self._plain is not None:
                changed += len(self._plain)
            self._add(closed, palette)
            self._draw_tail(arrived, palette, restart=bool(closed))
        head = self._draw_head(palette, now)
        if head != self._head:
            self._head = head
            changed = len(self._question)
        self._foot = self._draw_foot(palette)
        return changed

    @property
    def _measure(self) -> int:
        return max(8, min(self.width - MARGIN, WIDEST))

    def _draw_question(self, palette: Palette) -> list[Strip]:
        if not self.reply.question:
            return []
        room = max(1, self.width - 3)
        rows = []
        for line in self.reply.question.expandtabs(4).split("\n"):
            for row in wrap(line, room):
                fill = " " * max(0, room + 1 - cell_len(row.rstrip()))
                text = Segment(f" {row.rstrip()}{fill}", palette.question)
                rows.append(Strip([Segment("▌", palette.question_bar), text]))
        return rows

    def _draw_head(self, palette: Palette, now: float) -> list[Strip]:
        state = self.reply.state
        line = self.reply.thought(now)
        if state in (State.WAITING, State.LOADING, State.READING):
            line = f"{self.reply.progress()}…"
        if not line:
            return []
        mark = "●" if self.chosen else "○"
        style = palette.chosen if self.chosen else palette.head
        return [BLANK, _plain(f"{mark} {line}", style)]

    def _add(self, blocks: Sequence[Block], palette: Palette) -> None:
        for block in blocks:
            self._body += self._draw_block(block, palette, first=not self._body)

    def _draw_block(self, block: Block, palette: Palette, *, first: bool) -> list[Strip]:
        rows = palette.renderer.rows(block, self._measure, Style.null())
        strips = [Strip([Segment(" " * MARGIN), *row]) for row in rows]
        return strips if not strips or (block.joined and not first) else [BLANK, *strips]

    def _draw_tail(self, arrived: str, palette: Palette, *, restart: bool) -> None:
        if restart:
            self._plain = None
        if self._plain is not None:
            self._plain.append(arrived)
            return
        tail = self._blocks.tail
        if len(tail.source) > (LONG_FENCE if self._blocks.in_fence else LONG_BLOCK):
            self._plain = Wrapped(self._measure)
            self._plain.append(tail.source)
        self._tail = [] if self._plain else self._draw_block(tail, palette, first=not self._body)

    def _draw_foot(self, palette: Palette) -> list[Strip]:
        if not self.width:
            return []
        rows: list[Strip] = []
        notes = self.reply.notes[:NOTES_SHOWN]
        if more := len(self.reply.notes) - len(notes):
            notes.append(f"… and {more:,} more like these")
        lines = [("\n".join(notes), palette.note)] if notes else []
        if ending := self.reply.ending():
            lines.append((ending, palette.error if self.reply.state is State.FAILED else palette.note))
        for text, style in lines:
            rows.append(BLANK)
            for line in text.expandtabs(4).split("\n"):
                rows += [_plain(row, style) for row in wrap(line, self._measure)]
        return [*rows, BLANK]


def _plain(text: str, style: Style | None = None) -> Strip:
    return Strip([Segment(" " * MARGIN), Segment(text.rstrip(), style)])
