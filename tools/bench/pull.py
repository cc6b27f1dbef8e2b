"""`localmag pull` beside `hf download` of the same file from a hub on this machine; and 100 pulls killed.

Both fetch 500 MB into an empty cache, taken in turn; localmag's time includes its hash check. Then pulls are
killed with -9 at random moments of their lives, and resumed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.hub.magistral import BASE_REPO, WEIGHTS, WEIGHTS_REPO, weights
from tests.hub.server import Hub
from tests.hub.zygote import Zygote
from tests.test_gguf import small

ROUNDS = 3
SIZE = 500_000_000  # bytes
KILLS = 100


def rows() -> Iterator[tuple[str, ...]]:
    with tempfile.TemporaryDirectory() as folder, Hub() as hub:
        yield _throughput(hub, Path(folder))
        yield _killed(hub, Path(folder))


def _throughput(hub: Hub, folder: Path) -> tuple[str, ...]:
    file = folder / WEIGHTS
    with file.open("wb") as out:
        head = small(floats=SIZE // 4)
        out.write(head[: len(head) - SIZE // 4 * 4])
        block = os.urandom(1 << 20)
        while out.tell() < len(head):
            out.write(block[: len(head) - out.tell()])
    hub.add(WEIGHTS_REPO, {WEIGHTS: file})
    hub.add(BASE_REPO, {"tekken.json": b"{}"})
    programs = Path(sys.executable).parent
    commands = {
        "localmag": [str(programs / "localmag"), "pull", "magistral", "--yes"],
        "hf": [str(programs / "hf"), "download", WEIGHTS_REPO, WEIGHTS],
    }
    rates: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(ROUNDS):
        for name, command in list(commands.items())[:: 1 if turn % 2 else -1]:
            env = _home(hub, folder / "home")
            start = time.perf_counter()
            subprocess.run(command, env=env, check=True, capture_output=True)
            rates[name].append(SIZE / 1e6 / (time.perf_counter() - start))
            shutil.rmtree(folder / "home")
    took = {name: statistics.median(r) for name, r in rates.items()}
    file.unlink()
    return (
        "pull 500 MB, verified / hf download",
        f"{took['localmag']:.0f} MB/s",
        f"{took['hf']:.0f} MB/s",
        f"{took['localmag'] / took['hf']:.2f}",
        "≥ 0.9",
    )


def _killed(hub: Hub, folder: Path) -> tuple[str, ...]:
    """Each pull is killed once, at any moment of its life, and resumed; it cost what was sent twice."""
    hub.reset()
    content = weights(8_000_000)
    hub.add(WEIGHTS_REPO, {WEIGHTS: content})
    hub.add(BASE_REPO, {"tekken.json": b"{}"})
    dice, worst, whole = random.Random(1), 0, 0
    env = _home(hub, folder / "home")
    with Zygote(env) as run:
        start = time.perf_counter()
        hub.slow = 0.005
        run("pull", "magistral", "--yes")
        life = time.perf_counter() - start
        while whole < KILLS:
            shutil.rmtree(folder / "home")
            hub.sent.clear()
            started = run.start("pull", "magistral", "--yes")
            time.sleep(dice.uniform(0, life))
            with suppress(ProcessLookupError):  # it was quicker
                os.kill(started.pid, signal.SIGKILL)
            started.wait()
            if started.stdout:
                continue
            done = run("pull", "magistral", "--yes")
            assert done.returncode == 0, done.stderr
            assert Path(done.stdout.strip()).read_bytes() == content
            stray = [p.name for p in folder.rglob("*") if p.name.endswith((".incomplete", ".tmp"))]
            assert not stray, stray
            worst = max(worst, hub.sent[WEIGHTS] - len(content))
            whole += 1
    return (
        f"{KILLS} pulls of 8 MB killed with -9 and resumed: verified files",
        str(whole),
        f"{worst / 1e6:.2f} MB fetched twice at worst",
        "",
        "all; one chunk (10 MB) at most",
    )


def _home(hub: Hub, folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    return {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",  # which would count as its download
        "HF_HOME": str(folder / "hf"),
        "LOCALMAG_HOME": str(folder / "localmag"),
    }
