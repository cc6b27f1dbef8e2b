"""`localmag chat demo` as a user meets it: the real program, the real model, a real terminal."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from localmag.sessions import Sessions

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal"),
]

ESC, ENTER, CTRL_J, CTRL_Q = "\x1b", "\r", "\n", "\x11"
CTRL_N, CTRL_O, CTRL_U = "\x0e", "\x0f", "\x15"

SHORT = ("--max-tokens", "40")  # whatever the model makes of it


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid` (Linux; elsewhere nothing is known)."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():  # noqa: PTH112, PTH208
        try:
            with open(f"/proc/{name}/stat") as file:  # noqa: PTH123
                stat = file.read().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if name.isdigit() and int(stat[1]) == pid:
            found.append(int(name))
    return found


def test_a_chat_from_the_first_paint_to_the_next_day() -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "demo", *SHORT]) as it:
        it.until("Enter sends, Ctrl+J starts a new line.", "● ready", "Reasoning")
        it.type(f"What is 478{CTRL_J}+ 356?")
        it.until("│ What is 478", "│ + 356?")
        it.type(ENTER)
        it.until("▌ What is 478", "▌ + 356?", "● done")
        engines = children(it.process.pid)
        it.resize(80, 24)
        it.until("Ctrl+T opens it")
        it.type(CTRL_Q)
        assert it.end() == 0
        answered = it.raw
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in engines):  # noqa: PTH110
        assert time.monotonic() < deadline, "the engine outlived the program"
        time.sleep(0.05)
    assert b"\x1b[?1049l" in answered  # the user's own screen is back

    with Terminal(["chat", "--continue", *SHORT]) as it:
        it.until("▌ What is 478", "▌ + 356?", "● done")
        it.type(f"Now add 12.{ENTER}")
        it.until("▌ Now add 12.")
        while "context 100 /" in it.text or "● done" not in it.text:
            it.pause(0.1)
        it.type(CTRL_Q)
        assert it.end() == 0
    with Sessions() as sessions:
        *_, reply = sessions.load(sessions.latest().id).entries
    assert reply.outcome and reply.outcome.usage
    assert reply.outcome.usage.cached_tokens > 0  # read the day before


def test_a_new_conversation_and_back_to_the_one_before() -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "demo", "--temp", "0"]) as it:
        it.until("● ready")
        it.type(f"What is 478 + 356?{ENTER}")
        it.until("834", "● done")
        it.type("half a thou")
        it.until("│ half a thou")
        it.type(CTRL_N)
        it.until("● ready", "Ask the demo for a sum")
        assert "half a thou" not in it.text
        it.type(f"What is 1 + 2?{ENTER}")
        it.until("▌ What is 1 + 2?", "● done")
        it.type(CTRL_O)
        it.until("Earlier conversations", "What is 1 + 2?", "What is 478 + 356?")
        it.type(f"478{ENTER}")
        it.until("▌ What is 478 + 356?", "│ half a thou", "● done")
        it.type(CTRL_U)
        it.until("Enter sends")
        it.type(f"Now add 12.{ENTER}")
        it.until("▌ Now add 12.", "846", "● done")
        it.type(CTRL_Q)
        assert it.end() == 0
    with Sessions() as sessions:
        assert [s.messages for s in sessions.list()] == [4, 2]
        *_, reply = sessions.load(sessions.latest().id).entries
    assert reply.outcome and reply.outcome.usage
    assert reply.outcome.usage.cached_tokens > 0  # kept when it was left


def test_what_is_typed_or_pasted_while_the_program_starts_is_there_and_not_sent() -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "demo", *SHORT]) as it:
        it.type("line of a paste\r" * 1000 + "and its end")
        it.until("● ready", "│ and its end")
        assert "▌" not in it.text


@pytest.mark.parametrize("how", ["kill -9", "SIGTERM", "hang up", "quit"])
def test_what_is_written_and_not_sent_survives_whatever_ends_the_program(how: str) -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "demo"]) as it:
        it.until("● ready")
        it.type("half a thou")
        it.until("half a thou")
        it.pause(1.0)
        match how:
            case "kill -9":
                it.process.kill()
                it.end()
            case "SIGTERM":
                it.process.terminate()
                assert it.end() == 128 + signal.SIGTERM
                assert it.echoes()
            case "hang up":
                assert it.hang_up() == 129
            case "quit":
                it.type(CTRL_Q)
                assert it.end() == 0
                assert b"`localmag chat` brings it back." in it.raw

    with Terminal(["chat", "demo"]) as it:
        it.until("● ready", "│ half a thou")


def test_a_program_that_was_stopped_goes_on_and_leaves_the_terminal_as_it_was() -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "demo"]) as it:
        it.until("● ready")
        for letter in "ab":
            os.kill(it.process.pid, signal.SIGSTOP)
            time.sleep(0.2)
            os.kill(it.process.pid, signal.SIGCONT)
            it.pause(0.5)
            it.type(letter)
        it.until("│ ab ")
        it.type(CTRL_Q)
        assert it.end() == 0
        assert it.echoes()


def test_on_a_dumb_terminal_it_goes_line_by_line() -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "demo", "--temp", "0"], TERM="dumb") as it:
        it.type("What is 478 + 356?\n")
        it.until("834")
        it.type("\x04")
        assert it.end() == 0
        assert b"\x1b" not in it.raw


def test_esc_stops_the_real_engine_and_the_chat_goes_on() -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "demo", "--max-tokens", "400"]) as it:
        it.until("● ready")
        it.type(f"Count the letters of this very long text. {'lorem ipsum ' * 20}{ENTER}{ESC}")
        it.until("Stopped.", "● stopped")
        it.type(f"What is 1 + 2?{ENTER}")
        it.until("▌ What is 1 + 2?", "first token")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the engine's process in /proc")
def test_the_chat_survives_the_death_of_its_engine() -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "demo", *SHORT]) as it:
        it.until("● ready")
        it.type(f"What is 1 + 1?{ENTER}")
        it.until("▌ What is 1 + 1?", "● done")
        for engine in children(it.process.pid):
            os.kill(engine, signal.SIGKILL)
        it.type(f"What is 2 + 2?{ENTER}")
        it.until("▌ What is 2 + 2?", "F1 keys")  # answered or failed
        it.type(f"What is 3 + 3?{ENTER}")
        it.until("▌ What is 3 + 3?", "● done")
        it.type(CTRL_Q)
        assert it.end() == 0


def test_nothing_of_the_engine_reaches_the_terminal() -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "demo", *SHORT]) as it:
        it.until("● ready")
        it.type(f"What is 2 + 2?{ENTER}")
        it.until("● done")
        for word in (b"llama_", b"ggml", b"load_tensors", b"Traceback"):
            assert word not in it.raw
