"""`localmag chat` without a terminal, and the conversations it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import RunLocalmag
from tests.engines.conftest import mlx_runs

SUM = "What is 478 + 356?"


def only_session(localmag: RunLocalmag) -> str:
    (session,) = json.loads(localmag("sessions", "list", "--json").stdout)
    return str(session["id"])


def test_one_line_in_is_one_answer_out(localmag: RunLocalmag) -> None:
    done = localmag("chat", "demo", "--temp", "0", stdin=f"{SUM}\n\nNow add 12.\n")
    assert done.returncode == 0, done.stderr
    assert "834" in done.stdout
    assert "846" in done.stdout
    assert "THINK" not in done.stdout


def test_without_weights_it_is_the_demo_and_says_so_once(localmag: RunLocalmag) -> None:
    done = localmag("chat", "--temp", "0", stdin=SUM)
    assert "834" in done.stdout
    assert done.stderr.count("localmag pull magistral") == 1


@pytest.mark.parametrize("reasoning", ["keep", "strip"])
@pytest.mark.parametrize("backend", ["llama.cpp", pytest.param("mlx", marks=mlx_runs)])
def test_a_later_turn_reads_only_what_is_new(localmag: RunLocalmag, backend: str, reasoning: str) -> None:
    """Where reasoning is stripped, the answer stands in another place than it was written in, and is new."""
    flags = ("--backend", backend, "--temp", "0", f"--{reasoning}-reasoning")
    localmag("chat", "demo", *flags, stdin=f"{SUM}\nNow add 12.\n")
    shown = json.loads(localmag("sessions", "show", only_session(localmag), "--json").stdout)
    first, second = (m["outcome"]["usage"] for m in shown["messages"] if m["role"] == "assistant")
    held = first["prompt_tokens"]
    if reasoning == "keep":
        held += first["reasoning_tokens"] + first["answer_tokens"]
    assert second["cached_tokens"] in range(held - 2, held + 1)
    assert second["prompt_tokens"] > second["cached_tokens"]


def test_continue_goes_on_with_the_last_conversation(localmag: RunLocalmag) -> None:
    localmag("chat", "demo", "--temp", "0", stdin=SUM)
    done = localmag("chat", "--continue", "--temp", "0", stdin="Now add 12.")
    assert "846" in done.stdout
    shown = json.loads(localmag("sessions", "show", only_session(localmag), "--json").stdout)
    assert [m["role"] for m in shown["messages"]] == ["user", "assistant"] * 2


def test_resume_takes_an_ids_first_characters_and_refuses_what_it_cannot_mean(localmag: RunLocalmag) -> None:
    localmag("chat", "demo", "--temp", "0", stdin=SUM)
    short = only_session(localmag)[:3]
    assert localmag("chat", "--resume", short, stdin="Now add 12.").returncode == 0
    assert localmag("chat", "--resume", "zzzzzz", stdin="Hi").returncode == 3
    assert localmag("chat", "--resume", short, "--continue", stdin="Hi").returncode == 2
    assert localmag("chat", "--resume", short, "--system", "Be brief", stdin="Hi").returncode == 2


def test_nothing_to_continue_is_said_kindly(localmag: RunLocalmag) -> None:
    done = localmag("chat", "--continue", stdin="Hi")
    assert done.returncode == 3
    assert "localmag chat" in done.stderr


def test_a_shown_conversation_has_reasoning_apart_from_the_answer(localmag: RunLocalmag) -> None:
    localmag("chat", "demo", "--seed", "5", stdin=SUM)
    id = only_session(localmag)
    text = localmag("sessions", "show", id).stdout
    assert "\n> " in text
    reply = json.loads(localmag("sessions", "show", id, "--json").stdout)["messages"][1]
    assert reply["reasoning"]
    assert reply["reasoning"] not in reply["text"]
    assert reply["setup"]["sampling"] == {"temperature": 0.7, "top_p": 0.95, "seed": 5}
    assert reply["setup"]["build"] == "Q8_0"
    assert reply["outcome"]["stop"] == "end"
    assert reply["outcome"]["timing"]["decode_s"] > 0


def test_a_removed_conversation_is_gone_and_removing_wants_a_yes(localmag: RunLocalmag) -> None:
    localmag("chat", "demo", "--temp", "0", stdin=SUM)
    id = only_session(localmag)
    localmag("chat", "demo", "--temp", "0", stdin=SUM)
    other = json.loads(localmag("sessions", "list", "--json").stdout)[0]["id"]
    assert localmag("sessions", "rm", id).returncode == 2
    assert localmag("sessions", "rm", id, "absent", "--yes").returncode == 3
    assert localmag("sessions", "show", id).returncode == 0
    assert localmag("sessions", "rm", id, other, id, "--yes").returncode == 0
    assert localmag("sessions", "show", id).returncode == 3
    assert json.loads(localmag("sessions", "list", "--json").stdout) == []


def test_a_full_context_stops_the_reply_and_the_chat_says_what_to_do(localmag: RunLocalmag) -> None:
    done = localmag("chat", "demo", "--ctx", "100", "--temp", "0", stdin=f"{SUM}\n" * 6)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "100" in done.stderr


def test_bytes_that_are_no_text_do_not_stop_the_chat() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "localmag", "chat", "demo", "--max-tokens", "8"],
        input=b"What is \xff\xfe\x00 478 + 356?\n",
        capture_output=True,
        timeout=60,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    done = subprocess.run(
        f'"{sys.executable}" -m localmag sessions list --help | head -1',
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
