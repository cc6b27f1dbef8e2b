"""What of a prompt the KV cache holds already: the same rule for every TokenModel."""

from __future__ import annotations

from collections.abc import Sequence

from localmag.errors import ContextTooSmall


def reusable(held: Sequence[int], ids: Sequence[int], context: int) -> int:
    """How many of the prompt's first ids need not be read again: those the cache holds in the same places.

    The last id is always read, because its logits draw the first id of the reply.
    Raises ContextTooSmall if the prompt leaves no room for one id in a context of `context` tokens.
    """
    if len(ids) >= context:
        raise ContextTooSmall(
            f"With this message the conversation is {len(ids):,} tokens long; the context holds {context:,}.",
            "Shorten the message, begin a new conversation, or give a larger context with --ctx.",
        )
    return common_prefix(held, ids[:-1])


def common_prefix(held: Sequence[int], ids: Sequence[int]) -> int:
    """How many ids both begin with."""
    most = min(len(held), len(ids))
    for place in range(most):
        if held[place] != ids[place]:
            return place
    return most
