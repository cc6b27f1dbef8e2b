"""The error tree is as it is drawn, and every error that is raised says what happened and what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from localmag import errors
from localmag.errors import LocalmagError
from tests.conftest import ROOT

KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, LocalmagError)
}
DRAWN = re.compile(r"^[│ ]*[├└]── (\w+) +(\d+) +(\d+)  ", re.MULTILINE)


def test_the_tree_is_as_it_is_drawn() -> None:
    drawn = {name: (int(code), int(status)) for name, code, status in DRAWN.findall(errors.__doc__ or "")}
    assert drawn == {
        name: (kind.exit_code, kind.http_status) for name, kind in KINDS.items() if kind is not LocalmagError
    }


def raised() -> Iterator[tuple[str, list[str]]]:
    """Where in the package an error is made, and its sentences as far as they are written there.

    `{}` stands for what is filled in, and for a command in backquotes.
    """
    for path in sorted((ROOT / "localmag").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                written = [re.sub("`[^`]*`", "{}", literal(argument)) for argument in node.args]
                yield f"{path.relative_to(ROOT)}:{node.lineno}", written


def literal(node: ast.expr) -> str:
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.JoinedStr(values):
            return "".join(literal(value) for value in values)
        case _:
            return "{}"


def test_every_error_is_two_sentences() -> None:
    found = list(raised())
    assert len(found) > 50
    for where, written in found:
        assert len(written) == 2, where
        for sentence in written:
            assert re.match(r"[A-Z{-]|llama\.cpp|localmag|mlx", sentence), (where, sentence)
            assert sentence.endswith((".", "?", "{}")), (where, sentence)
            assert not re.search(r"[.!?] [A-Z]", sentence), (where, sentence)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_is_shown_is_both(kind: type[LocalmagError]) -> None:
    error = kind("It broke.", "Mend it.")
    assert str(error) == "It broke. Mend it."
    assert (error.what, error.todo) == ("It broke.", "Mend it.")


def test_what_is_echoed_is_cut_where_it_is_longer_than_anybody_reads() -> None:
    error = errors.NotFound(f"There is no model named {'9' * 100_000}.", "Choose another.")
    assert len(str(error)) < 1_100
    assert error.what.startswith("There is no model named 999")
    assert error.what.endswith("999.")
    assert str(error).endswith("Choose another.")
    assert errors.cut(error.what) == error.what
