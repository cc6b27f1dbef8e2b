"""Held-out accuracy on the product's own path: Codec, LocalEngine and llama.cpp, as `localmag ask` runs them.

Needs the product's environment (`make install`), not torch.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from itertools import groupby, product
from multiprocessing import get_context
from pathlib import Path
from random import Random

from localmag.engines import EngineSpec
from localmag.engines.llamacpp import LlamaCpp
from localmag.engines.local import LocalEngine
from localmag.prompt import Codec, system_message
from localmag.types import Done, Message, Sampling, Stop, Text, TextDelta, Thinking, ThinkingClosed, Turn
from tools.demo_model.checking import right
from tools.demo_model.conversations import FAMILIES, Conversation, conversation
from tools.demo_model.shape import Shape

BUILDS = ("Q8_0", "F16")
MODES = {"greedy": Sampling(temperature=0.0, top_p=1.0), "T 0.7, top_p 0.95": Sampling(0.7, 0.95)}
BARS = {"greedy": 95.0, "T 0.7, top_p 0.95": 90.0}
"""The least share of right replies (percent) at which a family is claimed."""

MAX_TOKENS = 512
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Score:
    """Right replies among `problems`, and how many tokens and seconds (of one core) they took."""

    build: str
    mode: str
    family: str
    lang: str
    problems: int
    right: int
    tokens: int
    seconds: float

    @property
    def percent(self) -> float:
        return 100 * self.right / self.problems


def held_out_conversations(family: str, lang: str, count: int) -> list[Conversation]:
    """`count` different conversations that end in a held-out problem, the same ones every time."""
    rng = Random(f"evaluation {family} {lang}")
    found: dict[tuple[str, ...], Conversation] = {}
    while len(found) < count:
        drawn = conversation(rng, family, lang, held=True)
        found.setdefault(tuple(turn.question.lower().strip(" \n?.!=") for turn in drawn.turns), drawn)
    return list(found.values())


def messages(asked: Conversation) -> tuple[Message, ...]:
    """The conversation up to its last question, with the right replies to the earlier ones."""

    def parts() -> Iterator[Message]:
        if asked.system:
            yield system_message(asked.system)
        for turn in asked.turns:
            yield Message.of("user", turn.question)
            if turn is not asked.turns[-1]:
                yield Message("assistant", (Thinking(turn.steps), Text(turn.reply)))

    return tuple(parts())


@cache
def _engine(folder: Path, build: str) -> LocalEngine:
    tokenizer = folder / "tekken.json"
    spec = EngineSpec(
        "llama.cpp", folder / f"demo-{build}.gguf", tokenizer, context=Shape().context, threads=1
    )
    return LocalEngine(LlamaCpp(spec), Codec.load(tokenizer))


def measure(folder: Path, build: str, mode: str, family: str, lang: str, count: int) -> Score:
    """Ask one family's held-out problems in one language, each in a conversation of its own."""
    engine, cancel = _engine(folder, build), threading.Event()
    correct = tokens = 0
    began = time.monotonic()
    for number, asked in enumerate(held_out_conversations(family, lang, count)):
        sampling = MODES[mode]
        sampling = Sampling(sampling.temperature, sampling.top_p, seed=number)
        answer, closed, ended = "", False, False
        for event in engine.reply(Turn(messages(asked), sampling, MAX_TOKENS), cancel):
            match event:
                case TextDelta(text):
                    answer += text
                case ThinkingClosed():
                    closed = True
                case Done(stop, usage):
                    ended = stop is Stop.END
                    tokens += usage.reasoning_tokens + usage.answer_tokens
        correct += closed and ended and right(asked.turns[-1], answer)
    return Score(build, mode, family, lang, count, correct, tokens, time.monotonic() - began)


def table(scores: list[Score]) -> str:
    """The scores as a Markdown table: a row per family and language, a column per build and mode."""
    columns = [
        (build, mode) for build, mode in product(BUILDS, MODES) if any(s.build == build for s in scores)
    ]
    lines = [
        "| family | language | " + " | ".join(f"{build}, {mode}" for build, mode in columns) + " |",
        "|---" * (2 + len(columns)) + "|",
    ]
    ordered = sorted(scores, key=lambda s: (FAMILIES.index(s.family), s.lang))
    for (family, lang), group in groupby(ordered, key=lambda s: (s.family, s.lang)):
        percent = {(s.build, s.mode): f"{s.percent:.1f} %" for s in group}
        lines.append(f"| {family} | {lang} | " + " | ".join(percent.get(c, "") for c in columns) + " |")
    return "\n".join(lines)


def missed(scores: list[Score]) -> list[str]:
    """The families below a bar in any language, build or mode."""
    return [f for f in FAMILIES if any(s.family == f and s.percent < BARS[s.mode] for s in scores)]


def report(folder: Path, count: int) -> None:
    """Measure every family, language, build and mode; print the table and write `evaluation.json`."""
    began = time.monotonic()
    jobs = list(product([folder], BUILDS, MODES, FAMILIES, ("en", "fr"), [count]))
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        scores = []
        for score in pool.map(measure, *zip(*jobs, strict=True)):
            where = f"{score.build}, {score.mode}, {score.family}, {score.lang}"
            print(f"{score.percent:6.1f} %  {where}", file=sys.stderr, flush=True)
            scores.append(score)
    (folder / "evaluation.json").write_text(
        json.dumps([asdict(s) for s in scores], indent=1) + "\n", encoding="utf-8"
    )
    print(table(scores))
    print(f"\n{len(scores) * count:,} replies in {time.monotonic() - began:.0f} s.")
    below = missed(scores)
    print("Every family reaches its bar." if not below else f"Below its bar: {', '.join(below)}.")
