"""Commands to paste: no name in them is taken for anything but a name."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmag.shell import joined


@given(st.lists(st.text()))
def test_a_posix_shell_takes_each_word_as_it_was(words: list[str]) -> None:
    assert shlex.split(joined(*words, system="linux")) == words


@pytest.mark.parametrize(
    "word", ["magistral:Q4_K_M", r"C:\models\a.gguf", "--ctx", "4096", "naïve", "a@hf", "cmake.args=-DX=on"]
)
def test_on_windows_what_is_plain_stays_as_it_is(word: str) -> None:
    assert joined("localmag", word, system="win32") == f"localmag {word}"


@pytest.mark.parametrize(
    ("word", "typed"),
    [
        ("", '""'),
        ("my model", '"my model"'),
        ("a&calc", '"a&calc"'),
        ("a;calc", '"a;calc"'),
        ("%TEMP%", '"%TEMP%"'),
        ("$(calc)", '"`$(calc)"'),
        ("a`b", '"a``b"'),
        ("textual<9,>=8", '"textual<9,>=8"'),
        ("@args", '"@args"'),
        ('a" & calc', '"a"" & calc"'),
        ("a” ; calc", '"a`” ; calc"'),
        ("C:\\my models\\", '"C:\\my models\\\\"'),
    ],
)
def test_on_windows_what_is_not_is_quoted(word: str, typed: str) -> None:
    assert joined("localmag", word, system="win32") == f"localmag {typed}"
