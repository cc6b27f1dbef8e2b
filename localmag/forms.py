"""What a user's file tells, made into the dataclass it describes. What does not fit is refused by its key.

A list becomes a tuple, a table a dataclass within, and a whole number will do for a float. A field is told by
its own name, or by the `key` in its metadata.
"""

from __future__ import annotations

import dataclasses
import math
import re
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from localmag.errors import WrongUsage

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; nan lies in none."""

    low: float
    high: float = math.inf


@dataclass(frozen=True, slots=True)
class Text:
    """Text that the regular expression matches as a whole, and in words which that is."""

    pattern: str
    words: str


Rules = Mapping[str, Range | Text]
"""What the values of a key are held to, wherever it stands."""


def made(kind: type[_T], told: Mapping[str, Any], file: Path, rules: Rules, at: str = "") -> _T:
    """A `kind` of what `file` tells of it; `at` is where in the file, as ` of model 2`.

    Raises WrongUsage with the file, the key and what is allowed.
    """
    fields = {f.metadata.get("key", f.name): f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := [key for key in told if key not in fields]:
        raise WrongUsage(f"{file}: there is no key `{unknown[0]}`{at}.", _meant(unknown[0], fields))
    if missing := [key for key, field in fields.items() if key not in told and _required(field)]:
        raise WrongUsage(f"{file}: `{missing[0]}`{at} is missing.", "Add it.")
    form = _Form(file, rules)
    kinds = _kinds(kind)  # type: ignore[arg-type]  # mypy does not know that classes can be hashed
    return kind(**{fields[key].name: form.value(kinds[key], key, told[key], at) for key in told})


@dataclass(frozen=True, slots=True)
class _Form:
    file: Path
    rules: Rules

    def value(self, kind: Any, key: str, told: Any, at: str, number: int = 0) -> Any:
        """As the field has it; `number` counts the values of a list."""
        if get_origin(kind) is tuple and type(told) is list:
            return tuple(self.value(get_args(kind)[0], key, one, at, n) for n, one in enumerate(told, 1))
        if dataclasses.is_dataclass(kind) and type(told) is dict:
            at = f" of {key} {number}{at}" if number else f" of {key}{at}"
            return made(typing.cast("type[Any]", kind), told, self.file, self.rules, at)
        rule = self.rules.get(key)
        if not _fits(kind, told) or not _obeys(rule, told):
            raise WrongUsage(f"{self.file}: `{key}`{at} cannot be {shown(told)}.", _wanted(kind, rule))
        return float(told) if kind is float else told


@cache
def _kinds(kind: type) -> dict[str, Any]:
    """Key → type of its value; None stands for a key left out, and is no value."""
    hints = typing.get_type_hints(kind)
    return {f.metadata.get("key", f.name): _present(hints[f.name]) for f in dataclasses.fields(kind)}


def _present(hint: Any) -> Any:
    if get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    [kind] = (one for one in get_args(hint) if one is not types.NoneType)
    return kind


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _fits(kind: Any, told: Any) -> bool:
    if get_origin(kind) is Literal:
        return told in get_args(kind)
    # By exact type: a bool is an int to isinstance, and `threads = true` is a slip.
    return type(told) is kind or (kind is float and type(told) is int)


def _obeys(rule: Range | Text | None, told: Any) -> bool:
    match rule:
        case Range(low, high):
            return bool(low <= told <= high)
        case Text(pattern):
            return bool(re.fullmatch(pattern, told))
    return True


def _wanted(kind: Any, rule: Range | Text | None) -> str:
    if any(map(dataclasses.is_dataclass, (kind, *get_args(kind)))):
        return "Write it as a table, under a heading in brackets."
    if get_origin(kind) is Literal:
        return f"Use one of {', '.join(get_args(kind))}."
    words = _WORDS.get(kind, "a list in brackets")
    match rule:
        case Range(low, high):
            words += f" between {low:g} and {high:.15g}"
        case Text(_, told):
            words += f": {told}"
    return f"Give it {words}."


_WORDS: dict[type, str] = {
    bool: "true or false, without quotes",
    float: "a number",
    int: "a whole number",
    str: "text in quotes",
}


def _meant(key: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    if near := get_close_matches(key, known, n=1):
        return f"Did you mean `{near[0]}`?"
    return f"Known are {', '.join(known)}."


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxlong = 2, 80, 40

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write out very large ones.
        return super().repr_int(x, level) if x.bit_length() < 4096 else "so large a number"


shown = _Short().repr
"""A value as it was written, or as much of it as tells which is meant."""
