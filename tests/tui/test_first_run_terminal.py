"""`localmag chat` where no model is yet: the real program, client and engine, in a real terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from localmag import gguf
from tests.conftest import Demo
from tests.hub.own import WEIGHTS_REPO, own_model, serve_own
from tests.hub.server import Hub, Status

if TYPE_CHECKING:
    from tests.tui.terminal import Terminal

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal"),
]

ESC, ENTER, CTRL_P, CTRL_Q, DOWN, END = "\x1b", "\r", "\x10", "\x11", "\x1b[B", "\x1b[F"


@pytest.fixture
def hub(demo: Demo) -> Iterator[Hub]:
    """A hub with a model of the user's own, which stands where the catalogue's first choice would."""
    shape = gguf.read_model(demo.weights).shape()
    own_model(name="magistral-small-1.2", aliases=("magistral", "magistral:1.2"), shape=shape)
    with Hub() as hub:
        serve_own(hub, demo)
        yield hub


def environ(hub: Hub) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DOWNLOAD_TIMEOUT": "5"}


def answers_and_ends(it: Terminal) -> None:
    it.type(f"What is 1 + 1?{ENTER}")
    it.until("▌ What is 1 + 1?", "● done")
    it.type(CTRL_Q)
    assert it.end() == 0


def test_from_nothing_to_an_answer_of_the_pulled_model(hub: Hub) -> None:
    from tests.tui.terminal import Terminal

    hub.slow = 0.5
    with Terminal(["chat", "--max-tokens", "40"], 80, 24, **environ(hub)) as it:
        it.until("No Magistral is here yet", "Mine", "★ Q8_0", "1,024", "tok/s")
        it.until("GiB memory free", "Takes 0.")
        it.type(ENTER)
        it.until("Get Mine Q8_0?", "Yes, get", WEIGHTS_REPO, "tekken.json", "apache-2.0", "free")
        it.type(ENTER)
        it.until("Getting Mine Q8_0", "1.2 of 3.6 MB")  # a block of the weights, which come last
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
        it.until("● ready", "Mine Q8_0")
        answers_and_ends(it)
    with Terminal(["chat"], 80, 24, **environ(hub)) as it:
        it.until("● ready", "Mine Q8_0")  # the next day it is simply there


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
        it.until("● ready", "Mine")
        answers_and_ends(it)


def test_a_hub_that_refuses_leaves_the_demo(hub: Hub) -> None:
    from tests.tui.terminal import Terminal

    hub.faults.append(Status(f"/api/models/{WEIGHTS_REPO}", on_cdn=False, status=401))
    with Terminal(["chat"], 80, 24, **environ(hub)) as it:
        it.until("★ Q8_0")
        it.type(ENTER)
        it.until("hf auth login", "Try again")
        it.type("d")
        it.until("● ready", "localmag demo")
        it.type(CTRL_Q)
        assert it.end() == 0


def test_a_model_that_is_named_and_not_here_is_offered(hub: Hub) -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "magistral", "--ctx", "512", "--max-tokens", "40"], 80, 24, **environ(hub)) as it:
        it.until("Mine is not on this machine yet", "★ Q8_0", " 512 ")
        it.type(ENTER)
        it.until("Yes, get")
        it.type(ENTER)
        it.until("● ready", "Mine Q8_0", "/ 512")
        it.type(CTRL_Q)
        assert it.end() == 0


def test_the_demo_is_there_instead_whatever_was_asked_of_the_other(hub: Hub) -> None:
    from tests.tui.terminal import Terminal

    with Terminal(["chat", "magistral:1.1", "--ctx", "40960"], 80, 24, **environ(hub)) as it:
        it.until("Magistral Small 1.1 is not on this machine yet")
        it.type("d")
        it.until("● ready", "localmag demo", "1,024")
        it.type(CTRL_Q)
        assert it.end() == 0
