"""Conversations into batches. A batch holds conversations of about one length: little of it is padding.

Everything is a function of (seed, pool): a run that resumes sees what an unbroken one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from tools.demo_model import tokenizer
from tools.demo_model.conversations import FAMILIES, FIRST, LAST, SECOND, conversation
from tools.demo_model.encoding import Encoded, encode

LENGTHS = (64, 96, 128, 160, 192, 224, 256, 320, 416, 576, 768, 1024)
"""The lengths batches are padded to (tokens): few, so that rows are seldom missing."""

BATCH_TOKENS = 3072
"""Size of one batch, padding included."""

POOL = 1280
"""Conversations drawn and sorted together."""

SECOND_FROM, LAST_FROM = 50, 141
"""The pools from which on families are drawn as SECOND and LAST weigh them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids` is rows × length; `targets[i]` is the id to be written after the flat position `positions[i]`.

    `families[i]` is that position's family as an index into FAMILIES.
    """

    ids: Tensor
    positions: Tensor
    targets: Tensor
    families: Tensor


def _batch(rows: list[Encoded], length: int) -> Batch:
    ids = torch.full((len(rows), length), tokenizer.PAD)
    positions, targets, families = [], [], []
    for row, encoded in enumerate(rows):
        ids[row, : len(encoded.ids)] = torch.tensor(encoded.ids)
        family = FAMILIES.index(encoded.family)
        for i, learnt in enumerate(encoded.learnt):
            if learnt:
                positions.append(row * length + i - 1)
                targets.append(encoded.ids[i])
                families.append(family)
    return Batch(ids, torch.tensor(positions), torch.tensor(targets), torch.tensor(families))


def pool(seed: int, index: int) -> list[Batch]:
    """The batches of pool number `index`, in random order."""
    rng = Random(f"{seed} {index}")
    weights = FIRST if index < SECOND_FROM else SECOND if index < LAST_FROM else LAST
    drawn = (encode(conversation(rng, weights=weights)) for _ in range(POOL))
    rows = sorted((e for e in drawn if len(e.ids) <= LENGTHS[-1]), key=lambda e: len(e.ids), reverse=True)
    made = []
    while rows:
        length = next(n for n in LENGTHS if n >= len(rows[0].ids))
        count = max(1, BATCH_TOKENS // length)
        made.append(_batch(rows[:count], length))
        rows = rows[count:]
    rng.shuffle(made)
    return made


def batches(seed: int, first_pool: int) -> Iterator[tuple[int, Batch]]:
    """All batches from pool `first_pool` on, each with its pool's number."""
    index = first_pool
    while True:
        for batch in pool(seed, index):
            yield index, batch
        index += 1


def reply_ids(seed: int) -> list[int]:
    """The ids that replies are made of: those in 40,000 conversations, always with the end."""
    rng = Random(f"{seed} replies")
    found = {tokenizer.EOS}
    for _ in range(40_000):
        encoded = encode(conversation(rng))
        found.update(i for i, learnt in zip(encoded.ids, encoded.learnt, strict=True) if learnt)
    return sorted(found)
