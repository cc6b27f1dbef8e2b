"""What terminals of several kinds say they can show."""

from __future__ import annotations

import io
from typing import TextIO

import pytest

from localmag.doctor.terminal import Colours, Terminal


class Tty(io.StringIO):
    """A stream that says it is a terminal; its encoding is the test's."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


def terminal(encoding: str = "utf-8", **environment: str) -> Terminal:
    stream: TextIO = Tty(encoding)
    return Terminal.of((stream, stream, stream), {"TERM": "xterm-256color", **environment})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "256"),
        ({"COLORTERM": "truecolor"}, "16 million"),
        ({"COLORTERM": "24bit"}, "16 million"),
        ({"TERM": "", "WT_SESSION": "a-guid"}, "16 million"),
        ({"TERM": "xterm"}, "16"),
        ({"TERM": "dumb"}, "none"),
        ({"COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
        ({"COLORTERM": "truecolor", "NO_COLOR": ""}, "16 million"),
    ],
)
def test_colours(environment: dict[str, str], expected: Colours) -> None:
    assert terminal(**environment).colours == expected


def test_a_good_terminal_has_no_remarks() -> None:
    assert not list(terminal().remarks("linux"))
    assert not list(terminal(TERM="").remarks("win32"))


def test_letters_that_would_be_lost_are_told_with_the_platforms_command() -> None:
    ((said, todo),) = terminal("latin-1").remarks("linux")
    assert "UTF-8" in said
    assert "LANG" in todo
    ((_, todo),) = terminal("cp1252").remarks("win32")
    assert "chcp 65001" in todo


@pytest.mark.parametrize("kind", ["dumb", "unknown", ""])
def test_a_terminal_that_does_not_say_what_it_can_do(kind: str) -> None:
    ((said, todo),) = terminal(TERM=kind).remarks("linux")
    assert "TERM" in said
    assert "export TERM" in todo


def test_a_small_one() -> None:
    small = Terminal(interactive=True, size=(40, 10), kind="xterm", colours="16", unicode=True)
    ((said, _),) = small.remarks("linux")
    assert "40 × 10" in said


def test_a_pipe_is_no_terminal_and_that_is_all_there_is_to_say() -> None:
    pipe = Terminal.of((io.StringIO(), io.StringIO(), io.StringIO()), {})
    assert (pipe.interactive, pipe.size) == (False, None)
    assert len(list(pipe.remarks("linux"))) == 1


def test_a_stream_that_is_closed() -> None:
    assert not Terminal.of((None, None, None), {}).interactive
