"""The words every floor speaks: messages and their parts, a turn, its events, its numbers.

Everything here is frozen and slotted, holds plain data only and imports nothing heavy, so that it can
cross the pipe to the engine's process and be read in tests at a glance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant", "tool"]


# ── Messages ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text. Control tokens spelled out in it (`[THINK]`, `</s>`) are text and stay text."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """A stretch of reasoning, without its markers. `closed` is False if generation ended inside it."""

    text: str
    closed: bool = True


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function call of the model. `arguments` is the JSON text as the model wrote it."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Malformed:
    """Output that broke the reply's grammar: kept, with the reason, and never shown as the answer.

    Both an event of a stream and a part of the finished message.
    """

    text: str
    why: str


Part = Text | Thinking | ToolCall | Malformed


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation: a role and its parts, in the order they were written."""

    role: Role
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, role: Role, text: str) -> Message:
        return cls(role, (Text(text),))

    @property
    def text(self) -> str:
        """The answer (or question) alone: every Text part, joined, without reasoning."""
        return "".join(p.text for p in self.parts if isinstance(p, Text))

    @property
    def reasoning(self) -> str:
        """Every stretch of reasoning, joined by a blank line where there are several.

        One that was interrupted (by `Malformed`, by a call) and went on is one stretch.
        """
        text, between = "", ""
        for part in self.parts:
            if isinstance(part, Thinking):
                text += between + part.text
                between = "\n\n" if part.closed and text else ""
        return text


# ── A turn ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next id is drawn: logits / temperature, softmax, the smallest set of top_p mass, one draw.

    Nothing else is applied (no top_k, no min_p, no penalties), as the model card says. temperature 0 is
    greedy. The seed is always concrete, so that every reply can be drawn again.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """All that an engine needs to write one reply. `max_tokens` counts reasoning and answer together."""

    messages: tuple[Message, ...]
    sampling: Sampling
    max_tokens: int
    keep_reasoning: bool = False


class Cancel(Protocol):
    """What a `threading.Event` offers: set from any thread, polled by whoever works."""

    def is_set(self) -> bool: ...


class Stop(StrEnum):
    """Why a reply ended."""

    END = "end"  # the model said so
    LENGTH = "length"  # max_tokens, or the context is full
    TOOL = "tool"  # it ended in tool calls
    CANCELLED = "cancelled"  # the user stopped it
    BUDGET = "budget"  # the thinking budget ran out and no answer followed
    LOOP = "loop"  # it repeated itself
    ERROR = "error"  # the engine failed; what had arrived is kept


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one reply. `cached_tokens` of the prompt's were in the KV cache already."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    answer_tokens: int = 0

    @property
    def context(self) -> int:
        """Tokens the context holds after this reply."""
        return self.prompt_tokens + self.reasoning_tokens + self.answer_tokens


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock seconds of one reply; `decode_tps` is ids per second after the first."""

    load_s: float = 0.0
    prefill_s: float = 0.0
    ttft_s: float = 0.0
    decode_s: float = 0.0
    decode_tps: float = 0.0


# ── Events ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Loading:
    """Weights are being read; fraction is 0 to 1, and 1 means ready."""

    fraction: float


@dataclass(frozen=True, slots=True)
class Prefill:
    """The prompt is being read. The first one's `done` is what the KV cache already held."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the user should know, and that is no part of the reply: sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """More reasoning, of `tokens` ids. An empty one opens a stretch of it."""

    text: str
    tokens: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class ThinkingClosed:
    """The model closed a stretch of reasoning of `tokens` ids that took `seconds`."""

    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer, of `tokens` ids."""

    text: str
    tokens: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class ToolCallReady:
    call: ToolCall


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of every reply that did not raise."""

    stop: Stop
    usage: Usage
    timing: Timing


Event = (
    Loading | Notice | Prefill | ThinkingDelta | ThinkingClosed | TextDelta | ToolCallReady | Malformed | Done
)
