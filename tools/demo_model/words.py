"""Words to ask about in small talk. Tekken's full vocabulary is the list: it is there, and it is broad."""

from __future__ import annotations

import re
from functools import cache

from tools.demo_model.tokenizer import full_vocabulary

_WORD = re.compile(" ?[A-Za-zéàçâêîô][a-zéèêàçôîùâûï]{2,13}")


@cache
def words() -> list[str]:
    """The words, in a fixed order."""
    texts = (token.decode("utf-8", errors="replace") for token in full_vocabulary())
    return list(dict.fromkeys(text.strip() for text in texts if _WORD.fullmatch(text)))
