"""From a problem to its worked steps: what the model writes between [THINK] and [/THINK].

Every step is small enough to be looked up rather than computed: one column, one pair of digits.
Sums are written from the right with the digits found so far after `=>`, so that the line itself says which
column is next. The last line, `= ...`, is the result, and the answer only has to copy it.
"""

from __future__ import annotations

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


def _subtract_lines(a: str, b: str) -> list[str]:
    """Column subtraction of numbers of equal length, a >= b: take the borrow off, compare, then subtract.

    A `<` anywhere in a line says that the next column has lent a ten.
    """
    lines, done, borrow = [], "", False
    for top, bottom in zip(reversed(a), reversed(b), strict=True):
        x, y = int(top), int(bottom)
        line = f"{x}-1={x - 1} " if borrow and x else "0<1 10-1=9 " if borrow else ""
        borrow, x = borrow and not x, (x - 1) % 10 if borrow else x
        line += f"{x}{_sign(x, y)}{y} "
        if x < y:
            borrow, x = True, x + 10
        done = f"{x - y}{done}"
        lines.append(f"{line}{x}-{y}={x - y} => {done}")
    return lines


def _sign(x: int | str, y: int | str) -> str:
    """Digits compare alike as numbers and as text."""
    return "<" if str(x) < str(y) else ">" if str(x) > str(y) else "="


def _digits(a: str, b: str) -> tuple[str, int]:
    """Compare two numbers of equal length up to the first unequal digits; the text, and -1, 0 or 1."""
    pairs = []
    for x, y in zip(a, b, strict=True):
        if x != ".":
            pairs.append(f"{x}{_sign(x, y)}{y}")
        if x != y:
            return " ".join(pairs), 1 if x > y else -1
    return " ".join(pairs), 0


def _aligned(numbers: list[str]) -> list[str]:
    """Numbers written with a point, filled up with zeros on both sides until all are as long."""
    halves = [number.partition(".") for number in numbers]
    left, right = (max(len(half[i]) for half in halves) for i in (0, 2))
    return [f"{whole:0>{left}}" + (f".{part:0<{right}}" if right else "") for whole, _, part in halves]


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
    top, bottom = _aligned([str(a), str(b)])
    text, order = _digits(top, bottom)
    lines = [f"{top}-{bottom}: {text}"]
    if order < 0:
        top, bottom = bottom, top
        lines.append(f"-({top}-{bottom}):")
    return [*lines, *_subtract_lines(top, bottom), f"= {a - b}"]


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
    """Steps to the largest or smallest of two or three numbers, written with a point; and that number.

    The numbers get letters: a letter is decided once, the number itself would be decided at every digit.
    """
    named = dict(zip("ABC", numbers, strict=False))
    aligned = dict(zip("ABC", _aligned(numbers), strict=False))
    lines = [COMPARE_HEADS[lang, largest], *(f"{name}={number}" for name, number in named.items())]
    best = "A"
    for name in list(named)[1:]:
        text, order = _digits(aligned[best], aligned[name])
        line = f"{best} {aligned[best]} {name} {aligned[name]}: {text}"
        best = name if (order < 0) is largest else best
        lines.append(f"{line} => {best}")
    return [*lines, f"= {named[best]}"], named[best]


def sort(numbers: list[int], descending: bool, lang: str) -> list[str]:
    """Steps of a selection sort: after each number, the better and the worse of it and the best so far.

    The best of the line is the last better one; the next line goes through the worse ones, in order.
    """
    rest = _aligned([str(number) for number in numbers])
    lines = [SORT_HEADS[lang, descending], " ".join(rest)]
    while len(rest) > 1:
        best, steps, left = rest[0], [rest[0]], []
        for number in rest[1:]:
            worse, best = sorted((best, number), reverse=not descending)
            steps.append(f"{number}:{best}/{worse}")
            left.append(worse)
        rest = left
        lines.append(" ".join(steps))
    return [*lines, f"= {' '.join(map(str, sorted(numbers, reverse=descending)))}"]
