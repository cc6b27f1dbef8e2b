"""What is known of one reply while it comes in: its state, its text, its numbers.

Events go in through `fold`, the screen reads what it draws. Nothing here knows a widget or a clock: the
caller says what time it is, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from localmag.errors import LocalmagError
from localmag.sanitize import Sanitizer, sanitize
from localmag.types import (
    Done,
    Event,
    Loading,
    Malformed,
    Message,
    Notice,
    Prefill,
    Stop,
    TextDelta,
    Thinking,
    ThinkingClosed,
    ThinkingDelta,
    Timing,
    ToolCall,
    ToolCallReady,
    Usage,
)

if TYPE_CHECKING:  # a database is no part of the first paint
    from localmag.sessions import Entry


SLACK = 8
"""Tokens under a limit at which it counts as reached: those that broke a reply's grammar are not counted."""
STEADY_S = 0.25
"""Seconds before which a rate says nothing: tokens come in bunches."""


_KEPT = "What had arrived is kept"


class State(StrEnum):
    """Where a reply is. The last three are final."""

    WAITING = "waiting"
    LOADING = "loading"
    READING = "reading"
    THINKING = "thinking"
    ANSWERING = "answering"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        return self in (State.DONE, State.STOPPED, State.FAILED)


class Reply:
    """One question and the reply to it, folded from events. Texts are chunks, safe to show."""

    def __init__(self, question: str, now: float = 0.0) -> None:
        self.question = sanitize(question)
        self.state = State.WAITING
        self.reasoning: list[str] = []
        self.answer: list[str] = []
        self.notes: list[str] = []
        self.error: LocalmagError | None = None
        self.saved_error = ""
        self.stop: Stop | None = None
        self.usage: Usage | None = None
        self.timing: Timing | None = None
        self.room = 0
        """Tokens of the context that it was written in; 0 if not known."""
        self.grows = False
        """Whether a larger context can be asked for."""
        self.loaded = 0.0
        self.read = 0
        self.to_read = 0
        self.reasoning_tokens = 0
        self.answer_tokens = 0
        self.reasoning_seconds = 0.0
        self._sent = now
        self._first: float | None = None
        self._opened: float | None = None
        self._counted = 0
        self._joint = ""
        self._safe_reasoning = Sanitizer()
        self._safe_answer = Sanitizer()

    @classmethod
    def saved(cls, question: str, entry: Entry | None) -> Reply:
        """A reply of an earlier session; None where a question was never answered."""
        reply = cls(question)
        if entry is None:
            reply.state, reply.stop = State.STOPPED, Stop.CANCELLED
            return reply
        reply._saved_parts(entry.message)
        if outcome := entry.outcome:
            reply._finish(outcome.stop, outcome.usage, outcome.timing, 0.0)
            reply.reasoning_seconds = outcome.thinking_s
            reply.saved_error = outcome.error or ""
            if entry.setup and reply.written < entry.setup.max_tokens - SLACK:
                reply.room = reply.context_used() or 0
        else:
            reply.state = State.DONE
        return reply

    def _saved_parts(self, message: Message) -> None:
        for part in message.parts:
            match part:
                case Thinking():  # told as a whole: one that was interrupted is in several parts
                    self.reasoning = [sanitize(message.reasoning)]
                case ToolCall(name, arguments):
                    self.notes.append(_called(name, arguments))
                case Malformed(text, why):
                    self.notes.append(_broken(text, why))
                case _:
                    self.answer.append(sanitize(part.text))

    # ── what happens ──────────────────────────────────────────────────────────────────────────────

    def fold(self, event: Event, now: float) -> None:
        match event:
            case Loading(fraction):
                # Also told from outside of the reply, which may have begun by then.
                if self.state in (State.WAITING, State.LOADING):
                    self.state, self.loaded = State.LOADING, fraction
            case Prefill(done, total):
                self.state = State.READING
                self.read, self.to_read = done, total
            case Notice(text):
                self.notes.append(sanitize(text))
            case ThinkingDelta(text, tokens):
                self._think(text, tokens, now)
            case ThinkingClosed(tokens, seconds):
                self._close_thinking(tokens, seconds)
            case TextDelta(text, tokens):
                self._speak(text, tokens, now)
            case ToolCallReady(call):
                self.notes.append(_called(call.name, call.arguments))
            case Malformed(text, why):
                self.notes.append(_broken(text, why))
            case Done(stop, usage, timing):
                self._finish(stop, usage, timing, now)

    def fail(self, error: LocalmagError, now: float) -> None:
        self._settle(now)
        self.error = error
        self.state = State.FAILED

    def cut(self, now: float) -> None:
        """The stream ended without a Done."""
        if not self.state.final:
            self._settle(now)
            self.stop = Stop.CANCELLED
            self.state = State.STOPPED

    def _think(self, text: str, tokens: int, now: float) -> None:
        if self.state is not State.THINKING:
            self.state = State.THINKING
            self._opened = now
            self._counted = 0
            if any(self.reasoning):
                self.reasoning.append("\n\n")
        if self._first is None:
            self._first = now
        self._counted += tokens
        self.reasoning_tokens += tokens
        self.reasoning.append(self._safe_reasoning.feed(text))

    def _close_thinking(self, tokens: int, seconds: float) -> None:
        self.reasoning_tokens += tokens - self._counted
        self.reasoning_seconds += seconds
        self._opened, self._counted = None, 0
        # What follows is the answer, or the end: either way no longer thought.
        self.state = State.ANSWERING

    def _speak(self, text: str, tokens: int, now: float) -> None:
        if self.state is State.THINKING:
            self._settle(now)
        self.state = State.ANSWERING
        if self._first is None:
            self._first = now
        self.answer_tokens += tokens
        self.answer.append(self._safe_answer.feed(text))

    def _finish(self, stop: Stop, usage: Usage | None, timing: Timing | None, now: float) -> None:
        self._settle(now)
        self.stop, self.usage, self.timing = stop, usage, timing
        if usage and usage.context:  # a reply cut off early may know nothing of itself
            self.reasoning_tokens, self.answer_tokens = usage.reasoning_tokens, usage.answer_tokens
        match stop:
            case Stop.CANCELLED:
                self.state = State.STOPPED
            case Stop.ERROR:
                self.state = State.FAILED
            case _:
                self.state = State.DONE

    def _settle(self, now: float) -> None:
        """Stop the clock of a stretch of reasoning that nobody closed."""
        if self._opened is not None:
            self.reasoning_seconds += now - self._opened
            self._opened, self._counted = None, 0

    # ── what the screen reads ─────────────────────────────────────────────────────────────────────

    @property
    def answer_text(self) -> str:
        return "".join(self.answer)

    @property
    def reasoning_text(self) -> str:
        return "".join(self.reasoning)

    @property
    def arrived(self) -> bool:
        """Whether there is anything of it to keep."""
        return bool(self.reasoning or self.answer or self.notes)

    @property
    def written(self) -> int:
        """Tokens of it."""
        return self.reasoning_tokens + self.answer_tokens

    @property
    def first_token_s(self) -> float | None:
        """Seconds from Enter to the first token, of whichever kind."""
        if self.timing and self.timing.ttft_s:
            return self.timing.ttft_s
        return None if self._first is None else self._first - self._sent

    def thought_s(self, now: float) -> float:
        """Seconds of reasoning so far."""
        return self.reasoning_seconds + (now - self._opened if self._opened is not None else 0.0)

    def tokens_per_second(self, now: float) -> float | None:
        if self.timing and self.timing.decode_tps:
            return self.timing.decode_tps
        if self._first is None or self.state.final or now - self._first < STEADY_S:
            return None
        return (self.written - 1) / (now - self._first)

    def context_used(self) -> int | None:
        """Tokens in the context, as far as this reply tells."""
        if self.usage and self.usage.context:
            return self.usage.context
        read = self.read if self.state is State.READING else self.to_read
        return read + self.written if read else None

    def thought(self, now: float) -> str:
        """The line over a reply: "thought 42 s · 1,830 tok · 31 tok/s"; empty if it did not think."""
        live = self.state is State.THINKING
        if not (live or self.reasoning):
            return ""
        spent = self.thought_s(now)
        if not spent and not self.reasoning_tokens:
            return "thought"
        parts = [f"{'thinking' if live else 'thought'} {seconds(spent)}", f"{self.reasoning_tokens:,} tok"]
        if spent >= (STEADY_S if live else 0.05):
            parts.append(f"{rate(self.reasoning_tokens / spent)} tok/s")
        return " · ".join(parts)

    def progress(self) -> str:
        """What is going on, in two or three words."""
        match self.state:
            case State.WAITING:
                return "waiting"
            case State.LOADING:
                return f"loading {percent(self.loaded)}"
            case State.READING:
                return f"reading the prompt {percent(self.read / self.to_read if self.to_read else 1.0)}"
            case state:
                return state.value

    def ending(self) -> str:
        """What to say under a reply that did not simply end."""
        if self.error:
            return sanitize(str(self.error))
        match self.stop:
            case Stop.CANCELLED:
                return f"Stopped. {_KEPT}." if self.arrived else "Stopped."
            case Stop.LENGTH:
                return self._cut_off()
            case Stop.BUDGET:
                return "The thinking budget ran out before an answer."
            case Stop.LOOP:
                return "Stopped: the model was repeating itself."
            case Stop.ERROR:
                why = sanitize(self.saved_error) or "The engine failed."
                return f"{why} {_KEPT}; send a message to go on." if self.arrived else why
            case Stop.END if not self.answer and self.reasoning:
                return "The model ended without an answer."
            case _:
                return ""

    def _cut_off(self) -> str:
        """Which limit it was, and what can be done about that one."""
        if self.room and (self.context_used() or 0) >= self.room - SLACK:
            larger = ", or start with a larger --ctx" if self.grows else ""
            return f"Cut off: the context is full. Begin a new conversation (Ctrl+N){larger}."
        return f"Cut off at the limit of --max-tokens. {_KEPT}; send a message to go on, or raise it."


def earlier(entries: Iterable[Entry]) -> tuple[Reply, ...]:
    """The replies of a saved conversation, each with its question."""
    replies: list[Reply] = []
    question: str | None = None
    for entry in entries:
        match entry.message.role:
            case "user":
                if question is not None:
                    replies.append(Reply.saved(question, None))
                question = entry.message.text
            case "assistant":
                replies.append(Reply.saved(question or "", entry))
                question = None
    if question is not None:
        replies.append(Reply.saved(question, None))
    return tuple(replies)


def _called(name: str, arguments: str) -> str:
    return f"asks for {sanitize(name)}({sanitize(arguments)})"


def _broken(text: str, why: str) -> str:
    return f"set apart ({sanitize(why)}): {sanitize(text)}"


# ── Numbers as people read them ───────────────────────────────────────────────────────────────────


def seconds(value: float) -> str:
    """As in "0.4 s", "42 s", "3 min 05 s"."""
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 59.5:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def rate(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def percent(fraction: float) -> str:
    return f"{min(max(fraction, 0.0), 1.0):.0%}"
