"""Virtual environments: where they are, what is noted of them, and a Python to make them with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NAMES = ("python3.13", "python3.12", "python3.11", "python3.14", "python3", "python", "py")
SERVES = "import sys; print(sys.version_info >= (3, 11)); import venv, ensurepip"
SOUND = "import pip, sys; sys.exit(sys.version_info < (3, 11))"


class SetupError(Exception):
    """What went wrong and what to do about it, for the user to read."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment in a project's folder, and the note of what was installed in it."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder.parent

    @property
    def log(self) -> Path:
        return self.root / "build" / "install.log"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def program(self) -> Path:
        """What messages call `localmag`, and a shell does not know by that name."""
        return self.folder / ("Scripts/localmag.exe" if os.name == "nt" else "bin/localmag")

    @property
    def note(self) -> Path:
        return self.folder / "localmag.json"

    def read(self) -> dict[str, object]:
        """The note, or nothing where there is none, it is damaged, or the folder has been moved."""
        try:
            note = json.loads(self.note.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) and note.get("folder") == str(self.folder) else {}

    def write(self, **facts: object) -> None:
        """Add to the note."""
        note = {**self.read(), "folder": str(self.folder), **facts}
        fresh = self.note.with_suffix(".new")
        fresh.write_text(json.dumps(note, indent=1), "utf-8")
        os.replace(fresh, self.note)  # noqa: PTH105  (atomic, on Windows too)

    def create(self) -> None:
        """Make it, unless a sound one is there. Raises SetupError if no Python will do."""
        moved = self.note.exists() and not self.read()
        if not moved and self.python.exists() and _quiet([str(self.python), "-c", SOUND]) == 0:
            return
        python = find_python()
        say(f"creating {self.folder.name} with {python}")
        made = [python, "-m", "venv", "--clear", str(self.folder)]
        if subprocess.run(made, stdin=subprocess.DEVNULL, stdout=2, stderr=2, check=False).returncode:
            raise SetupError(
                f"{' '.join(made)} failed. What it printed is above; mend that and run this again."
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps two set-ups of one project from running at once; the second waits and says so."""
        lock = self.root / "build" / "install.lock"
        lock.parent.mkdir(exist_ok=True)
        with lock.open("w") as file:
            told = False
            while not try_lock(file.fileno()):
                if not told:
                    say("another set-up of this folder is running; waiting for it")
                    told = True
                time.sleep(0.5)
            yield  # closing the file, or dying, lets go


def find_python() -> str:
    """A command that starts a Python new enough and whole. Each is tried: a shim on PATH may not run.

    Raises SetupError with what to install if none will do.
    """
    without_venv = ""
    own = [] if sys.prefix != sys.base_prefix else [sys.executable]
    for name in (*own, *NAMES):
        try:
            done = subprocess.run(
                [name, "-c", SERVES], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        if done.stdout.strip() != "True":
            continue
        if done.returncode == 0:
            return name
        without_venv = without_venv or name
    if without_venv:
        raise SetupError(
            f"{without_venv} is new enough, but lacks the modules that create environments."
            " Install them (on Debian and Ubuntu: sudo apt install python3-venv) and run this again."
        )
    raise SetupError(
        "localmag needs Python 3.11 or newer, and none was found on PATH."
        " Install one (with your system's package manager, or from python.org) and run this again."
    )


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Take the lock on an open file, if nobody has it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Take the lock on an open file, if nobody has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _quiet(command: Sequence[str]) -> int:
    nowhere = subprocess.DEVNULL
    try:
        return subprocess.run(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, check=False).returncode
    except OSError:
        return 1
