"""Wrapping loses nothing, fits, and costs the same at the end of a text as at its beginning."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from localmag.tui.wrap import TAB, Wrapped, wrap

ANY = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            "word",
            " ",
            "  ",
            "é",
            "e\u0301",
            "日",
            "本",
            "👍",
            "👩\u200d💻",
            "❤",
            "\ufe0f",
            "。",
            "-",
        ]
    ),
    max_size=30,
).map("".join)
WIDTHS = st.integers(2, 12)


@given(ANY, WIDTHS)
def test_rows_joined_are_the_line_and_fit(line: str, width: int) -> None:
    rows = wrap(line, width)
    assert "".join(rows) == line
    assert all(cell_len(row.rstrip()) <= width for row in rows)


@given(st.lists(ANY | st.just("\n"), max_size=12), WIDTHS)
@example(["aaa bbbbbbb", "bbbbb", " c"], 10)
def test_appended_in_pieces_is_wrapped_as_a_whole(pieces: list[str], width: int) -> None:
    grown, whole = Wrapped(width), Wrapped(width)
    for piece in pieces:
        grown.append(piece)
    whole.append("".join(pieces))
    assert grown.rows == whole.rows


@given(st.lists(ANY | st.just("\n"), max_size=12), WIDTHS, WIDTHS)
def test_rewrapped_is_wrapped_afresh(pieces: list[str], before: int, after: int) -> None:
    turned, fresh = Wrapped(before), Wrapped(after)
    turned.append("".join(pieces))
    turned.rewrap(after)
    fresh.append("".join(pieces))
    assert turned.rows == fresh.rows


@pytest.mark.parametrize(
    ("line", "width", "rows"),
    [
        ("", 5, [""]),
        ("one two three", 8, ["one two ", "three"]),
        ("aaaaaaaaaa", 4, ["aaaa", "aaaa", "aa"]),
        ("日本語です", 4, ["日本", "語で", "す"]),
        ("    indented text", 9, ["    ", "indented ", "text"]),
        ("spaces      hang", 6, ["spaces      ", "hang"]),
    ],
)
def test_where_rows_break(line: str, width: int, rows: list[str]) -> None:
    assert wrap(line, width) == rows


def test_an_append_says_which_row_changed_first() -> None:
    wrapped = Wrapped(10)
    assert wrapped.append("") == 0
    assert wrapped.append("one two three four") == 0
    assert wrapped.rows == ["one two ", "three four"]
    assert wrapped.append(" five") == 1
    assert wrapped.append("\tx\n") == 2
    assert wrapped.rows[-2:] == [f"five{TAB}x", ""]


@pytest.mark.parametrize(
    "word", ["word ", "word \n", "日本", "x"], ids=["one line", "lines", "wide", "one word"]
)
def test_the_work_per_append_does_not_grow(word: str) -> None:
    """Counted in rows wrapped, over 40,000 tokens: the last quarter costs what the first does."""
    wrapped = Wrapped(60)
    spent = []
    for _ in range(4):
        before = wrapped.wraps
        for _ in range(10_000):
            wrapped.append(word)
        spent.append(wrapped.wraps - before)
    assert spent[3] <= spent[0] * 1.05
    assert spent[3] <= 2.2 * 10_000
