"""`kill -9` of the whole program in the middle of a reply of a real model, 20 times."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from localmag import config, paths
from localmag.sessions import CUT_OFF, Sessions
from localmag.types import Stop
from tests.conftest import Demo
from tests.stage import intact
from tools import synthetic_gguf

LOST_AT_MOST_S = 1.0


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    """A model of random weights that talks on and on: it can draw no control token, and so no end."""
    folder = tmp_path_factory.mktemp("talker")
    shutil.copy(demo.tokenizer, folder)
    shape = synthetic_gguf.llama(layers=8, width=512, heads=8, kv_heads=4, ffn=1536)
    weights = folder / "talker-Q8_0.gguf"
    synthetic_gguf.write(weights, demo.tokenizer, shape, context=32_768, talkative=True)
    return folder


@dataclass
class Life:
    """One program's: what it printed and when (Unix seconds), when it was killed, its children's ids."""

    question: str
    printed: list[tuple[float, bytes]]
    killed: float
    children: set[int]


def live(model: Path, question: str, after: float) -> Life:
    """Ask, and kill the program `after` seconds into its answer."""
    flags = ("--ctx", "32768", "--max-tokens", "30000", "--temp", "0.7", "--system", "")
    command = [sys.executable, "-m", "localmag", "chat", str(model), *flags]
    with (
        TemporaryFile() as notes,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=notes) as program,
    ):
        assert program.stdin
        assert program.stdout
        program.stdin.write(f"{question}\n".encode())
        program.stdin.flush()
        life = Life(question, list(chunks(program.stdout.fileno(), 1)), 0.0, set())
        if not life.printed:
            notes.seek(0)
            raise AssertionError(notes.read().decode())

        def kill() -> None:
            life.children |= descendants(program.pid)
            life.killed = time.time()
            program.kill()

        killer = threading.Timer(after, kill)
        killer.start()
        life.printed += chunks(program.stdout.fileno())
        killer.join()
    return life


def chunks(fd: int, most: int = sys.maxsize) -> Iterator[tuple[float, bytes]]:
    while most and (data := os.read(fd, 65_536)):
        yield time.time(), data
        most -= 1


def descendants(pid: int) -> set[int]:
    found, table = {pid}, processes()
    while more := {child for child, parent in table.items() if parent in found} - found:
        found |= more
    return found - {pid}


def processes() -> dict[int, int]:
    """Every running process's parent, by id."""
    if sys.platform == "linux":
        running = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it has just ended
                continue
            if state != "Z":
                running[int(stat.parent.name)] = int(parent)
        return running
    command = ["ps", "-A", "-o", "pid=,ppid="]
    if sys.platform == "win32":
        each = '"$($_.ProcessId) $($_.ParentProcessId)"'
        command = ["powershell", "-c", f"Get-CimInstance Win32_Process | % {{ {each} }}"]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {int(child): int(parent) for child, parent in map(str.split, rows)}


def before(life: Life, moment: float) -> str:
    return b"".join(data for when, data in life.printed if when < moment).decode(errors="ignore")


def letters(text: str) -> str:
    """What the printer prints as it is."""
    return re.sub(r"[^A-Za-z0-9]", "", text)


@pytest.mark.timeout(600)
def test_kill_9_of_the_program_loses_at_most_the_last_second(talker: Path) -> None:
    config.file().write_text("threads = 1")  # four programs share these cores
    chance = random.Random(3)
    with ThreadPoolExecutor(4) as pool:  # several programs on one database, as a user may have
        tasks = [pool.submit(live, talker, f"Question {n}", chance.uniform(0.05, 2.5)) for n in range(20)]
    lives = [task.result() for task in tasks]

    with Sessions() as sessions:
        found = {session.title: sessions.load(session.id) for session in sessions.list()}
    assert found.keys() == {life.question for life in lives}
    for life in lives:
        question, reply = found[life.question].entries
        assert question.message.text == life.question
        assert reply.outcome is not None
        assert (reply.outcome.stop, reply.outcome.error) == (Stop.ERROR, CUT_OFF)
        kept = letters(reply.message.text)
        assert kept.startswith(letters(before(life, life.killed - LOST_AT_MOST_S)))
        printed = letters(before(life, life.killed))
        assert kept[: len(printed)] == printed[: len(kept)]
    intact(paths.database())

    children = set().union(*(life.children for life in lives))
    assert len(children) >= 20
    deadline = time.monotonic() + 10
    while (orphans := children & processes().keys()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not orphans
