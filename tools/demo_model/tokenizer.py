"""A true prefix of Tekken v13, so that the demo's ids agree with Magistral's.

Byte-pair encoding applies merges in rank order: the first N ranks alone are a complete tokenizer, which
splits rare words further than the full one does.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import mistral_common

RANKS = 2072
"""How many of Tekken's ranks are kept. With the special tokens: 3,072 ids."""

SPECIALS = 1000
"""Slots for special tokens, as in every Tekken file; ordinary ids start after them."""

BOS, EOS, PAD = 1, 2, 11
THINK, END_THINK = 34, 35

_NAMED = {
    0: "<unk>",
    1: "<s>",
    2: "</s>",
    3: "[INST]",
    4: "[/INST]",
    5: "[AVAILABLE_TOOLS]",
    6: "[/AVAILABLE_TOOLS]",
    7: "[TOOL_RESULTS]",
    8: "[/TOOL_RESULTS]",
    9: "[TOOL_CALLS]",
    10: "[IMG]",
    11: "<pad>",
    12: "[IMG_BREAK]",
    13: "[IMG_END]",
    14: "[PREFIX]",
    15: "[MIDDLE]",
    16: "[SUFFIX]",
    17: "[SYSTEM_PROMPT]",
    18: "[/SYSTEM_PROMPT]",
    19: "[TOOL_CONTENT]",
    24: "[AUDIO]",
    25: "[BEGIN_AUDIO]",
    32: "[ARGS]",
    33: "[CALL_ID]",
    34: "[THINK]",
    35: "[/THINK]",
}


@cache
def _bundled() -> dict[str, Any]:
    """The full Tekken file that mistral-common carries (150,000 ranks)."""
    path = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    return json.loads(path.read_text(encoding="utf-8"))


@cache
def full_vocabulary() -> list[bytes]:
    """Every ordinary token of the full Tekken vocabulary, by rank."""
    return [base64.b64decode(entry["token_bytes"]) for entry in _bundled()["vocab"]]


def pattern() -> str:
    """Tekken's rule for cutting text before merging, as a regular expression."""
    return _bundled()["config"]["pattern"]


def special_tokens() -> list[str]:
    """The text of every special slot, by id."""
    return [_NAMED.get(i, f"<SPECIAL_{i}>") for i in range(SPECIALS)]


def write_tekken(path: Path, ranks: int = RANKS) -> None:
    """Write `tekken.json`: the first `ranks` ranks and v13's special tokens.

    Slots after the last named one are left out: every reader fills them with the same `<SPECIAL_n>` names.
    """
    last = max(_NAMED)
    data = {
        "config": {
            **_bundled()["config"],
            "num_vocab_tokens": ranks,
            "default_vocab_size": ranks + SPECIALS,
            "default_num_special_tokens": SPECIALS,
            "version": "v13",
        },
        "vocab": _bundled()["vocab"][:ranks],
        "special_tokens": [
            {"rank": i, "token_str": text, "is_control": True}
            for i, text in enumerate(special_tokens()[: last + 1])
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")


def merges(ranks: int = RANKS) -> list[tuple[bytes, bytes]]:
    """The merge rules, rebuilt from the ranks.

    A token's last merge is the pair that is left when it is encoded with the ranks below its own.
    """
    vocabulary = full_vocabulary()[:ranks]
    rank_of = {token: rank for rank, token in enumerate(vocabulary)}
    rules = []
    for rank, token in enumerate(vocabulary):
        if len(token) < 2:
            continue
        parts = [token[i : i + 1] for i in range(len(token))]
        while len(parts) > 2:
            pairs = [rank_of.get(parts[i] + parts[i + 1], rank) for i in range(len(parts) - 1)]
            best = min(range(len(pairs)), key=pairs.__getitem__)
            if pairs[best] >= rank:
                raise ValueError(f"rank {rank} is no merge of lower ranks")
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        rules.append((parts[0], parts[1]))
    return rules
