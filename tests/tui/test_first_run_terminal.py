"""`localmag chat` where no model is yet: the real program, client and engine, in a real terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Demo
from tests.hub.server import Hub, Status

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal"),
]

ESC, ENTER, CTRL_P, CTRL_Q, DOWN, END = "\x1b", "\r", "\x10", "\x11", "\x1b[B", "\x1b[F"
REPO = "someone/Tiny-Reasoner-GGUF"
WEIGHTS = "Tiny-Reasoner-Q8_0.gguf"

TINY = f"""
[[model]]
name = "magistral-small-1.2" # so that it is the one to take
title = "Tiny Reasoner"
aliases = ["magistral", "magistral:1.2"]
repo = "someone/Tiny-Reasoner"
licence = "Apache-2.0"
context = 1024
advised = 1024
max_tokens = 512
temperature = 0.7
top_p = 0.95
tokenizer = "v13"

[model.shape]
%s

[[model.build]]
backend = "llama.cpp"
quant = "Q8_0"
repo = "{REPO}"
file = "{WEIGHTS}"
gigabytes = 0.005
"""


@pytest.fixture
def hub(demo: Demo, home: Path) -> Iterator[Hub]:
    """A hub with the demo's files under another name, which the user's own catalogue knows."""
    from localmag import gguf

    shape = gguf.read_model(demo.weights).shape()
    told = "\n".join(
        f"{key} = {str(value).lower()}"
        for key in ("layers", "width", "heads", "kv_heads", "head_size", "ffn", "vocabulary", "tied")
        if (value := getattr(shape, key)) is not None
    )
    config = home / "localmag" / "config"
    config.mkdir(parents=True)
    (config / "models.toml").write_text(TINY % told, encoding="utf-8")
    with Hub() as hub:
        hub.add(REPO, {WEIGHTS: demo.weights})
        base = {name: (demo.folder / name).read_bytes() for name in ("tekken.json", "SYSTEM_PROMPT.txt")}
        hub.add("someone/Tiny-Reasoner", base)
        yield hub


def environ(hub: Hub) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DOWNLOAD_TIMEOUT": "5"}


def test_from_nothing_to_an_answer_of_the_pulled_model(hub: Hub) -> None:
    from tests.tui.terminal import Terminal

    hub.slow = 0.5
    with Terminal(["chat", "--max-tokens", "40"], 80, 24, **environ(hub)) as it:
        it.until("No model is on this machine yet", "Tiny Reasoner", "★ Q8_0", "1,024", "tok/s")
        it.until("GiB memory free", "Takes 0.")
        it.type(ENTER)
        it.until("Get Tiny Reasoner Q8_0?", "Yes, get", REPO, "tekken.json", "apache-2.0", "free")
        it.type(ENTER)
        it.until("Getting Tiny Reasoner Q8_0", "━")
        it.type(ESC)
        it.until("Stopped. What has arrived is kept")
        it.type(CTRL_Q)
        assert it.end() == 0
    hub.slow = 0.0
    with Terminal(["chat", "--max-tokens", "40"], 80, 24, **environ(hub)) as it:
        it.until("★ Q8_0", "more")
        it.type(ENTER)
        it.until("Yes, resume:", "is here already")
        it.type(ENTER)
        it.until("● ready", "Tiny Reasoner Q8_0")
        it.type(f"What is 1 + 1?{ENTER}")
        it.until("▌ What is 1 + 1?", "● done")
        it.type(CTRL_Q)
        assert it.end() == 0
    with Terminal(["chat"], 80, 24, **environ(hub)) as it:
        it.until("● ready", "Tiny Reasoner Q8_0")  # the next day it is simply there


def test_the_demo_first_and_a_model_later_from_the_palette(hub: Hub) -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "--max-tokens", "40"], 60, 20, NO_COLOR="1", **environ(hub)) as it:
        it.until("★ Q8_0")
        it.type("d")
        it.until("● ready", "localmag demo")
        it.type(CTRL_P)
        it.until("Search for commands")
        it.type(f"get a model{DOWN}")
        it.until("Fetch another")
        it.type(ENTER)
        it.until("★ Q8_0", "Get it")
        it.type(ENTER)
        it.until("Yes, get")
        it.type(ENTER)
        it.until("● ready", "Tiny Reasoner")
        it.type(f"What is 1 + 1?{ENTER}")
        it.until("▌ What is 1 + 1?", "● done")
        it.type(CTRL_Q)
        assert it.end() == 0


def test_a_hub_that_refuses_leaves_the_demo(hub: Hub) -> None:
    from tests.tui.terminal import Terminal

    hub.faults.append(Status(f"/api/models/{REPO}", on_cdn=False, status=401))
    with Terminal(["chat"], 80, 24, **environ(hub)) as it:
        it.until("★ Q8_0")
        it.type(ENTER)
        it.until("hf auth login", "Try again")
        it.type("d")
        it.until("● ready", "localmag demo")
        it.type(CTRL_Q)
        assert it.end() == 0
