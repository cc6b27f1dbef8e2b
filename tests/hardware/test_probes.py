"""Asking programs that answer, fail, hang, or never stop talking."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from localmag.hardware import probes
from localmag.hardware.probes import Output

SLOW = 20.0  # what no answer here may take, however busy the machine


def python(code: str, seconds: float = 30.0) -> Output:
    return probes.run([sys.executable, "-c", code], seconds)


def test_what_is_said_is_kept_and_what_is_complained_of_is_not() -> None:
    assert python("import sys; print('yes'); print('oh', file=sys.stderr)") == Output("yes" + os.linesep)


def test_a_failure_gives_its_last_words() -> None:
    assert python("import sys; print('first'); sys.exit('no device')").problem == "no device"
    assert (
        python("import sys; print('No devices were found'); sys.exit(6)").problem == "No devices were found"
    )
    assert python("import sys; sys.exit(9)").problem == "exit code 9"


def test_bytes_that_are_no_text_are_no_failure() -> None:
    said = python(r"import sys; sys.stdout.buffer.write(b'NVIDIA \xff\xfe, 1, 2, 3')")
    assert said.text.startswith("NVIDIA ")
    assert not said.problem


def test_one_that_does_not_start() -> None:
    assert probes.run(["/nonexistent/nvidia-smi"], 5).problem
    assert probes.tool("no-such-tool-anywhere") is None


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(600)",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
        "while True: print('y' * 1000)",
        # Its child holds the pipe open when it is gone.
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(15)'])",
    ],
    ids=["hangs", "cannot be asked to end", "never stops", "leaves a child"],
)
def test_nothing_is_waited_for_longer_than_its_time(code: str) -> None:
    began = time.monotonic()
    python(code, seconds=2.0)
    assert time.monotonic() - began < SLOW


def test_a_hanging_one_is_said_to_hang() -> None:
    assert "within 1 s" in python("import time; time.sleep(600)", seconds=1.0).problem


def test_this_machine_answers(tmp_path: Path) -> None:
    heard = probes.ask(lambda: Output("{}"), tmp_path / "not" / "yet")
    assert heard.memory_total >= heard.memory_free > 0
    assert heard.threads >= heard.cores >= 1
    assert heard.disk_free > 0
    assert heard.cpu or sys.platform != "win32"
