"""What is put into `.venv`, and whether that is done already."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import sys
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from tools.bootstrap import accelerator
from tools.bootstrap.environment import SetupError, clock, say
from tools.bootstrap.pip import pip

if TYPE_CHECKING:
    from tools.bootstrap.accelerator import Choice
    from tools.bootstrap.environment import Environment

DECIDES = ("pyproject.toml", "constraints.txt")
LLAMA = "llama-cpp-python"
MLX = "mlx-cpu"
"""The extra of pyproject.toml that brings MLX where there is no Mac."""

TOOLS = "dev"
"""The extra of the tools, whose tests run everything on llama.cpp, too."""

EXTRA = "llama-cpp"
"""The extra that brings llama.cpp where pyproject.toml leaves it out."""


def key(environment: Environment, *files: str) -> str:
    """A hash of the files that decide which packages are installed."""
    digest = hashlib.sha256()
    for name in files:
        digest.update((environment.root / name).read_bytes() + b"\0")
    return digest.hexdigest()


def ready(environment: Environment, extra: str = "") -> bool:
    """Whether all that is wanted is there. A few small files are read; nothing is started."""
    note = environment.read()
    choice = note.get("choice")
    return (
        note.get(extra or "run") == key(environment, *DECIDES)
        and isinstance(choice, dict)
        and wanted_backend() in ("", choice.get("backend"))
        and environment.python.exists()
    )


def set_up(environment: Environment, extra: str = "", *, again: bool = False) -> None:
    """Install localmag, and the tools in `extra`, unless that is done. `again` asks the machine anew.

    Raises SetupError with what to do; whatever got done is used by the next try.
    """
    if ready(environment, extra) and not again:
        return
    start = time.monotonic()
    with environment.alone():
        if ready(environment, extra) and not again:  # somebody else did it meanwhile
            return
        _begin(environment)
        choice = decide(environment, again=again, llama=TOOLS in extra.split(","))
        choice = install_llama(environment, choice)
        install_program(environment, with_llama(extra, choice))
        done = key(environment, *DECIDES)
        environment.write(run=done, **({extra: done} if extra else {}))
    say(f"ready after {clock(time.monotonic() - start)}; the program is {environment.program}")


def install_program(environment: Environment, extra: str) -> None:
    """Install localmag with those extras, without MLX where there is no wheel of it for this Python."""
    try:
        pip(environment, "install", "-c", "constraints.txt", "-e", f".[{extra}]" if extra else ".")
    except SetupError as exc:
        rest = ",".join(name for name in extra.split(",") if name != MLX)
        if rest == extra:
            raise
        say(f"MLX for a CPU could not be installed. {exc}")
        say("going on without: its tests will be skipped")
        install_program(environment, rest)


def has_mlx_cpu() -> bool:
    """Whether there are wheels of MLX for this machine's processor: Linux with glibc 2.35 or newer."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return False
    name, version = platform.libc_ver()
    return name == "glibc" and [int(part) for part in version.split(".")[:2]] >= [2, 35]


def with_llama(extra: str, choice: Choice) -> str:
    """The extras, and llama.cpp's where it is chosen and is no requirement: on Apple silicon."""
    left_out = sys.platform == "darwin" and platform.machine() == "arm64"
    wanted = left_out and choice.backend != accelerator.MLX
    return ",".join(filter(None, (extra, EXTRA if wanted else "")))


def set_up_training(environment: Environment) -> None:
    """Install what trains the demo model. Raises SetupError."""
    requirements = "tools/demo_model/requirements.txt"
    done = key(environment, requirements)
    if environment.read().get("train") == done and environment.python.exists():
        return
    with environment.alone():
        _begin(environment)
        pip(environment, "install", "-r", requirements)
        environment.write(train=done)


def _begin(environment: Environment) -> None:
    environment.log.unlink(missing_ok=True)
    log = environment.log.relative_to(environment.root)
    say(f"setting up {environment.folder.name}; the full log is {log}")
    environment.create()


# ── llama.cpp ─────────────────────────────────────────────────────────────────────────────────────


def decide(environment: Environment, *, again: bool, llama: bool = False) -> Choice:
    """The build noted last time, if nothing new is asked; otherwise the one for this machine.

    `llama` is whether llama.cpp must be there, whatever else runs here. Once it is, it stays.
    """
    index = os.environ.get("LOCALMAG_LLAMA_INDEX", "")
    cmake_args = tuple(shlex.split(os.environ.get("CMAKE_ARGS", "")))
    noted = noted_choice(environment)
    there = noted is not None and noted.backend != accelerator.MLX
    if noted and (there or not llama) and not (again or wanted_backend() or index or cmake_args):
        return noted
    try:
        choice = accelerator.choose(
            accelerator.probe(), wanted_backend(), index, cmake_args, llama=llama or there
        )
    except ValueError as exc:
        raise SetupError(str(exc)) from exc
    what = "MLX runs the models" if choice.backend == accelerator.MLX else f"llama.cpp for {choice.backend}"
    say(f"{what}: {choice.why}")
    if choice.advice:
        say(f"  {choice.advice}")
    return choice


def wanted_backend() -> str:
    return os.environ.get("LOCALMAG_BACKEND", "").lower()


def noted_choice(environment: Environment) -> Choice | None:
    """The build that is in place."""
    noted = environment.read().get("choice")
    if not isinstance(noted, dict):
        return None
    try:
        choice = accelerator.Choice(**noted)
    except TypeError:  # written by another version of this file
        return None
    return replace(choice, cmake_args=tuple(choice.cmake_args))


def install_llama(environment: Environment, choice: Choice) -> Choice:
    """Put the chosen build of llama-cpp-python in place, unless it is, and note it. The one that is in place.

    A plain build is left to pip, which keeps the wheel in its cache. Any other must go round that cache,
    which does not know CMAKE_ARGS, so its wheel is kept in build/wheels. One that does not compile is
    given up for a plain one: a slow answer is better than none.
    """
    version = pinned_version(environment, LLAMA)
    noted = noted_choice(environment)
    same = noted is not None and (noted.slug, noted.index) == (choice.slug, choice.index)
    if not (same and environment.read().get("llama") == version):
        try:
            _install_llama(environment, choice, version, here=noted is not None and not same)
        except SetupError as exc:
            if not choice.cmake_args and not choice.index:  # plain already
                raise
            say(f"llama.cpp for {choice.backend} could not be installed. {exc}")
            say("going on with a build for the CPU; `make install` tries again")
            plain = accelerator.Choice("cpu", f"the build for {choice.backend} failed")
            return install_llama(environment, plain)
    environment.write(choice=asdict(choice), llama=version)
    return choice


def _install_llama(environment: Environment, choice: Choice, version: str, *, here: bool) -> None:
    """`here`: another build is in place, which pip would take for this one."""
    pinned = f"{LLAMA}=={version}"
    anew = ("--force-reinstall", "--no-deps")
    if choice.index:
        away = ("--no-cache-dir", "--prefer-binary", "--extra-index-url", choice.index)
        pip(environment, "install", *anew, *away, pinned)
    elif choice.cmake_args:
        folder = environment.root / "build" / "wheels" / f"{choice.slug}-{version}"
        if not list(folder.glob("*.whl")):
            source = ("--no-cache-dir", "--no-deps", "--no-binary", LLAMA)
            args = shlex.join(choice.cmake_args)
            pip(environment, "wheel", *source, "-w", str(folder), pinned, CMAKE_ARGS=args)
        pip(environment, "install", *anew, *map(str, folder.glob("*.whl")))
    elif here and choice.backend != accelerator.MLX:
        pip(environment, "install", *anew, pinned)


def pinned_version(environment: Environment, name: str) -> str:
    constraints = (environment.root / "constraints.txt").read_text("utf-8")
    found = re.search(rf"^{re.escape(name)}==(\S+)", constraints, re.MULTILINE)
    if not found:
        raise SetupError(f"constraints.txt pins no {name}. Restore that line and run this again.")
    return found[1]
