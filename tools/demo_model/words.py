"""Words to ask about in small talk."""

from __future__ import annotations

import re
from functools import cache

from tools.demo_model.tokenizer import full_vocabulary

_WORD = re.compile(" ?[A-Za-zéàçâêîô][a-zéèêàçôîùâûï]{2,13}")


@cache
def words() -> list[str]:
    """Words of many languages, in a fixed order: those of Tekken's full vocabulary."""
    texts = (token.decode("utf-8", errors="replace") for token in full_vocabulary())
    return list(dict.fromkeys(text.strip() for text in texts if _WORD.fullmatch(text)))
