"""What tests of pull, list and rm stand on: a hub, and `localmag` run against it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hub.look import Pull
from tests.hub.magistral import fill
from tests.hub.server import Hub
from tests.hub.zygote import Zygote


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Hub, Zygote]]:
    """One hub and one address of it for all tests here, since the client reads HF_ENDPOINT once."""
    with Hub() as hub:
        env = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DOWNLOAD_TIMEOUT": "2"}
        with Zygote(env) as zygote:
            yield hub, zygote


@pytest.fixture
def hub(served: tuple[Hub, Zygote]) -> Hub:
    served[0].reset()
    return fill(served[0])


@pytest.fixture
def run(served: tuple[Hub, Zygote]) -> Zygote:
    return served[1]


@pytest.fixture
def pull(hub: Hub, run: Zygote) -> Pull:
    return lambda *args, **how: run("pull", "magistral", "--yes", *args, **how)
