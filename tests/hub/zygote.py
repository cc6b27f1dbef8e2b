"""Runs `localmag` many times while importing it once: a process that has it all forks one more for each run.

Each run is a process of its own, with its own environment, output and end, as a user's would be; only what
huggingface_hub reads once, when it is imported (HF_ENDPOINT above all), is the same for all of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType


class Zygote:
    """Where there is no fork, each run is a plain process."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._fixed = {**env}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Zygote:
        if hasattr(os, "fork"):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.hub.zygote"],
                env={**os.environ, **self._fixed},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait(10)

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> Run:
        """Start a run, without waiting for it. `env` goes on top of the test's own environment."""
        merged = {**os.environ, **self._fixed, **(env or {})}
        folder = Path(tempfile.mkdtemp())
        if self._process is None or {"HF_ENDPOINT", "HF_HUB_OFFLINE"} & set(env or {}):
            return _Plain(args, merged, folder)
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([args, merged, str(folder)]) + "\n")
        self._process.stdin.flush()
        return _Forked(int(self._process.stdout.readline()), folder)

    def __call__(
        self, *args: str, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        run = self.start(*args, env=env)
        code = run.wait(timeout)
        return subprocess.CompletedProcess(args, code, run.stdout, run.stderr)


class Run(ABC):
    """A run that was started. `pid` can be killed."""

    pid: int

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def stdout(self) -> str:
        return _text(self._folder / "stdout")

    @property
    def stderr(self) -> str:
        return _text(self._folder / "stderr")

    @abstractmethod
    def wait(self, timeout: float = 60) -> int:
        """Until it has ended; its exit code."""


def _text(file: Path) -> str:
    """What was written so far; nothing if the run has not come so far as to open it."""
    return file.read_text(encoding="utf-8") if file.exists() else ""


class _Forked(Run):
    def __init__(self, pid: int, folder: Path) -> None:
        super().__init__(folder)
        self.pid = pid

    def wait(self, timeout: float = 60) -> int:
        ended = self._folder / "code"
        until = time.monotonic() + timeout
        while not ended.exists():
            if time.monotonic() > until:
                os.kill(self.pid, 9)
                raise subprocess.TimeoutExpired("localmag", timeout, self.stdout, self.stderr)
            time.sleep(0.01)
        return int(ended.read_text())


class _Plain(Run):
    def __init__(self, args: tuple[str, ...], env: dict[str, str], folder: Path) -> None:
        super().__init__(folder)
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.hub.zygote", *args],
                env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip
        self.pid = self._process.pid

    def wait(self, timeout: float = 60) -> int:
        return self._process.wait(timeout)


def _on_a_machine_of_24_gib() -> None:
    """What fits is then the same wherever the tests run: of Magistral, Q4_K_M is what pull takes."""
    from localmag.engines import devices
    from localmag.hardware.reading import read
    from tests.hardware.machines import GIB, LINUX

    machine = read(replace(LINUX, memory_total=24 * GIB, memory_free=22 * GIB))
    devices.machine = lambda weights: machine


def _serve() -> None:
    """Read runs from stdin, fork each, tell its process id; one in between waits, and notes how it ended."""
    import localmag.cli.app
    import localmag.store.pull
    import localmag.store.remove  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for those in between
    for line in sys.stdin:
        args, env, folder = json.loads(line)
        read, write = os.pipe()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            pid = os.fork()
            if pid == 0:
                _run(args, env, Path(folder))
            os.write(write, b"%d" % pid)
            os.close(write)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            note = Path(folder) / "code.new"
            note.write_text(str(code))
            note.rename(Path(folder) / "code")
            os._exit(0)
        os.close(write)
        print(os.read(read, 20).decode(), flush=True)  # noqa: T201
        os.close(read)


def _run(args: list[str], env: dict[str, str], folder: Path) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "w" if n else "r", closefd=False) for n in range(3))
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["localmag", *args]
    code: object = 1
    try:
        from localmag.cli import main

        main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _on_a_machine_of_24_gib()
    if len(sys.argv) > 1:
        from localmag.cli import main

        main()
    else:
        _serve()
