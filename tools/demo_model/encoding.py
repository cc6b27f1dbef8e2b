"""Conversations to ids exactly as mistral-common's v13 encodes them (a test compares the two), only faster.

mistral-common validates every message; at a hundred conversations a second that would take the time of the
training itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tools.demo_model import tokenizer
from tools.demo_model.bytepairs import text_ids
from tools.demo_model.conversations import Conversation

INST, END_INST, SYSTEM, END_SYSTEM = 3, 4, 17, 18


@dataclass(frozen=True, slots=True)
class Encoded:
    """Ids, and for each whether the model is to learn to write it."""

    ids: list[int]
    learnt: list[bool]
    family: str
    lang: str


@cache
def _system_ids(system: str) -> tuple[int, ...]:
    ids = [SYSTEM]
    for part in re.split(r"(\[THINK\].*?\[/THINK\])", system, flags=re.DOTALL):
        if part.startswith("[THINK]"):
            inner = part.removeprefix("[THINK]").removesuffix("[/THINK]")
            ids += [tokenizer.THINK, *text_ids(inner), tokenizer.END_THINK]
        else:
            ids += text_ids(part)
    return (*ids, END_SYSTEM)


def encode(conversation: Conversation) -> Encoded:
    """The whole conversation, replies included."""
    ids = [tokenizer.BOS, *(_system_ids(conversation.system) if conversation.system else ())]
    learnt = [False] * len(ids)
    for turn in conversation.turns:
        last = turn is conversation.turns[-1]
        question = [INST, *text_ids(turn.question), END_INST]
        thought = [tokenizer.THINK, *text_ids(turn.steps), tokenizer.END_THINK]
        with_thought = last or conversation.keep_reasoning
        reply = [*(thought if with_thought else ()), *text_ids(turn.reply), tokenizer.EOS]
        ids += question + reply
        learnt += [False] * len(question) + [with_thought] * len(reply)
    final = conversation.turns[-1]
    return Encoded(ids, learnt, final.family, final.lang)


def prompt(conversation: Conversation) -> list[int]:
    """The ids up to where the last reply begins."""
    encoded = encode(conversation)
    final = conversation.turns[-1]
    reply = len(text_ids(final.steps)) + len(text_ids(final.reply)) + 3
    return encoded.ids[: len(encoded.ids) - reply]
