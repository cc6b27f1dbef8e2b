"""Readers that leave early, disks that are full, streams that take nothing: what the program makes of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from localmag.sessions import Sessions
from localmag.types import Stop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="put together by a POSIX shell")

PROGRAM = f'"{sys.executable}" -m localmag'


def shell(command: str) -> tuple[list[int], str, str]:
    """The exit code of each program of a pipeline, and what came out of it."""
    done = subprocess.run(
        ["bash", "-c", f'{command}\necho "${{PIPESTATUS[@]}}"'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    *out, codes = done.stdout.splitlines()
    return [int(code) for code in codes.split()], "\n".join(out), done.stderr


@pytest.mark.parametrize("words", ["--version", "ask --help", "sessions list --json"])
def test_a_reader_that_has_read_enough_is_no_error(words: str) -> None:
    assert shell(f"{PROGRAM} {words} | (exec <&-; sleep 0.5)") == ([0, 0], "", "")


def test_a_chat_whose_reader_has_gone_ends_and_keeps_what_was_said() -> None:
    codes, out, notes = shell(f"yes '2 + 2' | {PROGRAM} chat demo --temp 0 | head -1")
    assert codes[1:] == [0, 0]
    assert "4" in out
    assert "Traceback" not in notes
    with Sessions() as sessions:
        (session,) = sessions.list()
        question, reply, *_ = sessions.load(session.id).entries
    assert question.message.text == "2 + 2"
    assert out in reply.message.text
    assert reply.outcome
    assert reply.outcome.stop in (Stop.CANCELLED, Stop.END)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_an_answer_needs_no_stderr_but_does_need_stdout() -> None:
    codes, out, _ = shell(f"{PROGRAM} ask demo '2 + 2' --temp 0 2>/dev/full")
    assert codes == [0]
    assert "4" in out
    for words in ("--version", "ask --help"):
        codes, _, notes = shell(f"{PROGRAM} {words} >/dev/full")
        assert codes == [1]
        assert notes.startswith("localmag: The operating system refused (No space left on device).")
    assert shell(f"{PROGRAM} ask no-such-model '2 + 2' 2>/dev/full")[0] == [3]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("words", ["list", "sessions list", "show magistral"])
def test_a_listing_needs_no_stderr_either(words: str) -> None:
    assert shell(f"{PROGRAM} {words} 2>/dev/full")[0] == [0]


@pytest.mark.parametrize("words", ["--version", "--help", "list"])
def test_a_stdout_that_is_closed_is_no_crash(words: str) -> None:
    codes, out, notes = shell(f"{PROGRAM} {words} >&-")
    assert (codes, out) == ([0], "")
    assert "failed" not in notes


def test_a_pipe_without_end_is_refused_before_memory_is_full() -> None:
    for words in ("ask demo --dry-run", "chat demo"):
        codes, _, notes = shell(f"tr '\\0' a </dev/zero | {PROGRAM} {words}")
        assert codes[1] == 2
        assert "16 MiB" in notes
