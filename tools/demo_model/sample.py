"""Shows the training data: one conversation per family and language, and how long conversations are."""

from __future__ import annotations

from random import Random

from tools.demo_model.bytepairs import decode
from tools.demo_model.conversations import FAMILIES, conversation
from tools.demo_model.encoding import encode


def show(seed: int = 1) -> None:
    """Print one conversation per family and language as the model sees it, with its length in tokens."""
    rng = Random(seed)
    for family in FAMILIES:
        for lang in ("en", "fr"):
            encoded = encode(conversation(rng, family, lang))
            print(f"--- {family}, {lang}: {len(encoded.ids)} tokens, {sum(encoded.learnt)} learnt")
            print(decode(encoded.ids))
