"""Sets up localmag and runs one of its jobs: `python -m tools.bootstrap chat` is what `make chat` calls.

Creates `.venv` with Python 3.11 or newer, installs localmag there at the versions of constraints.txt with
the build of llama.cpp that suits the machine (tools/accelerator.py), and remembers that it did: the next
run reads one small file and goes straight to the job. Everything said here goes to stderr; stdin and
stdout belong to the job.

Standard library only, and Python 3.8's syntax: an old Python must get as far as saying what is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tools import accelerator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
NAMES = ("python3.13", "python3.12", "python3.11", "python3", "python", "py")

JOBS = {
    "chat": "talk to a model: the screen, or a line-by-line dialogue where stdin is a pipe",
    "ask": "one question, one answer",
    "test": "the tests",
    "check": "format, lint, types, floors, and the README's examples",
    "bench": "measure speed on this machine",
    "demo-model": "train the demo model again (2 hours)",
    "install": "set up only: .venv/bin/localmag, built for the hardware that is found",
    "clean": "remove what was set up here; conversations, weights and checkpoints stay",
}
WITH_TOOLS = ("test", "check", "bench")
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports", "--no-logo"),
    ("python", "-m", "tools.check_readme"),
)


class SetupError(Exception):
    """What went wrong and what to do about it, for the user to read."""


# ── Environments ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Environment:
    """A virtual environment and the note of what was installed in it."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

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
        note = {**self.read(), "folder": str(self.folder), **facts}
        fresh = self.note.with_suffix(".new")
        fresh.write_text(json.dumps(note, indent=1), "utf-8")
        os.replace(fresh, self.note)  # noqa: PTH105  (atomic, on Windows too)

    def create(self) -> None:
        """Make it with the newest Python that serves, unless a sound one is there."""
        sound = [str(self.python), "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))"]
        moved = self.note.exists() and not self.read()
        if not moved and self.python.exists() and _quiet(sound) == 0:
            return
        python = find_python()
        say(f"creating {self.folder.name} with {' '.join(python)}")
        made = [*python, "-m", "venv", "--clear", str(self.folder)]
        done = subprocess.run(made, stdin=subprocess.DEVNULL, stdout=2, stderr=2, check=False)
        if done.returncode:
            raise SetupError(f"{' '.join(made)} failed. What it printed is above.")


MAIN = Environment(ROOT / ".venv")
TRAINING = Environment(ROOT / ".venv-train")


def find_python() -> list[str]:
    """A command that starts a Python new enough and whole. Each is tried: a shim on PATH may not run.

    Raises SetupError with what to install if none will do.
    """
    test = "import sys; print(sys.version_info >= (3, 11)); import venv, ensurepip"
    without_venv = ""
    own = [] if sys.prefix != sys.base_prefix else [[sys.executable]]
    for command in (*own, *([name] for name in NAMES)):
        try:
            done = subprocess.run(
                [*command, "-c", test], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        if done.stdout.strip() != "True":
            continue
        if done.returncode == 0:
            return command
        without_venv = without_venv or " ".join(command)
    if without_venv:
        raise SetupError(
            f"{without_venv} is new enough, but lacks the modules that create environments."
            " Install them (on Debian and Ubuntu: sudo apt install python3-venv) and run this again."
        )
    raise SetupError(
        f"localmag needs Python {OLDEST[0]}.{OLDEST[1]} or newer, and none was found on PATH."
        " Install one (your system's package manager, or python.org) and run this again."
    )


# ── Installing ────────────────────────────────────────────────────────────────────────────────────


def key(*files: str) -> str:
    """A hash of what decides which packages are installed."""
    digest = hashlib.sha256()
    for name in files:
        digest.update((ROOT / name).read_bytes() + b"\0")
    return digest.hexdigest()


def ready(extra: str, backend: str) -> bool:
    """Whether `.venv` holds just what is wanted. One small file is read; nothing is started."""
    note = MAIN.read()
    choice = note.get("choice")
    return (
        note.get(extra or "run") == key("pyproject.toml", "constraints.txt")
        and isinstance(choice, dict)
        and backend in ("", choice.get("backend"))
        and MAIN.python.exists()
    )


def set_up(extra: str = "", again: bool = False) -> None:
    """Install localmag (and the tools in `extra`) in `.venv` unless that is done. `again` probes anew."""
    backend = os.environ.get("LOCALMAG_BACKEND", "").lower()
    if not again and ready(extra, backend):
        return
    start = time.monotonic()
    with locked():
        if not again and ready(extra, backend):  # somebody else did it meanwhile
            return
        begin(MAIN)
        MAIN.create()
        wanted = decide(again)
        made = install_llama(wanted)
        target = f".[{extra}]" if extra else "."
        pip("install", "-c", "constraints.txt", "-e", target)
        done = key("pyproject.toml", "constraints.txt")
        MAIN.write(choice=asdict(made), run=done, **({extra: done} if extra else {}))
    say(f"ready after {clock(time.monotonic() - start)}")


def begin(environment: Environment) -> None:
    log_path().unlink(missing_ok=True)
    say(f"setting up {environment.folder.name}; the full log is {log_path().relative_to(ROOT)}")


def decide(again: bool) -> accelerator.Choice:
    """The build noted last time, if nothing new is asked; otherwise the one for this machine."""
    wanted = os.environ.get("LOCALMAG_BACKEND", "").lower()
    index = os.environ.get("LOCALMAG_LLAMA_INDEX", "")
    cmake_args = tuple(shlex.split(os.environ.get("CMAKE_ARGS", "")))
    noted = noted_choice()
    if noted and not (again or wanted or index or cmake_args):
        return noted
    try:
        choice = accelerator.choose(accelerator.probe(), wanted, index, cmake_args)
    except ValueError as exc:
        raise SetupError(str(exc)) from exc
    say(f"llama.cpp for {choice.backend}: {choice.why}")
    if choice.advice:
        say(f"  {choice.advice}")
    return choice


def noted_choice() -> accelerator.Choice | None:
    """What was installed last time."""
    noted = MAIN.read().get("choice")
    if not isinstance(noted, dict):
        return None
    try:
        choice = accelerator.Choice(**noted)
    except TypeError:  # written by another version of this file
        return None
    return replace(choice, cmake_args=tuple(choice.cmake_args))


def install_llama(choice: accelerator.Choice) -> accelerator.Choice:
    """Put the chosen build of llama-cpp-python in place; returns what was installed in the end.

    A plain build is left to pip, which keeps the wheel in its cache. Any other must go round that cache,
    which does not know CMAKE_ARGS, so its wheel is kept in build/wheels. One that does not compile is
    given up for a plain one: a slow answer is better than none.
    """
    noted = noted_choice()
    pinned = f"llama-cpp-python=={pinned_version('llama-cpp-python')}"
    anew = ("install", "--force-reinstall", "--no-deps")
    if noted and (noted.slug, noted.index) == (choice.slug, choice.index):
        return choice
    if choice.index:
        pip(*anew, "--no-cache-dir", "--prefer-binary", "--extra-index-url", choice.index, pinned)
    elif choice.cmake_args:
        folder = ROOT / "build" / "wheels" / choice.slug
        wheel = ("wheel", "--no-cache-dir", "--no-deps", "--no-binary", "llama-cpp-python")
        try:
            if not list(folder.glob(f"*-{pinned_version('llama-cpp-python')}-*.whl")):
                pip(*wheel, "-w", str(folder), pinned, CMAKE_ARGS=shlex.join(choice.cmake_args))
        except SetupError as exc:
            if choice.backend == "cpu":
                raise
            say(f"the {choice.backend} build failed. {exc}")
            say("going on with a build for the CPU; `make install` tries again")
            plain = accelerator.Choice("cpu", f"the {choice.backend} build failed")
            return install_llama(plain)
        pip(*anew, *map(str, folder.glob("*.whl")))
    elif noted:
        pip(*anew, pinned)
    return choice


def pinned_version(name: str) -> str:
    found = re.search(rf"^{re.escape(name)}==(\S+)", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
    if not found:
        raise SetupError(f"constraints.txt pins no {name}. Restore that line and run this again.")
    return found[1]


@contextmanager
def locked() -> Iterator[None]:
    """Keeps two set-ups of this folder from running at once; the second waits and says so."""
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    with (folder / "install.lock").open("w") as file:
        told = False
        while not _try_lock(file.fileno()):
            if not told:
                say("another set-up of this folder is running; waiting for it")
                told = True
            time.sleep(0.5)
        yield  # closing the file, or dying, lets go


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


# ── pip, and what it is doing ─────────────────────────────────────────────────────────────────────


def log_path() -> Path:
    return ROOT / "build" / "install.log"


def pip(*args: str, environment: Environment = MAIN, **variables: str) -> None:
    """Run pip with the user's own configuration, its output in the log, its progress on stderr.

    Raises SetupError with the end of the log and what to do about it.
    """
    command = [
        str(environment.python),
        *("-m", "pip", args[0], "-v", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"),
        *args[1:],
    ]
    log_path().parent.mkdir(exist_ok=True)
    start = log_path().stat().st_size if log_path().exists() else 0
    with log_path().open("a", encoding="utf-8") as log:
        print(f"\n$ {shlex.join(command)}", file=log, flush=True)
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**without_make(), **variables, "PYTHONUNBUFFERED": "1"},
        )
    try:
        watch(child, start)
    except BaseException:
        child.terminate()
        child.wait()
        raise
    if child.returncode:
        with log_path().open(encoding="utf-8", errors="replace") as log:
            log.seek(start)
            lines = log.read().splitlines()
        raise SetupError(failure(lines))


def without_make() -> dict[str, str]:
    """The environment less make's own variables: its job server is not for the compilers below pip."""
    return {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }


def watch(child: subprocess.Popen[bytes], start: int) -> None:
    """Say what pip is doing until it ends: in place on a terminal, else a line every 30 s."""
    terminal = sys.stderr.isatty()
    began = time.monotonic()
    doing, told = "resolving the packages", 0.0
    with log_path().open(encoding="utf-8", errors="replace") as log:
        log.seek(start)
        while child.poll() is None:
            for line in log:
                doing = stage(line) or doing
            elapsed = time.monotonic() - began
            if terminal:
                width = shutil.get_terminal_size().columns
                sys.stderr.write(f"\r\x1b[2K{f'  {clock(elapsed)}  {doing}'[: width - 1]}")
                sys.stderr.flush()
            elif elapsed - told >= 30:
                say(f"  {clock(elapsed)}  {doing}")
                told = elapsed
            time.sleep(0.2)
    if terminal:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()


def stage(line: str) -> str:
    """What a line of pip's log says is going on now; empty if nothing."""
    line = line.strip()
    compiling = re.match(r"\[(\d+)/(\d+)\] ", line)
    if compiling:
        return f"compiling llama.cpp: {compiling[1]} of {compiling[2]} steps"
    if line.startswith("Building wheel for llama-cpp-python"):
        return "compiling llama.cpp (once per machine; about 7 minutes on 2 cores)"
    fetching = re.match(r"Collecting ([\w.-]+)|Downloading (\S+)", line)
    if fetching:
        return f"fetching {fetching[1] or fetching[2].rpartition('/')[2]}"
    if line.startswith("Installing collected packages"):
        return "putting the packages in place"
    return ""


HINTS = (
    (
        r"No CMAKE_\w+_COMPILER|CMAKE_\w+_COMPILER not set|could not be found|find compiler|Visual Studio",
        "A C++ compiler is missing. Install one (Debian and Ubuntu: sudo apt install build-essential; Fedora:"
        " sudo dnf install gcc-c++; macOS: xcode-select --install; Windows: the Visual Studio Build Tools"
        " with C++) and run this again.",
    ),
    (
        r"No space left|disk full",
        "The disk is full. Free about 2 GB and run this again.",
    ),
    (
        r"Killed|out of memory|[Cc]annot allocate",
        "The compiler ran out of memory. Close other programs, set CMAKE_BUILD_PARALLEL_LEVEL=1 and run this"
        " again.",
    ),
    (
        r"[Cc]onnect|name resolution|No matching distribution|[Tt]ime(d )?out|SSL|[Pp]roxy|Max retries",
        "The package index did not answer, or lacks a package. Check the network and what `pip config list`"
        " says, then run this again; what was fetched is kept.",
    ),
)


def failure(lines: Sequence[str]) -> str:
    """What pip's log says went wrong and, where the cause is a known one, what to do.

    The first errors name the cause and the last lines the consequence; thousands may lie between.
    """
    lines = [line.strip()[:160] for line in lines if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b|\bfatal\b|No space left", line, re.I)]
    shown = list(dict.fromkeys((*errors[:8], *lines[-4:])))
    known = (hint for pattern, hint in HINTS if re.search(pattern, "\n".join(errors)))
    todo = next(known, "Once its cause is gone, run this again: it goes on from here.")
    return "\n    ".join(("installing failed:", *shown)) + f"\n{todo}\nThe full log is {log_path()}"


# ── Jobs ──────────────────────────────────────────────────────────────────────────────────────────


def run(job: str, args: list[str]) -> int:
    """Set up what the job needs, then do it. Its exit status is returned, unless this process becomes it."""
    if job == "clean":
        return clean()
    if job == "demo-model":
        set_up_training()
        return become(TRAINING, "-m", "tools.demo_model", *args)
    set_up("dev" if job in WITH_TOOLS else "", again=job == "install")
    if job == "install":
        print(MAIN.python.with_name("localmag"))
        return 0
    if job == "check":
        return check()
    if job == "test":
        return become(MAIN, "-m", "pytest", *args)
    if job == "bench":
        return become(MAIN, "-m", "tools.bench", *args)
    return become(MAIN, "-m", "localmag", job, *args)


def become(environment: Environment, *args: str) -> int:
    """Run the environment's Python in this process's place: terminal, pipes and signals are its own."""
    command = [str(environment.python), *args]
    if os.name == "nt":  # Windows has no exec that a console waits for
        return subprocess.call(command, cwd=ROOT)
    os.chdir(ROOT)
    return os.execv(command[0], command)  # never returns


def check() -> int:
    """Every check, also after one has failed; 1 if any did."""
    failed = []
    for program, *args in CHECKS:
        line = " ".join((program, *args))
        say(f"$ {line}")
        found = shutil.which(program, path=str(MAIN.python.parent)) or program
        if subprocess.call([found, *args], cwd=ROOT):
            failed.append(line)
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def set_up_training() -> None:
    done = key("tools/demo_model/requirements.txt")
    if TRAINING.read().get("train") == done and TRAINING.python.exists():
        return
    with locked():
        begin(TRAINING)
        TRAINING.create()
        pip("install", "-r", "tools/demo_model/requirements.txt", environment=TRAINING)
        TRAINING.write(train=done)


def clean() -> int:
    """Remove what can be made again in minutes; checkpoints in build/demo-model took hours, and stay."""
    caches = (".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache")
    for name in (".venv", ".venv-train", "build/wheels", "build/install.log", "dist", *caches):
        path = ROOT / name
        if path.is_dir():
            say(f"removing {name}")
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _quiet(command: Sequence[str]) -> int:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode
    except OSError:
        return 1


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in JOBS:
        say("usage: python -m tools.bootstrap JOB [ARGUMENT...]\n")
        for job, meaning in JOBS.items():
            say(f"  {job:<11} {meaning}")
        return 0 if argv[:1] in (["help"], ["--help"], ["-h"]) else 2
    try:
        return run(argv[0], argv[1:])
    except SetupError as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:
        say("\nstopped; the same command goes on from here")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
