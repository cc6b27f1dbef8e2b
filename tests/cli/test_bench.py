"""`localmag bench`, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RunLocalmag


def test_it_prints_a_line_for_each_thing_measured(localmag: RunLocalmag) -> None:
    done = localmag("bench", "demo", "--quant", "Q8_0", "--ctx", "256", "--runs", "1")
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head == "localmag demo Q8_0, llama.cpp, context 256, KV f16"
    assert [row[:18].strip() for row in rows] == ["load", "first token", "pp128", "tg32", "memory"]
    assert all(float(row[18:28].replace(",", "")) > 0 for row in rows)
    assert rows[2].endswith("tok/s, in one run")


def test_json_says_what_was_measured_and_on_what(localmag: RunLocalmag) -> None:
    done = localmag(
        "bench", "demo", "--quant", "Q8_0", "--ctx", "256", "--runs", "2", "--depth", "40", "--json"
    )
    told = json.loads(done.stdout)
    assert (told["model"], told["build"], told["backend"], told["context"]) == (
        "demo",
        "Q8_0",
        "llama.cpp",
        256,
    )
    assert [test["name"] for test in told["tests"]] == ["pp128 @ d40", "tg32 @ d40"]
    assert all(len(test["rates"]) == 2 for test in told["tests"])
    assert min(told["load_s"], told["ttft_s"], told["memory_bytes"]) > 0
    assert told["seed"] == 0
    assert told["versions"]["llama-cpp-python"]


def test_tokens_written_and_the_seed_are_as_asked(localmag: RunLocalmag) -> None:
    words = ("--ctx", "256", "--runs", "1", "--max-tokens", "40", "--seed", "4294967294", "--json")
    told = json.loads(localmag("bench", "demo", "--backend", "mlx", *words).stdout)
    assert told["seed"] == 4_294_967_294
    assert [test["name"] for test in told["tests"]] == ["pp128", "tg40"]


@pytest.mark.parametrize("words", [("--ctx", "80"), ("--ctx", "256", "--max-tokens", "200")])
def test_a_run_without_room_is_wrong_usage(localmag: RunLocalmag, words: tuple[str, ...]) -> None:
    """Not a report in which nothing was measured."""
    done = localmag("bench", "demo", *words)
    assert done.returncode == 2
    assert f"holds {words[1]}" in done.stderr


def test_a_depth_without_room_is_wrong_usage(localmag: RunLocalmag) -> None:
    done = localmag("bench", "demo", "--ctx", "256", "--depth", "5000", "--json")
    assert done.returncode == 2
    assert "A depth of 5,000" in done.stderr
    assert "holds 256" in done.stderr
    assert "a --depth of 120 or less" in done.stderr
    assert not done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_it_with_what_was_measured(talker: Path) -> None:
    command = [sys.executable, "-m", "localmag", "bench", str(talker), "--ctx", "512", "--runs", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stderr
        lines = [running.stdout.readline() for _ in range(3)]
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
        assert running.wait(30) == 130
    assert lines[1].startswith("  load")
    assert "stopped" in said
