"""The reasoning pane: one line of numbers, and under it the trace of one reply."""

from __future__ import annotations

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Static

from localmag.tui.reply import Reply, State
from localmag.tui.widgets.lines import Lines
from localmag.tui.wrap import Wrapped

EMPTY = "What the model thinks before it answers appears here."


class Trace(Lines):
    """The reasoning of one reply. A token costs one re-wrapped row, however long the trace is."""

    def __init__(self) -> None:
        super().__init__()
        self.wrapped = Wrapped(1)
        self._reply: Reply | None = None
        self._seen = 0

    def show(self, reply: Reply | None) -> None:
        """Draw another reply's reasoning, from its start if it is finished."""
        self._reply = reply
        self._seen = 0
        self.wrapped = Wrapped(self.text_width)
        self.following = reply is None or not reply.state.final
        self.refresh()
        self.advance()
        if not self.following:
            self.scroll_home(animate=False, immediate=True)

    def advance(self) -> None:
        """Draw what has arrived since the last call."""
        if self._reply is None:
            self.grow(0)
            return
        fresh = self._reply.reasoning[self._seen :]
        self._seen += len(fresh)
        first = self.wrapped.append("".join(fresh))
        if first < len(self.wrapped) or self.virtual_size.height != len(self.wrapped):
            self.grow(len(self.wrapped), first)

    def on_resize(self) -> None:
        if self.wrapped.width != self.text_width:
            self.wrapped.rewrap(self.text_width)
            self.grow(len(self.wrapped))
        super().on_resize()

    def row(self, y: int) -> Strip:
        rows = self.wrapped.rows
        return Strip([Segment(rows[y])] if y < len(rows) else [])


class ReasoningPane(Vertical):
    """Header and trace; with the class `-collapsed` the header alone."""

    class Toggled(Message):
        """The header was clicked."""

    def compose(self) -> ComposeResult:
        yield Static("", id="reasoning-header", markup=False)
        yield Static(EMPTY, id="reasoning-empty", markup=False)
        yield Trace()

    @property
    def trace(self) -> Trace:
        return self.query_one(Trace)

    def show(self, reply: Reply | None) -> None:
        self.trace.show(reply)

    def draw(self, reply: Reply | None, now: float) -> None:
        """Bring header and trace up to date with the reply shown."""
        self.trace.advance()
        thinking = reply is not None and reply.state is State.THINKING
        self.set_class(thinking, "-thinking")
        self.set_class(reply is None or not reply.reasoning, "-empty")
        summary = (reply.thought(now) if reply else "") or "Reasoning"
        line = f"▸ {summary}   Ctrl+T opens it" if self.has_class("-collapsed") else f"▾ {summary}"
        header = self.query_one("#reasoning-header", Static)
        if line != str(header.content):
            header.update(line, layout=False)

    def on_click(self, event: events.Click) -> None:
        if event.widget is not None and event.widget.id == "reasoning-header":
            event.stop()
            self.post_message(self.Toggled())
