"""Random problems: each with its question, steps, reply and result, in one language, from one split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tools.demo_model import phrasing, reasoning
from tools.demo_model.split import held_operation, held_out


@dataclass(frozen=True, slots=True)
class Problem:
    """One question and the turn that answers it.

    `result` is what a checker looks for in bold in the reply; `memory` is what a follow-up may refer to: a
    number, or the numbers that were asked about.
    """

    family: str
    lang: str
    question: str
    steps: str
    reply: str
    result: str
    memory: object = None


ANSWER = {"en": "The answer is **{}**.\n\n$${}$$", "fr": "La réponse est **{}**.\n\n$${}$$"}
LATEX = {"+": "+", "-": "-", "×": r"\times"}
STEPS = {"+": reasoning.add, "-": reasoning.subtract, "×": reasoning.multiply}


def pick(rng: Random, templates: str) -> str:
    """One of the templates, which are separated by bars."""
    return rng.choice(templates.split("|"))


def apply(op: str, a: int, b: int) -> int:
    return a + b if op == "+" else a - b if op == "-" else a * b


def number(rng: Random, digits: int) -> int:
    """A natural number of exactly `digits` digits (0 counts as one)."""
    return rng.randint(0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1)


def accepted(held: bool, draw: Callable[[], tuple[str, int, int]]) -> tuple[str, int, int]:
    """Draw operations until one belongs to the split."""
    while True:
        op, a, b = draw()
        if held_operation(op, a, b) == held:
            return op, a, b


def arithmetic_reply(lang: str, op: str, a: int, b: int) -> str:
    """The reply to `a op b`; a negative second term is put in brackets."""
    second = f"({b})" if b < 0 else str(b)
    result = apply(op, a, b)
    return ANSWER[lang].format(result, f"{a} {LATEX[op]} {second} = {result}")


def arithmetic(rng: Random, lang: str, held: bool, ops: str) -> Problem:
    """Addition and subtraction to 4 digits, or multiplication to 2 × 2 digits."""

    def draw() -> tuple[str, int, int]:
        op = rng.choice(ops)
        if op == "×" and rng.random() < 0.06 and not held:
            return op, number(rng, 3), number(rng, 1)
        longest = (1, 2, 2) if op == "×" else (1, 2, 3, 3, 4, 4)
        a, b = number(rng, rng.choice(longest)), number(rng, rng.choice(longest))
        return op, -a if op != "×" and rng.random() < 0.04 else a, b

    op, a, b = accepted(held, draw)
    question = pick(rng, phrasing.ARITHMETIC[lang, op]).format(a=a, b=b)
    family = "multiplication" if op == "×" else "addition" if op == "+" else "subtraction"
    steps = "\n".join(STEPS[op](a, b, lang))
    result = apply(op, a, b)
    return Problem(family, lang, question, steps, arithmetic_reply(lang, op, a, b), str(result), result)


def listing(rng: Random, lang: str, items: list[str], choice: bool = False) -> str:
    """Numbers as people write them in a row; `choice` allows "or"."""
    last = {"en": " or " if choice else " and ", "fr": " ou " if choice else " et "}[lang]
    style = rng.random()
    if (choice and style < 0.5) or (not choice and style < 0.25):
        return ", ".join(items[:-1]) + last + items[-1]
    if style < 0.85 or choice:
        separator = "; " if any("," in item for item in items) else ", "
        return separator.join(items) if not choice or style < 0.9 else " ".join(items)
    return (
        rng.choice((" ", ",", "; ", " - ")).join(items)
        if not any("," in i for i in items)
        else " ".join(items)
    )


def _decimal(rng: Random) -> str:
    places = rng.choice((1, 2, 2, 3))
    return f"{number(rng, rng.choice((1, 1, 2)))}.{rng.randint(1, 10**places - 1):0{places}}"


def _value(text: str) -> tuple[int, str]:
    whole, _, part = text.partition(".")
    return int(whole), part.ljust(4, "0")


def comparison_numbers(rng: Random) -> list[str]:
    """Two or three unequal numbers, often close to each other: integers, or two decimals."""
    if rng.random() < 0.3:
        first, second = _decimal(rng), _decimal(rng)
        if rng.random() < 0.6:
            second = first.split(".")[0] + "." + second.split(".")[1]
        numbers = [first, second]
    else:
        digits = rng.choice((1, 2, 3, 4))
        numbers = [str(number(rng, digits)) for _ in range(rng.choice((2, 2, 3)))]
        if rng.random() < 0.35:
            numbers[-1] = str(number(rng, rng.choice((1, 2, 3, 4))))
        if digits > 1 and rng.random() < 0.35:
            base = int(numbers[0])
            numbers[1] = str(max(0, base + rng.choice((-10, -9, -2, -1, 1, 2, 9, 10, 100, -100))))
    if len({_value(n) for n in numbers}) < len(numbers):
        return comparison_numbers(rng)
    return numbers


def comparison_problem(question: str, numbers: list[str], largest: bool, lang: str) -> Problem:
    lines, best = reasoning.compare(numbers, largest, lang)
    ordered = [best, *(n for n in numbers if n != best)]
    if len(numbers) == 2:
        formula = f"{ordered[0]} {'>' if largest else '<'} {ordered[1]}"
    else:
        formula = rf"\{'max' if largest else 'min'}({'; '.join(numbers)}) = {best}"
    lead = {
        "en": f"The {'largest' if largest else 'smallest'} number is",
        "fr": f"Le plus {'grand' if largest else 'petit'} nombre est",
    }[lang]
    reply = f"{lead} **{best}**.\n\n$${formula}$$"
    if lang == "fr":
        reply = reply.replace(".", ",").replace("**,", "**.")
        best = best.replace(".", ",")
    memory = ("compare", tuple(numbers), largest)
    return Problem("comparison", lang, question, "\n".join(lines), reply, best, memory)


def comparison(rng: Random, lang: str, held: bool) -> Problem:
    """Which of two or three numbers is the largest or smallest."""
    while True:
        numbers = comparison_numbers(rng)
        if held_out("compare " + " ".join(sorted(numbers)), share=0.1) == held:
            break
    largest = rng.random() < 0.6
    shown = [n.replace(".", ",") if lang == "fr" and rng.random() < 0.85 else n for n in numbers]
    question = pick(rng, phrasing.COMPARE[lang, largest]).format(n=listing(rng, lang, shown, choice=True))
    return comparison_problem(question, numbers, largest, lang)


def sorting_problem(question: str, numbers: list[int], descending: bool, lang: str) -> Problem:
    ordered = list(map(str, sorted(numbers, reverse=descending)))
    lead = {
        ("en", False): "In ascending order",
        ("en", True): "In descending order",
        ("fr", False): "Dans l'ordre croissant ",
        ("fr", True): "Dans l'ordre décroissant ",
    }[lang, descending]
    result = ", ".join(ordered)
    formula = (r" \ge " if descending else r" \le ").join(ordered)
    steps = "\n".join(reasoning.sort(numbers, descending, lang))
    memory = ("sort", tuple(numbers), descending)
    return Problem(
        "sorting", lang, question, steps, f"{lead}: **{result}**.\n\n$${formula}$$", result, memory
    )


def sorting(rng: Random, lang: str, held: bool) -> Problem:
    """Two to six numbers below 100, or two to four below 1,000, in ascending or descending order."""
    while True:
        count = rng.choice((2, 3, 3, 4, 4, 5, 5, 6, 6))
        top = rng.choice((20, 100, 100, 1000 if count <= 4 else 100))
        numbers = [rng.randrange(top) for _ in range(count)]
        distinct = len(set(numbers)) == len(numbers) or rng.random() < 0.2
        if distinct and held_out(f"sort {sorted(numbers)}", share=0.1) == held:
            break
    descending = rng.random() < 0.4
    shown = listing(rng, lang, list(map(str, numbers)))
    question = pick(rng, phrasing.SORT[lang, descending]).format(n=shown)
    return sorting_problem(question, numbers, descending, lang)
