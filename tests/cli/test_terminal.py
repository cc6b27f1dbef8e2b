"""`localmag ask` at a terminal: what is drawn there, and what is kept from it."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

from localmag.sessions import Sessions, Setup
from localmag.types import Message, Sampling
from tests.tui.terminal import Terminal

SUM = "What is 478 + 356?"
SETUP = Setup("demo", "demo:Q8_0", "llama.cpp", Sampling(0.7, 0.95), 512)
DIM = b"\x1b[2m"
EVIL = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b]0;evil\x07\x9b31mred\r\b"


def test_reasoning_is_dim_the_answer_is_not_and_progress_leaves_no_trace() -> None:
    with Terminal(["ask", "demo", SUM, "--temp", "0"]) as it:
        assert it.end() == 0
    before, _, answer = it.raw.rpartition(b"\x1b[22m")
    assert before.count(DIM) > 1
    assert b"834" in answer
    assert DIM not in answer
    lines = it.text.split("\n")
    assert any(line.startswith("[thought") for line in lines)
    assert not any(word in it.text for word in ("loading", "reading", "THINK"))


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_without_colours_nothing_is_dimmed(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with Terminal(["ask", "demo", SUM, "--temp", "0"]) as it:
        assert it.end() == 0
    assert b"834" in it.raw
    assert b"\x1b" not in it.raw


def test_hidden_thinking_shows_that_it_thinks_and_then_the_answer_alone() -> None:
    with Terminal(["ask", "demo", SUM, "--temp", "0", "--hide-thinking"]) as it:
        assert it.end() == 0
    assert b"thinking" in it.raw
    first, *_ = (line for line in it.text.split("\n") if line)
    assert "834" in first


@pytest.mark.parametrize("form", [[], ["--json"]], ids=str)
def test_what_was_pasted_does_not_steer_the_terminal(form: list[str]) -> None:
    with Terminal(["ask", "demo", EVIL, "--dry-run", "--system", "", *form]) as it:
        assert it.end() == 0
    assert not set("\x1b\x07\x9b\b") & set(it.raw.decode())
    assert "red" in it.text


def test_an_error_does_not_steer_it_either() -> None:
    with Terminal(["ask", f"./{EVIL}.gguf", "Hi"]) as it:
        assert it.end() == 3
    assert b"\x1b" not in it.raw
    assert "evil" in it.text


def test_an_error_is_broken_between_words_and_never_in_a_command() -> None:
    with Terminal(["sessions", "show", "nothing-of-this-long-name-at-all"], columns=50) as it:
        assert it.end() == 3
    assert [line.rstrip() for line in it.text.split("\n") if line.strip()] == [
        "localmag: There is no conversation",
        "'nothing-of-this-long-name-at-all'. See",
        "`localmag sessions list`.",
    ]


def test_a_terminal_of_one_column_is_no_crash() -> None:
    with Terminal(["sessions", "show", "nothing"], COLUMNS="1") as it:
        assert it.end() == 3
    assert "conversation" in it.text
    assert "Traceback" not in it.text


@pytest.mark.parametrize(
    "title", ["word " * 40, "日本語で" * 10, "\x1b[31mred" * 9], ids=["", "wide", "evil"]
)
def test_columns_are_named_and_titles_end_where_the_terminal_does(title: str) -> None:
    with Sessions() as sessions:
        sessions.create(Message.of("user", title), SETUP)
    with Terminal(["sessions", "list"], columns=60) as it:
        assert it.end() == 0
    names, row, *rest = it.text.split("\n")
    assert not any(line.strip() for line in rest)
    assert names.split() == ["ID", "LAST", "MESSAGES", "MODEL", "TITLE"]
    assert row.rstrip().endswith("…")
