"""How the program ends: its exit codes, its two sentences, and whoever stops it, reads it or starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import RunLocalmag

PROGRAM = (sys.executable, "-m", "localmag")
TALK = ("Go on", "--temp", "1", "--ctx", "100000", "--max-tokens", "99000", "--system", "")

linux = pytest.mark.skipif(sys.platform != "linux", reason="finds the engine in /proc")
posix = pytest.mark.skipif(sys.platform == "win32", reason="done with POSIX signals, files or a shell")


def talking(talker: Path, *words: str) -> subprocess.Popen[bytes]:
    """`ask`, in the middle of a line of an answer that has no end."""
    process = subprocess.Popen(
        [*PROGRAM, "ask", str(talker), *TALK, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    said = process.stdout.read(100)
    while said.endswith(b"\n"):
        said = process.stdout.read(1)
    assert said, process.communicate()[1]
    return process


def children(pid: int) -> list[int]:
    return [
        int(id) for task in Path(f"/proc/{pid}/task").glob("*/children") for id in task.read_text().split()
    ]


# ── Exit codes ────────────────────────────────────────────────────────────────────────────────────


@posix
def test_ctrl_c_keeps_what_came_and_leaves_with_130(talker: Path) -> None:
    process = talking(talker)
    process.send_signal(signal.SIGINT)
    answer, notes = process.communicate(timeout=30)
    assert process.returncode == 130
    assert answer.endswith(b"\n")
    assert notes.splitlines()[-1] == b"localmag: stopped."


@linux
def test_ctrl_c_still_gives_the_json_object(talker: Path) -> None:
    """Whether the engine is loading or talking: nothing is printed that would tell."""
    process = subprocess.Popen(
        [*PROGRAM, "ask", str(talker), *TALK, "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    while not children(process.pid):
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(out)["stop"] == "cancelled"


@linux
def test_an_engine_that_dies_leaves_the_answer_so_far_and_1(talker: Path) -> None:
    process = talking(talker)
    (engine,) = children(process.pid)
    os.kill(engine, signal.SIGKILL)
    answer, notes = process.communicate(timeout=30)
    assert process.returncode == 1
    assert answer.endswith(b"\n")
    assert re.search(rb"localmag: [^.]*engine's process ended.*\. .*\.\n", notes)
    assert b"Traceback" not in notes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to an address space")
def test_what_does_not_fit_is_refused_with_4(talker: Path) -> None:
    """8 million tokens of context take 2 GiB even here."""
    words = f"ask {talker} Hi --ctx {1 << 23}"
    command = f"ulimit -v 2000000; exec {sys.executable} -m localmag {words}"
    done = subprocess.run(
        ["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert f"{1 << 23:,} tokens" in done.stderr
    assert "--ctx" in done.stderr


@pytest.mark.parametrize(
    ("words", "said", "command"),
    [
        ("nope", r"No such command 'nope'\.", ""),
        ("chta", r"No such command 'chta'\. Did you mean 'chat'\?", ""),
        ("--nope", r"No such option: --nope\.", ""),
        ("ask --nope", r"No such option: --nope.*\.", " ask"),
        ("ask demo Hi --temp hot", r"Invalid value for '--temp': 'hot' is not a number\.", " ask"),
        ("ask demo Hi --ctx 1e3", r"Invalid value for '--ctx': '1e3' is not a whole number\.", " ask"),
        ("ask demo Hi --ctx 1", r"Invalid value for '--ctx': 1 is not in the range .*\.", " ask"),
        ("ask demo Hi --kv-type q9", r"Invalid value for '--kv-type': 'q9' is not one of .*\.", " ask"),
        ("ask demo Hi --temp", r"Option '--temp' requires an argument\.", " ask"),
        ("list --json=3", r"Option '--json' does not take a value\.", " list"),
        ("chat demo What now?", r"Got unexpected extra argument.*now\?.*\.", " chat"),
        ("run demo", r"No such command 'run'\. Did you mean 'chat'\?", ""),
        ("rm", r"Missing argument 'MODEL\[:QUANT\]'\.", " rm"),
        ("sessions show", r"Missing argument 'ID'\.", " sessions show"),
        ("sessions shwo", r"No such command 'shwo'\. Did you mean 'show'\?", " sessions"),
    ],
)
def test_what_cannot_be_parsed_is_wrong_usage_and_says_what_it_takes(
    localmag: RunLocalmag, words: str, said: str, command: str
) -> None:
    done = localmag(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    told = rf"localmag: {said} Run `localmag{command} --help` to see what it takes\.\n"
    assert re.fullmatch(told, done.stderr), done.stderr


def test_a_question_without_its_quotes_is_told_so(localmag: RunLocalmag) -> None:
    done = localmag("ask", "demo", "What", "now?")
    assert (done.returncode, done.stdout) == (2, "")
    assert "now?" in done.stderr
    assert "Put the question in quotes, as in `localmag ask demo " in done.stderr


@pytest.mark.parametrize("words", [(), ("sessions",)])
def test_where_no_command_is_named_they_are_listed(localmag: RunLocalmag, words: tuple[str, ...]) -> None:
    done = localmag(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(" ".join(("Usage: localmag", *words)))
    assert "Commands:" in done.stderr


def test_a_traceback_is_shown_on_request_alone(localmag: RunLocalmag) -> None:
    plain = localmag("ask", "no-such-model", "Hi")
    told = localmag("ask", "no-such-model", "Hi", env={"LOCALMAG_DEBUG": "1"})
    assert plain.returncode == told.returncode == 3
    assert "Traceback" not in plain.stderr
    assert "Traceback" in told.stderr
    assert told.stderr.endswith(plain.stderr)


# ── Whoever reads it ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_two_sentences() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, "ask", "demo", "Hi", "--dry-run"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert re.fullmatch(r"localmag: [^.]*No space left[^.]*\. [^.]*\.\n", done.stderr)


# ── Whoever starts it ─────────────────────────────────────────────────────────────────────────────


def test_a_pipe_left_open_is_said_to_be_waited_for() -> None:
    words = ("ask", "demo", "Hi", "--dry-run", "--system", "")
    with subprocess.Popen(
        [*PROGRAM, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stderr
        assert os.devnull.encode() in process.stderr.readline()
        process.stdin.close()
        process.stdin = None
        assert process.communicate(timeout=60) == (b"<s>[INST]Hi[/INST]\n", b"")


@posix
@pytest.mark.parametrize("stopped", [False, True])
def test_a_named_pipe_that_nobody_writes_to_is_said_to_be_waited_for(tmp_path: Path, stopped: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = ("ask", "demo", "Hi", "-f", str(pipe), "--dry-run", "--system", "")
    with subprocess.Popen(
        [*PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        assert f"Still reading {pipe}" in process.stderr.readline().decode()
        if stopped:
            process.send_signal(signal.SIGINT)
        else:
            pipe.write_text("news")
        out, notes = process.communicate(timeout=60)
    if stopped:
        assert (process.returncode, out, notes) == (130, b"", b"")
    else:
        assert (process.returncode, notes) == (0, b"")
        assert b"news" in out


AS_ON_WINDOWS = """
import sys, types
import typer.core
typer.core.os = types.SimpleNamespace(name="nt", environ={})
sys.argv = ["localmag", *sys.argv[1:]]
from localmag.cli import main
main()
"""


@pytest.mark.parametrize("question", ["*.md", "~", "What is $HOME? %PATH%"])
def test_a_question_is_not_expanded_where_shells_leave_that_to_programs(
    tmp_path: Path, question: str
) -> None:
    (tmp_path / "notes.md").touch()
    done = subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS, "ask", "demo", question, "--dry-run", "--system", ""],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"<s>[INST]{question}[/INST]\n", done.stderr
