"""From a problem to its worked steps: what the model writes between [THINK] and [/THINK].

Every step is small enough to be looked up rather than computed: one column, one pair of digits, one letter.
Sums are written from the right with the digits found so far after `=>`, so that the line itself says which
column is next. The last line, `= ...`, is the result, and the answer only has to copy it.
"""

from __future__ import annotations

LENGTHS = {"en": "lengths", "fr": "longueurs"}
SORT_HEADS = {
    ("en", False): "Smallest first:",
    ("en", True): "Largest first:",
    ("fr", False): "Du plus petit au plus grand :",
    ("fr", True): "Du plus grand au plus petit :",
}

COMPARE_HEADS = {
    ("en", False): "Smallest:",
    ("en", True): "Largest:",
    ("fr", False): "Le plus petit :",
    ("fr", True): "Le plus grand :",
}


def _digit(number: int, place: int) -> int:
    return number // 10**place % 10


def _add_lines(a: int, b: int) -> list[str]:
    """Column addition of two natural numbers; the last line ends with the sum."""
    lines, done, carry = [f"{a}+{b}:"], "", 0
    places = max(len(str(a)), len(str(b)))
    for place in range(places):
        x, y = _digit(a, place), _digit(b, place)
        total = x + y + carry
        done = (str(total) if place == places - 1 else str(total % 10)) + done
        lines.append(f"{x}+{y}{'+1' if carry else ''}={total} => {done}")
        carry = total // 10
    return lines


def _subtract_lines(a: int, b: int) -> list[str]:
    """Column subtraction of natural numbers, a >= b; a borrowed ten shows as a top digit above 9."""
    lines, done, borrow = [], "", 0
    for place in range(len(str(a))):
        x, y = _digit(a, place), _digit(b, place)
        ten = 10 if x - borrow < y else 0
        rest = x + ten - borrow - y
        done = str(rest) + done
        lines.append(f"{x + ten}-{y}{'-1' if borrow else ''}={rest} => {done}")
        borrow = ten // 10
    return lines


def _digits_line(a: str, b: str, lang: str) -> tuple[str, int]:
    """Compare two numbers written with a point, from the left; the text and -1, 0 or 1.

    Numbers of unequal length before the point differ by length; otherwise the first unequal digit decides.
    """
    (whole_a, _, part_a), (whole_b, _, part_b) = a.partition("."), b.partition(".")
    if len(whole_a) != len(whole_b):
        order = 1 if len(whole_a) > len(whole_b) else -1
        return f"{LENGTHS[lang]} {len(whole_a)}{'>' if order > 0 else '<'}{len(whole_b)}", order
    places = max(len(part_a), len(part_b))
    pairs = []
    for x, y in zip(whole_a + part_a.ljust(places, "0"), whole_b + part_b.ljust(places, "0"), strict=True):
        order = (x > y) - (x < y)
        pairs.append(f"{x}{'<=>'[order + 1]}{y}")
        if order:
            return " ".join(pairs), order
    return " ".join(pairs), 0


def add(a: int, b: int, lang: str) -> list[str]:
    """Steps of a + b; negative terms are turned into a difference, or into a sum under one sign."""
    if a < 0 and b < 0:
        return [f"{a}+({b}) = -({-a}+{-b})", *_add_lines(-a, -b), f"= {a + b}"]
    if a < 0:
        return [f"{a}+{b} = {b}-{-a}", *subtract(b, -a, lang)]
    if b < 0:
        return [f"{a}+({b}) = {a}-{-b}", *subtract(a, -b, lang)]
    return [*_add_lines(a, b), f"= {a + b}"]


def subtract(a: int, b: int, lang: str) -> list[str]:
    """Steps of a - b, for natural b."""
    if a < 0:
        return [f"{a}-{b} = -({-a}+{b})", *_add_lines(-a, b), f"= {a - b}"]
    text, order = _digits_line(str(a), str(b), lang)
    lines = [f"{a}-{b}: {text}"]
    if order < 0:
        lines.append(f"-({b}-{a}):")
    return [*lines, *_subtract_lines(max(a, b), min(a, b)), f"= {a - b}"]


def _times_digit_lines(a: int, d: int) -> list[str]:
    """Column product of a natural number by one digit."""
    lines, done, carry = [f"{a}×{d}:"], "", 0
    places = len(str(a))
    for place in range(places):
        x = _digit(a, place)
        total = x * d + carry
        done = (str(total) if place == places - 1 else str(total % 10)) + done
        sums = f"+{carry}={x * d}+{carry}" if carry else ""
        lines.append(f"{x}×{d}{sums}={total} => {done}")
        carry = total // 10
    return lines


def multiply(a: int, b: int, lang: str) -> list[str]:
    """Steps of a × b for b of one or two digits: a product per digit of b, then their sum."""
    if a < 0:
        return [f"{a}×{b} = -({-a}×{b})", *multiply(-a, b, lang)[:-1], f"= {a * b}"]
    if a < 10 <= b:
        return [f"{a}×{b} = {b}×{a}", *multiply(b, a, lang)]
    if b < 10:
        return [*_times_digit_lines(a, b), f"= {a * b}"]
    tens, units = divmod(b, 10)
    by_tens = [*_times_digit_lines(a, tens), f"{a}×{tens}0={a * tens}0"]
    if not units:
        return [*by_tens, f"= {a * b}"]
    return [
        f"{a}×{b} = {a}×{units} + {a}×{tens}0",
        *_times_digit_lines(a, units),
        *by_tens,
        *_add_lines(a * units, a * tens * 10),
        f"= {a * b}",
    ]


def compare(numbers: list[str], largest: bool, lang: str) -> tuple[list[str], str]:
    """Steps to the largest or smallest of two or three numbers, written with a point; and that number."""
    best, lines = numbers[0], [COMPARE_HEADS[lang, largest]]
    for other in numbers[1:]:
        text, order = _digits_line(best, other, lang)
        line = f"{best}, {other}: {text}"
        if order < 0 if largest else order > 0:
            best = other
        lines.append(f"{line} => {best}")
    return [*lines, f"= {best}"], best


def sort(numbers: list[int], descending: bool, lang: str) -> list[str]:
    """Steps of a selection sort: each line is the number picked, a bar, and what is left."""
    rest = list(numbers)
    lines = [SORT_HEADS[lang, descending], " ".join(map(str, rest))]
    while len(rest) > 1:
        best = max(rest) if descending else min(rest)
        rest.remove(best)
        lines.append(f"{best} | {' '.join(map(str, rest))}")
    return [*lines, f"= {' '.join(map(str, sorted(numbers, reverse=descending)))}"]
