"""What is kept of a conversation, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from localmag.types import Message, Sampling, Stop, Timing, Usage

TITLE_LENGTH = 60
"""Characters of a title at most."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What writes a reply, and how: names as the user knows them, the seed as it was drawn."""

    model: str
    build: str
    backend: str
    sampling: Sampling
    max_tokens: int
    keep_reasoning: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reply ended. None where the engine did not live to say; `thinking_s` is wall-clock seconds.

    `refused`: the engine did not take the prompt (too long, say), so the question is not asked again with
    the next one.
    """

    stop: Stop
    usage: Usage | None = None
    timing: Timing | None = None
    thinking_s: float = 0.0
    error: str | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a session. `created` is in Unix seconds.

    `setup` is None for what the user wrote; `outcome` too, and for a reply still being written.
    """

    id: int
    message: Message
    created: float
    setup: Setup | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation's heading: the setup's names are those of its latest reply, times are Unix seconds."""

    id: str
    title: str
    created: float
    updated: float
    model: str
    build: str
    backend: str
    keep_reasoning: bool
    messages: int
    """User's and model's, without the system prompt."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole conversation, oldest entry first; the system prompt apart."""

    session: Session
    system: Message | None
    entries: tuple[Entry, ...]


def well_formed(text: str) -> str:
    """`text` as UTF-8 can hold it: half a surrogate pair, as broken input leaves them, becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def title_of(text: str) -> str:
    """The first line that says something, clipped."""
    line = next((" ".join(line.split()) for line in text.splitlines() if line.strip()), "Untitled")
    line = well_formed(line)
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
