"""The jobs: each sets up what it needs, then does its work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

if not __package__:  # by its path, from anywhere: python FOLDER/tools/bootstrap install
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.bootstrap.environment import Environment, SetupError, say
from tools.bootstrap.install import MLX, has_mlx_cpu, set_up, set_up_training

ROOT = Path(__file__).resolve().parents[2]
MAIN = Environment(ROOT / ".venv")
TRAINING = Environment(ROOT / ".venv-train")

JOBS = {
    "chat": "talk to a model: the screen, or a line-by-line dialogue where stdin is a pipe",
    "ask": "one question, one answer",
    "test": "the tests",
    "check": "format, lint, types, floors, and the README's examples",
    "bench": "measure speed on this machine",
    "bench-fit": "what fit predicts beside what is measured; ARGS=full for the 24 billion",
    "demo-model": "train the demo model again (1½ hours)",
    "eval-demo": "how often each build of the demo model is right; `compare`: MLX beside llama.cpp, id by id",
    "install": "set up only: .venv/bin/localmag, built for the hardware that is found",
    "clean": "remove what was set up here; conversations, weights and checkpoints stay",
}
WITH_TOOLS = ("test", "check", "bench", "bench-fit", "eval-demo")
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    *(
        ("mypy", "--platform", other, "--cache-dir", f".mypy_cache/{other}", "localmag", "tools/bootstrap")
        for other in ("win32", "darwin")
    ),
    ("lint-imports", "--no-logo"),
    ("python", "-m", "tools.check_readme"),
)


def run(job: str, args: list[str]) -> int:
    """Set up what the job needs, then do it. Its exit status is returned, unless this process becomes it."""
    if job == "clean":
        return clean()
    if job == "demo-model":
        set_up_training(TRAINING)
        return become(TRAINING, "-m", "tools.demo_model", *args)
    set_up(MAIN, extras(job), again=job == "install")
    if job == "install":
        print(MAIN.python.with_name("localmag"))
        return 0
    if job == "check":
        return check()
    if job == "test":
        # Many tests wait for processes, terminals and time limits: one more at once than there are cores.
        workers = str(min(os.cpu_count() or 1, 7) + 1)
        return become(MAIN, "-m", "pytest", *(args or ("-n", workers, "--dist", "loadfile")))
    if job == "bench":
        return become(MAIN, "-m", "tools.bench", *args)
    if job == "bench-fit":
        return become(MAIN, "-m", "tools.bench.fit", *args)
    if job == "eval-demo":
        step = () if args[:1] == ["compare"] else ("eval", "--builds", "all")
        return become(MAIN, "-m", "tools.demo_model", *step, *args)
    return become(MAIN, "-m", "localmag", job, *args)


def extras(job: str) -> str:
    """What is installed besides the program, as pip spells it: the tools; MLX where it runs without a Mac."""
    wanted = ["dev"] if job in WITH_TOOLS else []
    if (wanted or job == "install") and has_mlx_cpu():
        wanted.append(MLX)
    return ",".join(wanted)


def become(environment: Environment, *args: str) -> int:
    """Run the environment's Python in this process's place: terminal, pipes and signals are its own."""
    command = [str(environment.python), *args]
    os.chdir(ROOT)
    if os.name == "nt":  # Windows has no exec that a console waits for
        return subprocess.call(command)
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


def clean() -> int:
    """Remove what can be made again in minutes; checkpoints in build/demo-model took hours, and stay."""
    caches = (".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache")
    for name in (".venv", ".venv-train", "build/wheels", "build/bench", "build/install.log", "dist", *caches):
        path = ROOT / name
        if path.is_dir():
            say(f"removing {name}")
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return 0


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
