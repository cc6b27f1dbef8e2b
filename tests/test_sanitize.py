"""Nothing that is shown may steer a terminal."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmag.sanitize import Sanitizer, sanitize

HOSTILE = st.text(
    st.one_of(st.characters(), st.sampled_from("\x1b\x9b\x07\r\n\x85\u2028\u202e\x00\x7f\ud800[]2J;52c")),
    max_size=60,
)


@given(HOSTILE)
def test_no_control_character_is_left(text: str) -> None:
    for char in sanitize(text):
        assert char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp"), repr(char)
        assert unicodedata.bidirectional(char) not in ("LRO", "RLO", "LRE", "RLE", "PDF", "LRI", "RLI", "FSI")


@given(HOSTILE, st.lists(st.integers(0, 60)))
def test_where_it_is_split_makes_no_difference(text: str, cuts: list[int]) -> None:
    sanitizer = Sanitizer()
    borders = [0, *sorted(cuts), len(text)]
    pieces = [sanitizer.feed(text[a:b]) for a, b in pairwise(borders)]
    assert "".join(pieces) == sanitize(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, naïve 日本 👍🏽 tab\there", "plain, naïve 日本 👍🏽 tab\there"),
        ("\x1b]52;c;cm0gLXJmIH4=\x07", "␛]52;c;cm0gLXJmIH4=␇"),
        ("\x1b[2J\x1b[H", "␛[2J␛[H"),
        ("\x9b2J", "\ufffd2J"),
        ("a\r\nb\rc\x85d\u2028e", "a\nb\nc\nd\ne"),
        ("\x00\x7f\b", "␀␡␈"),
        ("user\u202ecod.exe", "user\ufffdcod.exe"),
        ("", ""),
    ],
)
def test_what_becomes_of_it(text: str, shown: str) -> None:
    assert sanitize(text) == shown


def test_a_line_end_split_in_two_is_one_line_end() -> None:
    sanitizer = Sanitizer()
    assert [sanitizer.feed(chunk) for chunk in ("a\r", "\nb", "\r", "", "\n")] == ["a\n", "b", "\n", "", ""]
