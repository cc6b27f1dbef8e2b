"""Held-out accuracy on the product's own path: Codec, LocalEngine and each TokenModel, as `localmag ask` runs
them.

Needs the product's environment (`make install`), not torch.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from random import Random

from localmag.engines.local import LocalEngine
from localmag.prompt import Codec, system_message
from localmag.types import Done, Message, Sampling, Stop, Text, TextDelta, Thinking, ThinkingClosed, Turn
from tools.demo_model.builds import BUILDS, TOKENIZER
from tools.demo_model.checking import right
from tools.demo_model.conversations import FAMILIES, Conversation, conversation
from tools.demo_model.scores import BARS, Job, Score, keep, kept, missed, table

SAMPLING = dict(zip(BARS, (Sampling(temperature=0.0, top_p=1.0), Sampling(0.7, 0.95)), strict=True))
LANGUAGES = ("en", "fr")
MAX_TOKENS = 512
PROCESSES = 2


@cache
def held_out_conversations(family: str, lang: str, count: int) -> tuple[Conversation, ...]:
    """`count` different conversations that end in a held-out problem, the same ones every time."""
    rng = Random(f"evaluation {family} {lang}")
    found: dict[tuple[str, ...], Conversation] = {}
    while len(found) < count:
        drawn = conversation(rng, family, lang, held=True)
        found.setdefault(tuple(turn.question.lower().strip(" \n?.!=") for turn in drawn.turns), drawn)
    return tuple(found.values())


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


def jobs(folder: Path, builds: Iterable[str], modes: Iterable[str], count: int) -> list[Job]:
    """Every family and language of these builds and modes."""
    digests = {build: BUILDS[build].digest(folder) for build in builds}
    return [
        Job(build, digests[build], mode, family, lang, count, questions(family, lang, count))
        for build, mode, family, lang in product(digests, modes, FAMILIES, LANGUAGES)
    ]


@cache
def questions(family: str, lang: str, count: int) -> str:
    """The start of the SHA-256 of what is asked, and of what is right."""
    return hashlib.sha256(repr(held_out_conversations(family, lang, count)).encode()).hexdigest()[:16]


@cache
def _engine(folder: Path, build: str) -> LocalEngine:
    return LocalEngine(BUILDS[build].load(folder), Codec.load(folder / TOKENIZER))


def measure(folder: Path, job: Job) -> Score:
    """Ask the job's problems, each in a conversation of its own."""
    engine, cancel = _engine(folder, job.build), threading.Event()
    correct = tokens = 0
    began = time.process_time()
    for number, asked in enumerate(held_out_conversations(job.family, job.lang, job.problems)):
        sampling = SAMPLING[job.mode]
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
    return Score(job, correct, tokens, time.process_time() - began)


def current(folder: Path) -> list[Score]:
    """The scores in that folder that are of the weights and the questions that there are now."""
    digests = {name: build.digest(folder) for name, build in BUILDS.items()}

    def holds(job: Job) -> bool:
        known = job.mode in BARS and job.family in FAMILIES and job.lang in LANGUAGES
        return (
            known
            and job.weights == digests.get(job.build)
            and job.questions == questions(job.family, job.lang, job.problems)
        )

    return [score for score in kept(folder) if holds(score.job)]


def report(folder: Path, builds: list[str], modes: list[str], count: int, *, again: bool = False) -> None:
    """Measure what is not measured yet (`again`: all), each kept at once; print the table of all that is."""
    for build in builds:
        BUILDS[build].prepare(folder)
    done = {} if again else {s.job.place: s.job.problems for s in current(folder)}
    wanted = [job for job in jobs(folder, builds, modes, count) if done.get(job.place, 0) < count]
    began = time.monotonic()
    for score in _measured(folder, wanted):
        keep(folder, score)
        print(f"{score.percent:6.1f} %  {', '.join(score.job.place)}", file=sys.stderr, flush=True)
    scores = current(folder)
    print(table(scores))
    if wanted:
        print(f"\n{len(wanted) * count:,} replies in {time.monotonic() - began:.0f} s.")
    below = missed(scores)
    print("Every family reaches its bar." if not below else f"Below its bar: {', '.join(below)}.")


def _measured(folder: Path, wanted: list[Job]) -> Iterator[Score]:
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(measure, folder, job) for job in wanted]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # what has not begun would go on for hours
