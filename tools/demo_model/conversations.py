"""Problems into conversations: follow-ups, earlier turns, ways of writing, system prompts."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from random import Random

from tools.demo_model import phrasing, problems
from tools.demo_model.problems import Problem, number, pick
from tools.demo_model.smalltalk import smalltalk
from tools.demo_model.split import held_operation
from tools.demo_model.stories import story

SYSTEM_PROMPT = (
    "Think first, then answer, in the language of the question."
    "[THINK]The steps, one by one.[/THINK]"
    "The result, in Markdown."
)
"""What the product sends; the markers become control tokens."""

OTHER_SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer briefly.",
    "Tu es un assistant utile.",
    "Réponds en français si la question est en français.",
    "You are Magistral, a reasoning model.",
    "Be concise.",
    "Sois bref.",
    "You are a maths teacher. Explain your steps.",
    "First draft your thinking process until you arrive at an answer."
    "[THINK]Your thoughts.[/THINK]Here, a summary.",
    "Answer the user.",
    "You are a friendly pirate who answers every question with care.",
    "Today is Monday.",
)

FAMILIES = (
    "addition",
    "subtraction",
    "multiplication",
    "comparison",
    "sorting",
    "stories",
    "follow-ups",
    "anything else",
)
"""What is trained, evaluated and claimed."""


Weights = tuple[int, ...]
"""How often each of FAMILIES is drawn in training."""

FIRST: Weights = (6, 11, 8, 10, 16, 18, 14, 11)
SECOND: Weights = (4, 9, 6, 10, 22, 14, 16, 19)
LAST: Weights = (3, 4, 4, 6, 40, 10, 22, 11)
"""Later, more of what is learnt slowly: sorting, follow-ups and small talk; at last, of sorting above all."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order and what surrounds them.

    Only the last turn is learnt, or every turn where `keep_reasoning`: earlier replies without their
    reasoning are what the product sends back, not what the model should write.
    """

    system: str | None
    turns: tuple[Problem, ...]
    keep_reasoning: bool


def single(rng: Random, family: str, lang: str, held: bool) -> Problem:
    """One problem of a family that needs no earlier turn."""
    match family:
        case "addition":
            return problems.arithmetic(rng, lang, held, "+")
        case "subtraction":
            return problems.arithmetic(rng, lang, held, "-")
        case "multiplication":
            return problems.arithmetic(rng, lang, held, "×")
        case "comparison":
            return problems.comparison(rng, lang, held)
        case "sorting":
            return problems.sorting(rng, lang, held)
        case "stories":
            return story(rng, lang, held)
        case "anything else":
            return smalltalk(rng, lang, held)
    raise ValueError(family)


def _follow_number(rng: Random, last: int, lang: str, held: bool) -> Problem:
    """Go on with the last result: add, subtract, multiply by a digit, or double it."""
    while True:
        kind = rng.choice("+++---×2")
        if kind in "×2" and abs(last) > 9999:
            kind = rng.choice("+-")
        op, b = ("+", last) if kind == "2" else (kind, number(rng, rng.choice((1, 2, 2, 3, 4))))
        if kind == "×":
            b = rng.randint(2, 9)
        if held_operation(op, last, b) == held or kind == "2":
            break
    question = pick(rng, phrasing.FOLLOW[lang, kind]).format(b=b)
    steps = "\n".join(problems.STEPS[op](last, b, lang))
    result = problems.apply(op, last, b)
    reply = problems.arithmetic_reply(lang, op, last, b)
    return Problem("follow-ups", lang, question, steps, reply, str(result), result)


def follow_up(rng: Random, last: Problem, held: bool) -> Problem | None:
    """A question that only makes sense after `last`; None where there is none."""
    lang = last.lang
    match last.memory:
        case int(value):
            return _follow_number(rng, value, lang, held)
        case ("compare", *_) if last.result.isdigit() and rng.random() < 0.3:
            return _follow_number(rng, int(last.result), lang, held)
        case ("compare", tuple(numbers), largest):
            question = pick(rng, phrasing.FOLLOW_COMPARE[lang, not largest])
            problem = problems.comparison_problem(question, list(numbers), not largest, lang)
        case _:
            return None
    return replace(problem, family="follow-ups")


def chain(rng: Random, lang: str, held: bool) -> list[Problem]:
    """A problem and one to three follow-ups; where `held`, first and last are held out."""
    first = rng.choice(("addition", "subtraction", "multiplication", "stories", "comparison"))
    turns = [single(rng, first, lang, held)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        following = follow_up(rng, turns[-1], held)
        if following is not None:
            turns.append(following)
    return turns


def as_typed(rng: Random, problem: Problem) -> Problem:
    """The same question as a hurried or a polite person types it."""
    text, lang = problem.question, problem.lang
    if problem.family not in ("anything else", "follow-ups") and rng.random() < 0.12:
        polite = rng.choice(phrasing.POLITE[lang])
        text = polite.format(text if polite.startswith("{}") else text[:1].lower() + text[1:])
    style = rng.random()
    if style < 0.14:
        text = text.lower()
    elif style < 0.17:
        text = text.upper()
    elif style < 0.27:
        text = text.rstrip(" ?.!=")
    elif style < 0.32:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    elif style < 0.36:
        text = text.replace(" ?", "?")
    ending = rng.random()
    text += "\n" if ending < 0.08 else " " if ending < 0.12 else ""
    return replace(problem, question=text or problem.question)


def _system(rng: Random) -> str | None:
    style = rng.random()
    return SYSTEM_PROMPT if style < 0.5 else None if style < 0.85 else rng.choice(OTHER_SYSTEM_PROMPTS)


def conversation(
    rng: Random,
    family: str | None = None,
    lang: str | None = None,
    held: bool = False,
    weights: Weights = LAST,
) -> Conversation:
    """A random conversation that ends in a problem of `family` (by default any, as `weights` says)."""

    def drawn() -> str:
        return rng.choices(FAMILIES, weights)[0]

    def turns_of(family: str, lang: str) -> list[Problem]:
        return chain(rng, lang, held) if family == "follow-ups" else [single(rng, family, lang, held)]

    family = family or drawn()
    lang = lang or rng.choice(("en", "fr"))
    turns = turns_of(family, lang)
    earlier = 0
    if not held and rng.random() < 0.08:
        earlier = rng.choice((1, 1, 1, 2, 2, 3, 5))
    for _ in range(earlier):
        other = lang if rng.random() < 0.85 else rng.choice(("en", "fr"))
        turns = [*turns_of(drawn(), other), *turns]
    keep = rng.random() < 0.3 and not held
    typed = tuple(as_typed(rng, turn) for turn in turns)
    return Conversation(_system(rng) if not held else SYSTEM_PROMPT, typed, keep)
