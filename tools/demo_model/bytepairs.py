"""Text to ids and back."""

from __future__ import annotations

from functools import cache

import tiktoken

from tools.demo_model import tokenizer


@cache
def _encoding() -> tiktoken.Encoding:
    ranks = {token: rank for rank, token in enumerate(tokenizer.full_vocabulary()[: tokenizer.RANKS])}
    return tiktoken.Encoding(
        "tekken-prefix", pat_str=tokenizer.pattern(), mergeable_ranks=ranks, special_tokens={}
    )


def text_ids(text: str) -> list[int]:
    """The ids of ordinary text; nothing in it becomes a control token."""
    return [rank + tokenizer.SPECIALS for rank in _encoding().encode_ordinary(text)]


def decode(ids: list[int]) -> str:
    """Ids back to text, control tokens by name."""
    specials, vocabulary = tokenizer.special_tokens(), tokenizer.full_vocabulary()
    parts = (
        specials[i].encode() if i < tokenizer.SPECIALS else vocabulary[i - tokenizer.SPECIALS] for i in ids
    )
    return b"".join(parts).decode("utf-8", errors="replace")
