"""Which build `localmag pull` takes where nobody names one, on a machine of 24 GiB without a GPU."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from tests.hub.look import cached, two_sentences
from tests.hub.magistral import WEIGHTS, WEIGHTS_REPO, weights
from tests.hub.server import Hub, Stall
from tests.hub.zygote import Zygote

pytest_plugins = ("tests.hub.fixtures",)

Q5 = WEIGHTS.replace("Q4_K_M", "Q5_K_M")


def test_it_is_the_one_that_fits_best_and_why_is_said_in_one_line(hub: Hub, run: Zygote) -> None:
    done = run("pull", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(WEIGHTS)
    why = done.stderr.splitlines()[0]
    assert why.startswith("localmag: magistral:Q4_K_M fits this machine best: ")
    assert "`localmag fit magistral` shows the others, and --quant gets another" in why


def test_fit_marks_the_same(hub: Hub, run: Zygote) -> None:
    marked = [line for line in run("fit", "magistral").stdout.splitlines() if line.startswith("→")]
    assert [line.split()[1] for line in marked] == ["magistral:Q4_K_M"]


def test_where_none_fits_nothing_is_asked_for_or_fetched(hub: Hub, run: Zygote) -> None:
    done = run("pull", "mistral-small:4", "--yes")
    assert done.returncode == 4
    assert two_sentences(done.stderr)
    assert "does not fit this machine" in done.stderr
    assert "localmag pull ministral" in done.stderr
    assert not hub.asked


@pytest.mark.parametrize("named", [["magistral:Q8_0"], ["magistral", "--quant", "q8_0"]])
def test_one_that_is_named_is_fetched_all_the_same_with_a_warning_and_a_question(
    hub: Hub, run: Zygote, named: list[str]
) -> None:
    hub.add(WEIGHTS_REPO, {WEIGHTS.replace("Q4_K_M", "Q8_0"): weights(40_000)})
    done = run("pull", *named)
    assert done.returncode == 2
    assert "magistral:Q8_0 does not fit this machine: " in done.stderr.splitlines()[0]
    assert "--yes" in done.stderr
    assert not hub.sent
    assert run("pull", *named, "--yes").returncode == 0


def test_a_quant_of_mlx_means_mlx(hub: Hub, run: Zygote) -> None:
    repo = "lmstudio-community/Magistral-Small-2509-MLX-4bit"
    hub.add(repo, {"model.safetensors": weights(40_000), "config.json": b"{}"})
    done = run("pull", "magistral", "--quant", "4bit", "--yes")
    assert done.returncode == 0, done.stderr
    assert cached(repo).exists()
    assert not cached(WEIGHTS_REPO).exists()
    assert run("pull", "magistral", "--quant", "4bit", "--backend", "llama.cpp").returncode == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_one_that_was_begun_goes_on_though_another_would_fit_better(hub: Hub, run: Zygote) -> None:
    hub.add(WEIGHTS_REPO, {WEIGHTS: weights(), Q5: weights(seed=5)})
    hub.faults.append(Stall(Q5, after=1_000_000, seconds=30))
    started = run.start("pull", "magistral:Q5_K_M", "--yes")
    until = time.monotonic() + 60
    while hub.sent.get(Q5, 0) < 1_000_000 and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    hub.faults.clear()
    done = run("pull", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(Q5)
    assert "magistral:Q5_K_M is here, or a part of it, though magistral:Q4_K_M would fit" in done.stderr
    assert WEIGHTS not in hub.sent
