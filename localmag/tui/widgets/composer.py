"""Where the user writes: Enter sends, Ctrl+J or Shift+Enter starts a new line, up and down recall."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult

from localmag.sanitize import sanitize

HOW = "Enter sends, Ctrl+J starts a new line."
NEW_LINE = {"ctrl+j", "shift+enter", "alt+enter"}


class Composer(TextArea):
    """A text area that sends. What was sent before can be recalled; what is being written is kept."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "screen.scroll_answers(-1)", show=False),
        Binding("pagedown", "screen.scroll_answers(1)", show=False),
        Binding("ctrl+c,super+c", "screen.copy_or_quit", show=False),
    ]

    class Submitted(Message):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class StopWanted(Message):
        """Esc. A message and no binding, so that it cannot overtake the Enter before it."""

    class HelpWanted(Message):
        """`?` was typed where nothing is written."""

    def __init__(self, invitation: str) -> None:
        super().__init__(
            placeholder=f"{invitation} {HOW}",
            highlight_cursor_line=False,
            show_line_numbers=False,
            tab_behavior="focus",
        )
        self._sent: list[str] = []
        self._recalled: int | None = None
        self._draft = ""

    def remember(self, text: str) -> None:
        """Make `text` the newest of what can be recalled."""
        if text and (not self._sent or self._sent[-1] != text):
            self._sent.append(text)
        self._recalled = None

    def remember_earlier(self, texts: list[str]) -> None:
        """What was sent in earlier sessions comes before what was sent in this one."""
        self._sent[:0] = [text for text in texts if text]

    def set_aside(self) -> None:
        """Empty the box; what was being written can be recalled."""
        if self.text.strip():
            self.remember(self.text)
        self._draft = ""
        self.load_text("")

    def put_back(self, text: str) -> None:
        """Return unsent text, before whatever is being written."""
        self.load_text("\n\n".join(part for part in (text, self.text) if part.strip()))
        self.move_cursor(self.document.end)

    def edit(self, edit: Edit) -> EditResult:
        """What is typed or pasted is made safe to show, and sent as it is shown."""
        edit.text = sanitize(edit.text)
        return super().edit(edit)

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            self._take(event)
            self._submit()
        elif event.key == "escape":
            self._take(event)
            self.post_message(self.StopWanted())
        elif event.key in NEW_LINE:
            self._take(event)
            self._replace_via_keyboard("\n", *self.selection)
        elif event.character == "?" and not self.text:
            self._take(event)
            self.post_message(self.HelpWanted())
        elif event.key == "up" and self.navigator.is_first_wrapped_line(self.cursor_location):
            self._take(event)
            self._recall(-1)
        elif event.key == "down" and self.navigator.is_last_wrapped_line(self.cursor_location):
            self._take(event)
            self._recall(1)
        else:
            await super()._on_key(event)

    def _take(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()

    def _submit(self) -> None:
        text = self.text
        if not text.strip():
            return
        self.remember(text)
        self.load_text("")
        self.post_message(self.Submitted(text))

    def _recall(self, step: int) -> None:
        shown = self._recalled if self._recalled is not None else len(self._sent)
        if shown == len(self._sent) or self.text != self._sent[shown]:
            self._draft = self.text  # also what a recalled message was turned into
        at = min(max(0, shown + step), len(self._sent))
        if at == shown:
            return
        self._recalled = at if at < len(self._sent) else None
        self.load_text(self._draft if self._recalled is None else self._sent[at])
        self.move_cursor(self.document.end)
