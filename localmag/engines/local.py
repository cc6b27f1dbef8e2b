"""A TokenModel and a Codec make an Engine: a turn in, ids through the model, events out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from localmag.engines import EngineSpec, TokenModel, state
from localmag.engines.prefix import common_prefix
from localmag.engines.state import State
from localmag.errors import LocalmagError
from localmag.prompt import Codec
from localmag.stream import Parser
from localmag.types import (
    Cancel,
    Done,
    Event,
    Message,
    Notice,
    Prefill,
    Stop,
    Timing,
    ToolCallReady,
    Turn,
    Usage,
)


class LocalEngine:
    """`load_s`, seconds that loading took, is reported with the first reply, which waited for it.

    So is what is said in `notices`. Only with `spec`, by which the model was made, is a KV state kept; `kept`
    is the one that the model began with.
    """

    def __init__(
        self,
        model: TokenModel,
        codec: Codec,
        load_s: float = 0.0,
        *,
        spec: EngineSpec | None = None,
        kept: State | None = None,
        notices: Sequence[str] = (),
    ) -> None:
        self._model = model
        self._codec = codec
        self._spec = spec
        self._kept = kept
        self._load_s = load_s
        self._notices = list(notices)

    def reply(self, turn: Turn, cancel: Cancel) -> Iterator[Event]:
        """See Engine. Raises ContextTooSmall if the conversation leaves no room for a reply."""
        clock = _Clock()
        while self._notices:
            yield Notice(self._notices[0])
            del self._notices[0]
        codec = self._codec
        ids = codec.encode(turn.messages, keep_reasoning=turn.keep_reasoning)
        thinking = codec.continues_thinking(ids)
        parser = Parser(codec.control, codec.pieces.__getitem__, codec.vocabulary, thinking=thinking)
        cached: int | None = None
        stop: Stop | None = None
        last: Event | None = None
        # `closing`, because a generator left to the garbage collector keeps the model until then.
        with closing(self._model.generate(ids, turn.sampling, cancel)) as steps:
            try:
                for step in steps:
                    if isinstance(step, Prefill):
                        cached = step.done if cached is None else cached
                        clock.prefilled()
                        yield step
                        continue
                    clock.drawn()
                    for last in parser.feed(step):
                        yield last
                    if parser.ended or clock.count >= turn.max_tokens:
                        stop = Stop.END if parser.ended else Stop.LENGTH
                        break
            except LocalmagError:
                yield from parser.finish()  # what is half written is not lost with the model
                raise
        for last in parser.finish():
            yield last
        if stop is None:
            stop = Stop.CANCELLED if cancel.is_set() else Stop.LENGTH
        elif stop is Stop.END and isinstance(last, ToolCallReady):
            stop = Stop.TOOL
        usage = Usage(len(ids), cached or 0, parser.reasoning_tokens, parser.answer_tokens)
        load_s, self._load_s = self._load_s, 0.0
        yield Done(stop, usage, clock.timing(load_s))

    def keep(self, folder: Path, turn: Turn, most: int, cancel: Cancel) -> State | None:
        """See Engine. What is begun is not cancelled."""
        ids = self._codec.encode(
            (*turn.messages, Message.of("user", "…")), keep_reasoning=turn.keep_reasoning
        )
        model, count = self._model, common_prefix(self._model.held, ids)
        if self._spec is None or not count or cancel.is_set():
            return None
        if not 0 < model.state_bytes(count) <= most:
            return None
        if not state.worth_keeping(model, count, self._on_disk(folder)):
            return None
        self._kept = state.save(model, self._spec, folder, count)
        return self._kept

    def _on_disk(self, folder: Path) -> int:
        """How many of the ids that the model holds can be read back already, as was seen when they were."""
        with suppress(LocalmagError):
            if self._kept and state.describe(folder) == self._kept:
                return common_prefix(self._kept.ids, self._model.held)
        return 0

    def close(self) -> None:
        self._model.close()


class _Clock:
    """When the prompt was read and ids were drawn, from the start of the reply."""

    __slots__ = ("_began", "_first", "_last", "_prefilled", "count")

    def __init__(self) -> None:
        self._began = self._prefilled = self._first = self._last = time.perf_counter()
        self.count = 0

    def prefilled(self) -> None:
        self._prefilled = time.perf_counter()

    def drawn(self) -> None:
        self._last = time.perf_counter()
        self.count += 1
        if self.count == 1:
            self._first = self._last

    def timing(self, load_s: float) -> Timing:
        decode_s = self._last - self._first
        return Timing(
            load_s=load_s,
            prefill_s=self._prefilled - self._began,
            ttft_s=self._first - self._began,
            decode_s=decode_s,
            decode_tps=(self.count - 1) / decode_s if decode_s > 0 else 0.0,
        )
