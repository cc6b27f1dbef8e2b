"""A conversation to the ids that a model reads, and ids back to bytes, through mistral-common.

Only the structure of a conversation becomes control tokens: the letters `[THINK]` or `</s>` in a text
stay text, whoever wrote them. Reading and encoding are mistral-common's; what is done here is to bring a
conversation as it happened (stopped, cut, restarted) into the shape that its validators accept:

- System messages come first, in their order; empty ones are left out.
- A `Malformed` part is left out, and the two sides of it are joined again.
- Reasoning of past replies is kept, closed, or left out, as `keep_reasoning` says. A tokenizer without
  think tokens leaves it out always.
- A tool result belongs to the call in the same place of the message before it. A call without a result
  is left out; a result without a call is what the user said.
- A reply with nothing left is left out. mistral-common then joins the user messages around it by a
  blank line, so that nothing the user wrote is missing.
- A reply that ends the conversation is one to be continued: no end token follows it, its own reasoning
  is kept, and stays open where it was.
- Reasoning in a system prompt stays reasoning where the tokenizer allows it there (v13), else it is
  written out with its markers as text (v15 and tokenizers without think tokens).
- Lone surrogates (bytes of a command line that are not UTF-8) become U+FFFD.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from localmag.errors import BadFile, NotFound, WrongUsage, bad_hub_setting
from localmag.stream import ControlIds
from localmag.types import Malformed, Message, Part, Text, Thinking, ToolCall

if TYPE_CHECKING:
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

# mistral_common takes 0.6 s to import and is needed where ids are made: the functions that use it import
# it, so that a process which only reads system prompts does not pay.

_THINK = re.compile(r"\[THINK\](.*?)\[/THINK\]", re.DOTALL)
_CALL_ID = re.compile("[a-zA-Z0-9]{9}")
_BYTES = 256  # Tekken's first ranks are the single bytes
_MOST_IDS = 2**21  # sixteen times the largest vocabulary there is
_COUNT = re.compile(rb'"default_(?:vocab_size|num_special_tokens)"\s*:\s*(\d+)')
_EMPTY_PATTERN = re.compile(rb'"pattern"\s*:\s*""')


@contextmanager
def _no_socket_at_import() -> Iterator[None]:
    """For mistral_common's first import: urllib3, which it brings, else tries IPv6 by binding a socket."""
    before, socket.has_ipv6 = socket.has_ipv6, False
    try:
        yield
    finally:
        socket.has_ipv6 = before


def system_message(template: str) -> Message:
    """The system message of a prompt file, its `[THINK]…[/THINK]` made a closed stretch of reasoning.

    For files that are templates: a model's own `SYSTEM_PROMPT.txt`, and what `--system @FILE` names. What
    a user types as `--system TEXT` is text: `Message.of("system", text)`. Nothing is stripped; a marker
    without its other half stays text.
    """
    parts: list[Part] = []
    for place, piece in enumerate(_THINK.split(template)):
        if place % 2:
            parts.append(Thinking(piece))
        elif piece:
            parts.append(Text(piece))
    return Message("system", tuple(parts))


class Codec:
    """One model's tokenizer: a Tekken file as mistral-common reads it.

    `version` is the tokenizer's ("v13"), `vocabulary` the number of its ids, control tokens included
    (they come first), `control` the ids of those with a meaning, `pieces` the bytes of every id in order,
    b"" for control tokens.
    """

    def __init__(self, mistral: MistralTokenizer[Any, Any, Any, Any, Any], tekken: Tekkenizer) -> None:
        from mistral_common.tokens.tokenizers.base import TokenizerVersion

        self._mistral = mistral
        self._tekken = tekken
        self.version: str = tekken.version.value
        self.vocabulary: int = tekken.n_words
        self.control = ControlIds.of([tekken.id_to_piece(id) for id in range(tekken.num_special_tokens)])
        self._first_text = len(self.control.names)
        self.pieces = tuple(tekken.id_to_byte_piece(id) for id in range(self.vocabulary))
        has_think = self.control.think_open is not None and self.control.think_close is not None
        self._reasons = has_think and tekken.version >= TokenizerVersion.v13
        self._reasons_in_system = self._reasons and tekken.version < TokenizerVersion.v15

    @classmethod
    def load(cls, tekken_json: Path) -> Self:
        """Read a `tekken.json` (1 s for the full 131,072 ids).

        Raises NotFound if there is no such file, BadFile if it is damaged or not a Tekken tokenizer,
        WrongUsage for a variable of the environment that keeps mistral_common from being imported.
        """
        from mistral_common.exceptions import MistralCommonException

        try:
            with _no_socket_at_import():
                from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
        except ValueError as exc:  # it imports huggingface_hub
            raise bad_hub_setting(exc) from exc
        from mistral_common.tokens.tokenizers.tekken import is_tekken, is_tekkenizer

        if not tekken_json.exists():
            raise NotFound(
                f"There is no tokenizer at {tekken_json}.", "Pull the model again, or name its tekken.json."
            )
        todo = "Pull the model again, or take tekken.json from its own repository."
        try:
            _refuse_absurd(tekken_json.read_bytes())
            if not is_tekken(tekken_json):
                raise ValueError("it is not a file with a name like tekken.json")
            mistral = MistralTokenizer.from_file(tekken_json)
            tekken = mistral.instruct_tokenizer.tokenizer
            if not is_tekkenizer(tekken):
                raise ValueError("it is read as another tokenizer")
            codec = cls(mistral, tekken)
            codec._check()
            return codec
        except (
            # What a reader of JSON meets in a file that is cut, edited or something else altogether.
            MistralCommonException,
            OSError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            AssertionError,
            RecursionError,
        ) as exc:
            why = str(exc).partition("\n")[0][:200] or type(exc).__name__
            raise BadFile(f"{tekken_json} is damaged or not a Tekken tokenizer ({why}).", todo) from exc

    def _check(self) -> None:
        """What mistral-common takes on trust and this class relies on. Raises ValueError."""
        texts = self.pieces[self._first_text :]
        if len(texts) < _BYTES or not all(texts):
            raise ValueError("its vocabulary has gaps")
        for id, name in enumerate(self.control.names):
            if self._tekken.get_special_token(name) != id:
                raise ValueError(f"its control token {name} is out of place")

    def encode(self, messages: Sequence[Message], *, keep_reasoning: bool) -> list[int]:
        """The ids of a conversation: after the last, the model writes its reply (or goes on with one).

        See the top of this file for what is kept and what is left out. Raises WrongUsage if nobody has said
        anything yet, or if mistral-common refuses the conversation for a reason of its own.
        """
        from mistral_common.exceptions import MistralCommonException
        from mistral_common.protocol.instruct.request import ChatCompletionRequest

        shaped = _shaped(
            messages,
            keep_reasoning=keep_reasoning,
            reasons=self._reasons,
            reasons_in_system=self._reasons_in_system,
        )
        try:
            request = ChatCompletionRequest(messages=_foreign(shaped))
            return list(self._mistral.encode_chat_completion(request).tokens)
        except (MistralCommonException, ValueError, AssertionError, RecursionError) as exc:
            why = str(exc).partition("\n")[0][:200]
            raise WrongUsage(
                f"This conversation cannot be turned into a prompt ({why}).",
                "Shorten or edit the message it complains about.",
            ) from exc

    def continues_thinking(self, prompt_ids: Sequence[int]) -> bool:
        """Whether a prompt ends inside reasoning, so that the reply begins there."""
        last = next((id for id in reversed(prompt_ids) if self.is_control(id)), None)
        return last is not None and last == self.control.think_open

    def is_control(self, id: int) -> bool:
        return 0 <= id < self._first_text

    def id_to_bytes(self, id: int) -> bytes:
        """The bytes of a text id; b"" for a control token. Raises IndexError outside the vocabulary."""
        if id < 0:
            raise IndexError(f"{id} is outside the vocabulary")
        return self.pieces[id]

    def text_of(self, ids: Sequence[int]) -> str:
        """The ids as one text, control tokens by name. For reading: names and text look the same here."""
        spelled = (self.control.names[i].encode() if self.is_control(i) else self.id_to_bytes(i) for i in ids)
        return b"".join(spelled).decode("utf-8", "backslashreplace")


def _refuse_absurd(data: bytes) -> None:
    """What hangs or panics the readers behind mistral-common, told from the bytes. Raises ValueError."""
    for count in _COUNT.findall(data):
        if int(count) > _MOST_IDS:
            raise ValueError(f"it counts {int(count):,} ids")
    if _EMPTY_PATTERN.search(data):
        raise ValueError("its pattern is empty")


# ── A conversation as it happened, into the shape that the validators accept ──────────────────────


def _shaped(
    messages: Sequence[Message], *, keep_reasoning: bool, reasons: bool, reasons_in_system: bool
) -> list[Message]:
    said = [message for message in messages if message.role != "system"]
    if not any(message.role != "assistant" for message in said):
        raise WrongUsage("There is no message to reply to.", "Write one first.")
    system = [_system(message, reasons_in_system) for message in messages if message.role == "system"]
    shaped = [message for message in system if message.parts]
    place = 0
    while place < len(said):
        message = said[place]
        place += 1
        if message.role != "assistant":
            shaped.append(Message.of("user", _all_text(message)))
            continue
        results = 0
        while place + results < len(said) and said[place + results].role == "tool":
            results += 1
        last = place == len(said)
        # mistral-common does not look for calls in the very first message, and refuses their results.
        answered = results if shaped else 0
        calls = [part for part in message.parts if isinstance(part, ToolCall)][:answered]
        parts = _reply(message.parts, keep_reasoning=reasons and (keep_reasoning or last), open_end=last)
        if parts or calls:
            shaped.append(Message("assistant", (*parts, *calls)))
        for result in said[place : place + len(calls)]:
            shaped.append(Message.of("tool", _all_text(result)))
        place += len(calls)
    return shaped


def _system(message: Message, reasons: bool) -> Message:
    parts = [
        Text(f"[THINK]{part.text}[/THINK]") if isinstance(part, Thinking) and not reasons else part
        for part in message.parts
        if isinstance(part, Text | Thinking)
    ]
    return Message("system", _joined(parts))


def _reply(parts: Sequence[Part], *, keep_reasoning: bool, open_end: bool) -> tuple[Part, ...]:
    kinds = (Text, Thinking) if keep_reasoning else (Text,)
    *before, end = _joined([part for part in parts if isinstance(part, kinds)]) or (Text(""),)
    match end:
        case Text(""):
            return ()
        case Thinking("", False) if not open_end:
            return tuple(before)
        case Thinking(text, False) if not open_end:
            return (*before, Thinking(text))
    return (*before, end)


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Text and text made one, and interrupted reasoning and what went on. Only the last may stay open."""
    joined: list[Part] = []
    for part in parts:
        match (joined[-1] if joined else None), part:
            case _, Text(""):
                continue
            case Text(before), Text(text):
                joined[-1] = Text(before + text)
            case Thinking(before, False), Thinking(text, closed):
                joined[-1] = Thinking(before + text, closed)
            case Thinking(before, False), _:
                joined[-1:] = [Thinking(before), part]
            case _:
                joined.append(part)
    return tuple(joined)


def _all_text(message: Message) -> str:
    """Everything that was said, whatever kind of part it came as."""
    return "".join(part.text for part in message.parts if isinstance(part, Text | Thinking | Malformed))


# ── From our messages to mistral-common's ─────────────────────────────────────────────────────────


def _foreign(shaped: Sequence[Message]) -> list[Any]:
    from mistral_common.protocol.instruct.messages import (
        AssistantMessage,
        SystemMessage,
        ToolMessage,
        UserMessage,
    )

    messages: list[Any] = []
    used: set[str] = set()
    pending: list[str] = []
    for place, message in enumerate(shaped):
        match message.role:
            case "system":
                messages.append(SystemMessage(content=_content(message)))
            case "user":
                messages.append(UserMessage(content=_content(message)))
            case "tool":
                messages.append(ToolMessage(content=_content(message), tool_call_id=pending.pop(0)))
            case "assistant":
                calls = [part for part in message.parts if isinstance(part, ToolCall)]
                pending = [_call_id(call, used) for call in calls]
                messages.append(
                    AssistantMessage(
                        content=_content(message) or None,
                        tool_calls=[_call(call, id) for call, id in zip(calls, pending, strict=True)] or None,
                        prefix=place == len(shaped) - 1,
                    )
                )
    return messages


def _content(message: Message) -> Any:
    from mistral_common.protocol.instruct.chunk import TextChunk, ThinkChunk

    if not any(isinstance(part, Thinking) for part in message.parts):
        return _whole(message.text)
    return [
        ThinkChunk(thinking=_whole(part.text), closed=part.closed)
        if isinstance(part, Thinking)
        else TextChunk(text=_whole(part.text))
        for part in message.parts
        if isinstance(part, Text | Thinking)
    ]


def _call(call: ToolCall, id: str) -> Any:
    from mistral_common.protocol.instruct import tool_calls

    function = tool_calls.FunctionCall(name=_whole(call.name), arguments=_whole(call.arguments))
    return tool_calls.ToolCall(id=id, function=function)


def _call_id(call: ToolCall, used: set[str]) -> str:
    """The call's own id where every tokenizer version takes it, else the next free number."""
    id, number = call.id, len(used)
    while id in used or not _CALL_ID.fullmatch(id):
        number += 1
        id = f"{number:09d}"
    used.add(id)
    return id


def _whole(text: str) -> str:
    """Pairs of surrogates joined, lone ones made U+FFFD: what tiktoken does to text that it cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
