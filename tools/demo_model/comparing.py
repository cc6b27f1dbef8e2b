"""Greedy replies of llama.cpp's F16 beside MLX's of the same weights, id by id.

Where they part, the two ids, and how far apart their logits were under each engine. Two engines round
differently, so their logits always differ a little; that is measured, too. Where the best two ids are closer
than that, either may be drawn: a tie. Any other difference would be an engine's mistake.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from localmag.engines import TokenModel
from localmag.engines.sampler import Sampler
from localmag.prompt import Codec
from localmag.types import Sampling
from tools.demo_model.builds import BUILDS, TOKENIZER
from tools.demo_model.conversations import FAMILIES, Conversation
from tools.demo_model.evaluation import LANGUAGES, MAX_TOKENS, PROCESSES, held_out_conversations, messages
from tools.demo_model.tokenizer import EOS

REFERENCE = "F16"
COMPARED = ("mlx-f32", "mlx-f16", "mlx-bf16")
_GREEDY = Sampling(temperature=0.0, top_p=1.0)
_PART = 10
"""Problems that a process takes on at once."""


@dataclass(frozen=True, slots=True)
class Parting:
    """Where two replies to a question part: at the id number `position` of the reply, from 0.

    `ids` are the reference's and the other's; `gaps`, in the logits of each, from the other's id to its own.
    """

    where: str
    question: str
    position: int
    ids: tuple[int, int]
    gaps: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one question. `noise`: by how much a logit differed at most, for each id they share."""

    noise: tuple[float, ...]
    parting: Parting | None


def compare(folder: Path, count: int, others: Sequence[str] = COMPARED) -> None:
    """Ask `count` held-out problems, of all families and languages alike; print what differs."""
    for build in others:
        BUILDS[build].prepare(folder)
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for build in others:
            parts = [range(start, min(start + _PART, count)) for start in range(0, count, _PART)]
            pairs = []
            for part in pool.map(_pairs, *zip(*product([folder], [build], parts), strict=True)):
                pairs += part
                print(f"{len(pairs)} of {count}, {BUILDS[build].title}", file=sys.stderr, flush=True)
            print(told(build, pairs, Codec.load(folder / TOKENIZER)), flush=True)


def told(build: str, pairs: list[Pair], codec: Codec) -> str:
    """In Markdown."""
    partings = [pair.parting for pair in pairs if pair.parting]
    noise = np.array([n for pair in pairs for n in pair.noise])
    alike = len(pairs) - len(partings)
    median, most = np.median(noise), noise.max()
    lines = [
        f"{BUILDS[build].title} beside {REFERENCE}: {alike} of {len(pairs)} greedy replies identical"
        f" ({100 * alike / len(pairs):.1f} %). At {noise.size:,} ids with the same text before them, the"
        f" logit that differs most does so by {median:.4f} (median), {np.quantile(noise, 0.99):.4f} (99 %),"
        f" {most:.4f} (at most).",
        "",
    ]
    if partings:
        columns = ("problem", "at id", f"{REFERENCE} draws", f"{BUILDS[build].title} draws", "closer than")
        lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for one in partings:
        problem = f"{one.where}: {' '.join(one.question.split())[:60]}"
        draws = [
            f"{id} {codec.text_of([id])!r} by {gap:.4f}" for id, gap in zip(one.ids, one.gaps, strict=True)
        ]
        lines.append("| " + " | ".join((problem, str(one.position), *draws, _rank(noise, one.gaps))) + " |")
    return "\n".join(lines) + "\n"


def _rank(noise: NDArray[np.float64], gaps: tuple[float, float]) -> str:
    """The share of places where rounding alone moved a logit by more than the two ids were apart."""
    return f"{100 * float((noise > max(gaps)).mean()):.0f} % of rounding"


def _asked(count: int) -> Iterator[tuple[str, Conversation]]:
    """The first held-out problem of each family and language, then the second, and so on."""
    kinds = list(product(FAMILIES, LANGUAGES))
    each = -(-count // len(kinds))
    drawn = {kind: held_out_conversations(*kind, each) for kind in kinds}
    for number in range(count):
        kind = kinds[number % len(kinds)]
        yield ", ".join(kind), drawn[kind][number // len(kinds)]


@cache
def _codec(folder: Path) -> Codec:
    return Codec.load(folder / TOKENIZER)


@cache
def _model(folder: Path, build: str) -> TokenModel:
    return BUILDS[build].load(folder)


def _pairs(folder: Path, build: str, numbers: range) -> list[Pair]:
    problems = list(_asked(numbers.stop))[numbers.start :]
    return [_pair(folder, build, where, asked) for where, asked in problems]


def _pair(folder: Path, build: str, where: str, asked: Conversation) -> Pair:
    ids = _codec(folder).encode(messages(asked), keep_reasoning=False)
    drawn, logits = greedy(_model(folder, REFERENCE), ids)
    theirs, their_logits = greedy(_model(folder, build), ids)
    shared = next((i for i, (a, b) in enumerate(zip(drawn, theirs, strict=False)) if a != b), None)
    alike = len(drawn) if shared is None else shared + 1
    noise = tuple(float(np.abs(logits[i] - their_logits[i]).max()) for i in range(alike))
    if shared is None:
        return Pair(noise, None)
    a, b = drawn[shared], theirs[shared]
    mine, other = logits[shared], their_logits[shared]
    gaps = float(mine[a] - mine[b]), float(other[b] - other[a])
    return Pair(noise, Parting(where, asked.turns[-1].question, shared, (a, b), gaps))


def greedy(model: TokenModel, ids: Sequence[int]) -> tuple[list[int], list[NDArray[np.float32]]]:
    """The reply's ids, its end included, and the logits that each was drawn from."""
    seen: list[NDArray[np.float32]] = []
    drawn: list[int] = []

    class Watched(Sampler):
        def __call__(self, logits: NDArray[np.float32]) -> int:
            seen.append(logits.copy())
            return super().__call__(logits)

    module = sys.modules[type(model).__module__]
    with (
        patch.object(module, "Sampler", Watched),
        closing(model.generate(ids, _GREEDY, threading.Event())) as steps,
    ):
        for step in steps:
            if isinstance(step, int):
                drawn.append(step)
                if step == EOS or len(drawn) == MAX_TOKENS:
                    break
    return drawn, seen
