"""The chat screen: sends what is written, draws what comes back, keeps nothing of its own."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from localmag.errors import ContextTooSmall, LocalmagError, WrongUsage
from localmag.sanitize import sanitize
from localmag.tui import memory
from localmag.tui.opening import INVITATION, Label
from localmag.tui.reply import Reply, State, percent, rate, seconds
from localmag.tui.widgets.composer import Composer
from localmag.tui.widgets.reasoning import ReasoningPane
from localmag.tui.widgets.status import Figures, StatusLine
from localmag.tui.widgets.transcript import Transcript
from localmag.tui.worker import Began, Doing, Ended, Failed, Fitted, Note, Opened, Opener, Turns
from localmag.types import Done, Loading

FRAME_S = 0.06
"""Seconds between two drawings of what streams in."""
TICK_S = 0.25
"""Seconds between two drawings while only the clocks move."""
KEEP_S = 0.5
"""Age that unsent text may reach before it is written down."""
QUIT_S = 3.0
"""Seconds in which a second Ctrl+C quits."""
NOTICE_S = 20.0
"""Seconds that a sentence of some weight stays."""
TIGHT = 0.85
"""Share of the context from which it is said that it is nearly full."""
WIDE = 100
"""Columns from which the reasoning stands beside the answer."""


class ChatScreen(Screen[None]):
    AUTO_FOCUS = "Composer"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop the reply"),
        Binding("ctrl+t", "toggle_reasoning", "Show or hide the reasoning", priority=True),
        Binding("alt+up,ctrl+up", "step(-1)", "Earlier reply", priority=True),
        Binding("alt+down,ctrl+down", "step(1)", "Later reply", priority=True),
        Binding("pageup", "scroll_answers(-1)", "Scroll the answers up", show=False),
        Binding("pagedown", "scroll_answers(1)", "Scroll the answers down", show=False),
        Binding("shift+pageup,alt+pageup", "scroll_reasoning(-1)", "Scroll the reasoning up", priority=True),
        Binding("shift+pagedown,alt+pagedown", "scroll_reasoning(1)", "Scroll it down", priority=True),
        Binding("f2", "copy_answer", "Copy the answer"),
        Binding("f3", "copy_reasoning", "Copy the reasoning"),
        Binding("ctrl+n", "app.new_conversation", "New conversation"),
        Binding("ctrl+o", "app.earlier_conversations", "Earlier conversations"),
        Binding("f1", "app.help", "Keys"),
        Binding("ctrl+c", "copy_or_quit", "Stop; twice: quit", show=False),
    ]

    class Woken(Message):
        """There are notes to draw."""

    def __init__(
        self, open_conversation: Opener, label: Label, greeting: str = "", invitation: str = INVITATION
    ) -> None:
        super().__init__()
        self.greeting = greeting
        self._invitation = invitation
        self.clock = time.monotonic
        self.label = label
        self.turns = Turns(open_conversation, lambda: self.post_message(self.Woken()))
        self.replies: list[Reply] = []
        self.current: Reply | None = None
        self.chosen: Reply | None = None
        self.queued: list[str] = []
        self.opened = False
        self.leaving = False
        """Whether another conversation is about to take the place of this one: nothing is sent any more."""
        self.opening_error: LocalmagError | None = None
        self.aside = ""
        """What goes on behind the chat, in a word or two: a pull."""
        self.reasoning_open: bool | None = None
        """What the user chose with Ctrl+T; None leaves it to the width and the state."""
        self._doing = ""
        self._loaded: float | None = None
        self._begun = False
        self._frame: Timer | None = None
        self._keeping: Timer | None = None
        self._quit_asked = -QUIT_S
        self._stopping: object = None
        """What was to be stopped last: if that takes its time, Ctrl+C is for more than that."""

    def compose(self) -> ComposeResult:
        # As the first paint will have it: restyling costs that paint a second layout.
        wide = self._wide
        shown = wide if self.reasoning_open is None else self.reasoning_open
        self.set_class(wide, "-wide")
        self.set_class(not shown, "-collapsed")
        with Container(id="body"):
            yield Transcript(self.greeting)
            yield ReasoningPane(classes="-empty" if shown else "-empty -collapsed")
        yield Static("", id="queue", markup=False)
        yield Composer(self._invitation)
        yield StatusLine()

    def on_mount(self) -> None:
        self.transcript = self.query_one(Transcript)
        self.pane = self.query_one(ReasoningPane)
        self.composer = self.query_one(Composer)
        self.status = self.query_one(StatusLine)
        self._ticker = self.set_interval(TICK_S, self.draw, pause=True)
        self.draw()

    def start(self) -> None:
        """Open the conversation: a database, an engine, so not before the first paint."""
        self.call_after_refresh(self.turns.start)

    def on_resize(self) -> None:
        self.draw()
        self._lift_soon()

    # ── notes: the one place where what happened becomes what is shown ────────────────────────────

    @on(Woken)
    def _schedule(self) -> None:
        """Draw soon: whatever else arrives until then is drawn along with it."""
        if self._frame is None:
            self._frame = self.set_timer(FRAME_S, self._drain)

    def _drain(self) -> None:
        self._frame = None
        now = self.clock()
        for note in self.turns.drain():
            self._take(note, now)
        self.draw()

    def _take(self, note: Note, now: float) -> None:
        match note:
            case Doing(what):
                self._doing = what
            case Opened(earlier, unsent):
                self._doing = ""
                self._show_earlier(earlier, now)
                if unsent:
                    self.composer.put_back(unsent)
                self._keep_soon()
            case Began():
                self._begun = True
            case Failed(error, taken):
                self._doing = ""
                self._fail(error, taken, now)
            case Ended():
                self._end(now)
            case Fitted(context, notes):
                self._doing = ""
                most = context if context < self.label.context else self.label.most
                self.label = replace(self.label, context=context, most=most)
                for line in notes:
                    self.notify(sanitize(line), severity="warning", timeout=NOTICE_S)
            case event:
                if isinstance(event, Loading):
                    self._loaded = event.fraction
                if self.current is not None:
                    if isinstance(event, Done):
                        self.current.room, self.current.grows = self.label.context, self.label.grows
                    self.current.fold(event, now)

    def _show_earlier(self, earlier: tuple[Reply, ...], now: float) -> None:
        self.opened = True
        self.opening_error = None
        if not earlier:
            return
        self.replies = [*earlier, *self.replies]
        self.transcript.load(self.replies, now)
        self.composer.remember_earlier([reply.question for reply in earlier])
        self._choose(self.replies[-1])

    def _fail(self, error: LocalmagError, taken: bool, now: float) -> None:
        if isinstance(error, ContextTooSmall) and not self.label.grows:  # which the engine cannot tell
            error = ContextTooSmall(error.what, "Shorten the message, or begin a new conversation (Ctrl+N).")
        if self.current is None:
            notice = Reply("", now)
            notice.fail(error, now)
            self.replies.append(notice)
            self.transcript.add([notice], now)
        elif self._begun:
            self.current.fail(error, now)
            if not taken or (isinstance(error, WrongUsage) and not self.current.arrived):
                self._give_back(self.current, now)
        # Otherwise a message waits for a conversation that did not open: opening is tried again for it.
        if not self.opened:
            self.opening_error = error

    def _give_back(self, reply: Reply, now: float) -> None:
        """What was refused, and is told to no model, is the user's to change and send again."""
        self.composer.put_back("\n\n".join([self.turns.take_back() or reply.question, *self.queued]))
        self.queued.clear()
        reply.question = ""
        self.transcript.load(self.replies, now)
        self._choose(reply)

    def _send(self, text: str) -> None:
        now = self.clock()
        reply = Reply(text, now)
        self._begun = False
        self.current = reply
        self.replies.append(reply)
        self.transcript.add([reply], now)
        self._choose(reply)
        self._ticker.resume()
        self.turns.send(text)

    def _end(self, now: float) -> None:
        reply, self.current = self.current, None
        assert reply is not None
        reply.cut(now)
        self._loaded = None  # who still watches it load says so again
        self._ticker.pause()
        self._keep_soon()
        if not self.queued or self.leaving:
            return
        if reply.state is State.DONE:
            self._send(self.queued.pop(0))
        else:
            # They were written for a reply that did not come about: the user's to send again, or not.
            self.composer.put_back("\n\n".join(self.queued))
            self.queued.clear()

    # ── drawing ───────────────────────────────────────────────────────────────────────────────────

    def draw(self) -> None:
        """Bring every widget up to date with the replies."""
        now = self.clock()
        self._fold_pane()
        self.transcript.draw(now)
        self.pane.draw(self.chosen, now)
        self.status.draw(self._figures(now))
        waiting = self.query_one("#queue", Static)
        line = f"{len(self.queued)} to send next: {first_line(self.queued[0])}" if self.queued else ""
        if line != str(waiting.content):
            waiting.update(line)
            waiting.display = bool(line)
            self._lift_soon()

    def _fold_pane(self) -> None:
        """Open or collapse the reasoning: as the user chose, else beside always, stacked while it thinks."""
        shown = self.reasoning_open if self.reasoning_open is not None else self._opens_by_itself()
        self.set_class(self._wide, "-wide")
        self.set_class(not shown, "-collapsed")
        self.pane.set_class(not shown, "-collapsed")

    @property
    def _wide(self) -> bool:
        return self.app.size.width >= WIDE

    def _opens_by_itself(self) -> bool:
        return self._wide or (self.chosen is not None and self.chosen.state is State.THINKING)

    def _choose(self, reply: Reply | None, *, show: bool = False) -> None:
        self.chosen = reply
        self.pane.show(reply)
        self.transcript.choose(reply, show=show)

    def _figures(self, now: float) -> Figures:
        reply = self.current
        last = reply or next((r for r in reversed(self.replies) if r.question or r.error), None)
        if self._doing:
            state, mood = self._doing, "busy"
        elif reply is not None:
            state, mood = self._loading() or reply.progress(), "busy"
        elif self.opening_error is not None:
            state, mood = "failed", "failed"
        elif not self.opened:
            state, mood = "starting", "busy"
        elif loading := self._loading():
            state, mood = loading, "busy"
        elif last is None:
            state, mood = "ready", "idle"
        else:
            state, mood = last.state.value, "failed" if last.state is State.FAILED else "idle"
        speed = last.tokens_per_second(now) if last else None
        first = last.first_token_s if last else None
        used, whole = self._context_used(), self.label.context
        stop = "Esc skip" if self._doing else "Esc stop" if reply else ""
        tight = bool(whole) and used >= TIGHT * whole
        return Figures(
            state=f"● {state}",
            mood=mood,
            model=sanitize(self.label.model),
            build=sanitize(self.label.build),
            backend=self.label.backend,
            context=f"context {used:,}{f' / {whole:,}' if whole else ''}" if used or whole else "",
            share=f"({used / whole:.0%}{', nearly full' if tight else ''})" if whole else "",
            tight=tight,
            first=f"first token {seconds(first)}" if first is not None else "",
            speed=f"{rate(speed)} tok/s" if speed else "",
            aside=self.aside,
            menu="" if stop else "Ctrl+P menu",
            keys="" if stop else "F1 keys",
            stop=stop,
        )

    def _loading(self) -> str:
        """What the engine reports of itself, apart from any reply."""
        if (
            self._loaded is None
            or self._loaded >= 1
            or (self.current and self.current.state is not State.WAITING)
        ):
            return ""
        return f"loading {percent(self._loaded)}"

    def _context_used(self) -> int:
        """Tokens, as the last reply that knows tells; a question that waits knows nothing yet."""
        return next(filter(None, (reply.context_used() for reply in reversed(self.replies))), 0)

    # ── what is not sent yet ──────────────────────────────────────────────────────────────────────

    @on(Composer.Changed)
    def _lift_soon(self) -> None:
        self.call_after_refresh(self._lift_toasts)

    def _lift_toasts(self) -> None:
        """Have what is told for a while stand above the box that is being written in."""
        line = self.query_one("#queue")
        top = (line if line.display else self.composer).region.y
        for rack in self.query("ToastRack"):
            rack.styles.margin = (0, 0, max(1, self.size.height - top), 0)

    @on(Composer.Changed)
    def _keep_soon(self) -> None:
        """Have what is written kept within `KEEP_S`: nobody knows when this ends."""
        if self._keeping is None and self.opened:
            self._keeping = self.set_timer(KEEP_S, self._keep)

    def _keep(self) -> None:
        self._keeping = None
        self.turns.keep(self.unsent)

    @property
    def is_new(self) -> bool:
        """Whether it is open and nothing was said in it."""
        return self.opened and not any(reply.question for reply in self.replies)

    @property
    def unsent(self) -> str:
        """What was written and never sent."""
        return "\n\n".join(part for part in (*self.queued, self.composer.text) if part.strip())

    # ── what the user does ────────────────────────────────────────────────────────────────────────

    @on(Composer.Submitted)
    def _submitted(self, message: Composer.Submitted) -> None:
        if self.current is not None or self.leaving:
            self.queued.append(message.text)
        else:
            self._send(message.text)
        self.draw()

    @on(Composer.HelpWanted)
    def _help_wanted(self) -> None:
        self.app.run_worker(self.app.run_action("help"))

    @on(Transcript.Picked)
    def _picked(self, message: Transcript.Picked) -> None:
        self._choose(message.reply)
        self.draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that arrive together may be for a screen that is not composed yet."""
        return self.is_mounted and super().check_action(action, parameters)

    @on(ReasoningPane.Toggled)
    def action_toggle_reasoning(self) -> None:
        wanted = self.has_class("-collapsed")
        self.reasoning_open = None if wanted == self._opens_by_itself() else wanted
        memory.remember_reasoning_open(self.reasoning_open)
        self.draw()

    @on(Composer.StopWanted)
    def action_stop(self) -> None:
        if self._doing or self.current is not None:
            self.turns.stop()
            return
        if self.replies and self.chosen is not self.replies[-1]:
            self._choose(self.replies[-1])
            self.transcript.follow()
            self.draw()
        self.composer.focus()

    def action_step(self, by: int) -> None:
        replies = [reply for reply in self.replies if reply.question]
        if not replies:
            return
        at = replies.index(self.chosen) if self.chosen in replies else len(replies) - 1
        self._choose(replies[min(max(at + by, 0), len(replies) - 1)], show=True)
        self.draw()

    def action_scroll_answers(self, pages: int) -> None:
        self.transcript.scroll_relative(y=pages * max(1, self.transcript.size.height - 2), animate=False)

    def action_scroll_reasoning(self, pages: int) -> None:
        trace = self.pane.trace
        trace.scroll_relative(y=pages * max(1, trace.size.height - 2), animate=False)

    def action_copy_answer(self) -> None:
        self._copy("answer", self.chosen.answer_text if self.chosen else "")

    def action_copy_reasoning(self) -> None:
        self._copy("reasoning", self.chosen.reasoning_text if self.chosen else "")

    def _copy(self, what: str, text: str) -> None:
        if not text:
            self.notify(f"There is no {what} to copy yet.", severity="warning")
            return
        self.app.copy_to_clipboard(text)
        self.notify(f"The {what} was sent to the terminal's clipboard ({len(text):,} characters).")

    def action_copy_or_quit(self) -> None:
        """Ctrl+C: copy what is selected, else stop the reply, else clear the box; at last, twice: quit."""
        selected = self.get_selected_text() or self.composer.selected_text
        busy = self.current or self._doing
        now = self.clock()
        if selected:
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
            self.notify("The selection was sent to the terminal's clipboard.")
        elif busy and busy is not self._stopping:
            self._stopping = busy
            self.turns.stop()
        elif self.composer.text:
            self.composer.set_aside()
        elif now - self._quit_asked < QUIT_S:
            self.app.exit()
        else:
            self._quit_asked = now
            self.notify("Press Ctrl+C again to quit.", timeout=QUIT_S)

    @property
    def error(self) -> LocalmagError | None:
        """Why nothing came of it all: opening failed, or the last reply did and none before it succeeded."""
        if self.opening_error or not self.replies or any(not reply.error for reply in self.replies):
            return self.opening_error
        return self.replies[-1].error


def first_line(text: str) -> str:
    return sanitize(text.strip()).split("\n", 1)[0].expandtabs(4)
