"""A pull that ends anywhere, also between two files: what is complete then, and what is fetched next."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from localmag import store
from localmag.store import NotHere
from tests.hub.look import cached, listed
from tests.hub.magistral import BASE_REPO, IMAGES, IMAGES_REPO, WEIGHTS, WEIGHTS_REPO
from tests.hub.server import Hub, Stall
from tests.hub.zygote import Zygote

pytest_plugins = ("tests.hub.fixtures",)

FILES = ("params.json", "SYSTEM_PROMPT.txt", IMAGES, "tekken.json", WEIGHTS)
"""In the order in which they come: what is whole has all that goes with it."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")


def here() -> set[str]:
    """The files that have arrived whole, by name."""
    repos = (WEIGHTS_REPO, BASE_REPO, IMAGES_REPO)
    return {p.name for repo in repos for p in cached(repo).glob("snapshots/*/*") if p.is_file()}


def killed_before(hub: Hub, run: Zygote, name: str) -> None:
    """A pull that is killed while it waits for the first byte of that file."""
    hub.faults.append(Stall(name, seconds=30))
    started = run.start("pull", "magistral:Q4_K_M", "--yes")
    until = time.monotonic() + 60
    before = set(FILES[: FILES.index(name)])
    while here() != before and time.monotonic() < until:
        time.sleep(0.02)
    assert here() == before
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    hub.faults.clear()


@pytest.mark.parametrize("name", FILES[2:])  # those that the hub keeps elsewhere, and so can hold back
def test_wherever_it_is_killed_nothing_is_called_complete_and_only_the_rest_is_fetched(
    hub: Hub, run: Zygote, name: str
) -> None:
    killed_before(hub, run, name)
    assert listed(run).get("magistral:Q4_K_M", {"state": "absent"})["state"] in ("absent", "partial")
    assert store.newest() is None
    with pytest.raises(NotHere, match="localmag pull magistral"):
        store.locate("magistral")
    already = here()
    hub.sent.clear()
    done = run("pull", "magistral:Q4_K_M", "--yes")
    assert done.returncode == 0, done.stderr
    assert not already & set(hub.sent)
    assert here() == set(FILES)
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"


def test_what_was_lost_of_it_later_is_fetched_and_nothing_else(hub: Hub, run: Zygote) -> None:
    assert run("pull", "magistral:Q4_K_M", "--yes").returncode == 0
    for kept in (*cached(BASE_REPO).glob("snapshots/*/*"), *cached(BASE_REPO).glob("blobs/*")):
        kept.unlink()
    assert listed(run)["magistral:Q4_K_M"]["state"] != "verified"
    hub.sent.clear()
    done = run("pull", "magistral:Q4_K_M", "--yes")
    assert done.returncode == 0, done.stderr
    assert set(hub.sent) == {"tekken.json", "SYSTEM_PROMPT.txt", "params.json"}
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
