"""The words whose letters are counted. Tekken's full vocabulary is the list: it is there, and it is broad."""

from __future__ import annotations

import re
from functools import cache
from random import Random

from tools.demo_model.split import held_out
from tools.demo_model.tokenizer import full_vocabulary

_WORD = re.compile(" ?[A-Za-zéàçâêîô][a-zéèêàçôîùâûï]{2,13}")

# Words people like to ask about; they are split like the others.
_FAVOURITES = (
    "strawberry banana mississippi raspberry blueberry pineapple committee bookkeeper parallel "
    "assessment success possession tomorrow chocolate elephant butterfly hippopotamus "
    "anticonstitution magistral mistral pomme fraise framboise banane ananas citron orange abricot "
    "chocolat grenouille papillon elephant ordinateur bibliotheque anniversaire bonjour bonsoir merci "
    "montagne fromage baguette croissant Paris Lyon Marseille France London Antananarivo pamplemousse "
    "appartement intelligence programmation élève éléphant été forêt garçon"
).split()


@cache
def words(held: bool) -> list[str]:
    """The words of one split, in a fixed order."""
    texts = (token.decode("utf-8", errors="replace") for token in full_vocabulary())
    found = dict.fromkeys(text.strip() for text in texts if _WORD.fullmatch(text))
    found |= dict.fromkeys(_FAVOURITES)
    return [word for word in found if held_out(f"word {word.lower()}", share=0.1) == held]


def _letters(rng: Random) -> str:
    return "".join(rng.choices("aaabcdeeeeefghiiijklmnnoopqrrrssstttuuvwxyz", k=rng.randint(2, 9)))


def random_word(rng: Random, held: bool) -> str:
    """A word of the split.

    In training, some are letters at random or two words in one: spelling must not need familiar ones.
    """
    kind = rng.random()
    if not held and kind < 0.18:
        pool = words(held)
        while True:
            word = _letters(rng) if kind < 0.13 else (rng.choice(pool) + rng.choice(pool)).lower()
            if not held_out(f"word {word}", share=0.1):
                return word
    word = rng.choice(words(held))
    style = rng.random()
    if style < 0.06:
        return word.upper()
    if style < 0.14:
        return word.capitalize()
    return word.lower() if style < 0.5 else word
