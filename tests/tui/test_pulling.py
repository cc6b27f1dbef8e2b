"""A pull on the screen, with the real client against a hub on this machine: how it goes, stops, fails."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from huggingface_hub import constants

from localmag import catalogue
from localmag.store import inventory
from localmag.tui.getting.offers import Offer, Sight
from tests.hub.magistral import BASE_REPO, IMAGES, WEIGHTS, WEIGHTS_REPO, fill
from tests.hub.server import Flip, Hub, Stall, Status
from tests.tui.driving import Driver
from tests.tui.fakes import until
from tests.tui.newcomer import MACHINE, World, at_the_table


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """One that the client in this very process asks, though it has read HF_ENDPOINT long ago."""
    with Hub() as hub:
        fill(hub)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


class Magistral(World):
    """Offers Q4_K_M of Magistral, and looks at the disk anew each time for what of it is here."""

    def look(self) -> Sight:
        model, _ = catalogue.find("magistral")
        build = model.build()
        copies = inventory.take().of(model, build.quant)
        here = sum(c.size for c in copies if c.state == "partial")
        usable = any(c.usable for c in copies)
        offer = Offer(model, build, chosen=True, why="It fits.", context=40960, here=here, usable=usable)
        return Sight(MACHINE, (offer,))


@asynccontextmanager
async def asking(world: World | None = None, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Driver]:
    """The user has taken Q4_K_M from the table, and the hub is asked about it."""
    async with at_the_table(world or Magistral(), size) as it:
        await it.shown("★ Q4_K_M")
        await it.press("enter")
        yield it


@asynccontextmanager
async def getting(world: World | None = None, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Driver]:
    """Then they have said yes to what it takes, and it is being fetched."""
    async with asking(world, size) as it:
        await it.shown("Yes, get 3.0 MB")
        await it.press("enter")
        yield it


def state() -> str:
    return next((str(h.state) for h in inventory.take().all if h.name == "magistral:Q4_K_M"), "absent")


async def half_here(it: Driver) -> None:
    """Until some of the weights, and not all of them, are here."""
    await until(it.pilot.pause, lambda: bool(re.search(r"(0\.[1-9]|1\.\d) of 3\.0 MB", it.text)))


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (140, 40)])
async def test_from_the_table_through_one_yes_to_the_chat(hub: Hub, size: tuple[int, int]) -> None:
    world = Magistral()
    async with asking(world, size) as it:
        await it.shown("Get Magistral Small 1.2 Q4_K_M?", "Yes, get 3.0 MB", "apache-2.0", "free")
        await it.shown(WEIGHTS_REPO, BASE_REPO, "tekken.json", "SYSTEM_PROMPT.txt")
        assert not hub.sent
        await it.press("enter")
        await it.shown("● ready", "Magistral Small 1.2 Q4_K_M")
        assert world.opened == ["magistral:Q4_K_M"]
        assert state() == "verified"


async def test_its_progress_is_shown_file_by_file_and_in_all(hub: Hub) -> None:
    hub.slow = 0.05
    async with getting() as it:
        await it.shown("Getting Magistral Small 1.2 Q4_K_M", "of 3.0 MB", "B/s", "left", "━")
        await it.shown("● ready", seconds=60)


async def test_esc_stops_and_keeps_and_the_next_start_offers_to_go_on(hub: Hub) -> None:
    hub.slow, world = 0.2, Magistral()
    async with getting(world) as it:
        await half_here(it)
        await it.press("escape")
        await it.shown("Stopped. What has arrived is kept:", "Go on")
        assert world.opened == []
    assert state() == "partial"
    hub.slow = 0.0
    async with at_the_table(Magistral()) as it:
        await it.shown("★ Q4_K_M", "more")
        await it.press("enter")
        await it.shown("Yes, resume:", "of 3.0 MB is here already")
        await it.press("enter")
        await it.shown("● ready")
        assert state() == "verified"
    whole = hub.repos[WEIGHTS_REPO].files[WEIGHTS].size
    assert whole <= hub.sent[WEIGHTS] < whole + 1_000_000


async def test_what_was_stopped_goes_on_without_being_asked_again(hub: Hub) -> None:
    hub.slow = 0.2
    async with getting() as it:
        await half_here(it)
        await it.press("escape")
        await it.shown("Go on")
        hub.slow = 0.0
        await it.press("enter")
        await it.shown("● ready")
        assert state() == "verified"


async def test_the_demo_can_be_tried_while_the_pull_goes_on(hub: Hub) -> None:
    hub.slow, world = 0.1, Magistral()
    async with getting(world, (120, 30)) as it:
        await it.shown("Getting Magistral")
        await it.press("d")
        await it.shown("● ready", "localmag demo", "↓ ")
        hub.slow = 0.0
        await it.shown("Magistral Small 1.2 Q4_K_M is here, verified.", seconds=60)
        it.app.get_model()
        await it.shown("here")
        await it.press("enter")
        await it.shown("● ready", "Magistral Small 1.2 Q4_K_M")
        assert world.opened == ["demo:Q8_0", "magistral:Q4_K_M"]


async def test_leaving_stops_what_goes_on_behind_the_chat_and_says_how_to_go_on(hub: Hub) -> None:
    hub.slow = 0.1
    async with getting() as it:
        await it.shown("Getting Magistral")
        await it.press("d")
        await it.shown("● ready")
        assert it.app.getting
        assert "localmag pull magistral:Q4_K_M" in it.app.getting.close(20)
        assert state() == "partial"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param(401, "hf auth login", id="wants a login"),
        pytest.param(404, "no repository", id="is gone"),
        pytest.param(418, "418", id="is broken"),
    ],
)
async def test_a_hub_that_refuses_is_told_with_what_to_do_and_asked_again(
    hub: Hub, status: int, said: str
) -> None:
    hub.faults.append(Status(f"/api/models/{WEIGHTS_REPO}", on_cdn=False, status=status))
    async with asking() as it:
        await it.shown("is not here yet", said, "Try again", "Try the demo")
        hub.faults.clear()
        await it.press("enter")
        await it.shown("Yes, get 3.0 MB")
        await it.press("escape")
        await it.shown("★ Q4_K_M")


async def test_a_gated_repository_says_how_to_log_in(hub: Hub) -> None:
    hub.repos[BASE_REPO].gated = True
    async with asking() as it:
        await it.shown("accepted its terms", "hf auth login")


async def test_a_hub_that_is_busy_for_a_moment_is_waited_for(hub: Hub) -> None:
    hub.faults.append(Status(f"/api/models/{WEIGHTS_REPO}", times=1, on_cdn=False, status=503))
    async with asking() as it:
        await it.shown("The hub is busy (503)")
        await it.shown("Yes, get 3.0 MB")


async def test_a_cut_cable_is_told_at_once_and_the_demo_still_there(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    async with asking() as it:
        await it.shown("cannot be reached", "Check the network", seconds=10)
        await it.press("d")
        await it.shown("● ready", "localmag demo")


async def test_offline_is_told_before_anything_is_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    async with at_the_table(Magistral()) as it:
        await it.shown("Offline: HF_HUB_OFFLINE is set")
        await it.press("enter")
        await it.shown("because HF_HUB_OFFLINE is set", "Unset it")
        assert not hub.asked


async def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from localmag.store import pull as store

    monkeypatch.setattr(store, "_free", lambda folder: 1_000_000)
    async with asking() as it:
        await it.shown("needs 0.0 GB more", "Free some space")
        assert not hub.sent


async def test_a_damaged_file_is_told_and_the_next_try_is_whole(hub: Hub) -> None:
    hub.faults.append(Flip(WEIGHTS, times=1, at=2_000_000))
    async with getting() as it:
        await it.shown("is damaged", "It has been removed")
        await it.press("r")
        await it.shown("● ready", seconds=60)
        assert state() == "verified"


async def test_a_hub_that_is_busy_meanwhile_is_told_and_waited_for(hub: Hub) -> None:
    hub.faults.append(Status(WEIGHTS, times=1, status=503))
    async with getting() as it:
        await it.shown("the hub is busy; trying again in 1 s")
        await it.shown("● ready", seconds=60)


async def test_a_hub_that_stalls_can_be_left_at_once(hub: Hub) -> None:
    hub.faults.append(Stall(WEIGHTS, after=1_000_000, seconds=5))
    async with getting() as it:
        await it.shown("1.0 of 3.0 MB")
        await it.press("escape")
        await it.shown("Stopping")
        await it.press("escape")
        await it.shown("★ Q4_K_M")


async def test_names_from_the_hub_cannot_draw_on_the_terminal(hub: Hub) -> None:
    hub.repos[WEIGHTS_REPO].licence = "[red]free[/]\x1b]0;owned\x07"
    async with asking() as it:
        await it.shown("[red]free[/]")


@pytest.mark.parametrize("name", [IMAGES, "tekken.json"])
async def test_esc_between_two_files_leaves_nothing_that_is_called_complete(hub: Hub, name: str) -> None:
    hub.faults.append(Stall(name, seconds=30))
    async with getting() as it:
        await it.shown("Getting Magistral")
        await until(it.pilot.pause, lambda: any(p.endswith(name) for how, p, _ in hub.asked if how == "GET"))
        await it.press("escape")
        await it.shown("Stopped. What has arrived is kept")
    assert state() in ("absent", "partial")
    hub.faults.clear()
    before = {file: sent for file, sent in hub.sent.items() if sent}
    async with asking() as it:
        await it.shown("Yes, resume")
        await it.press("enter")
        await it.shown("● ready")
    assert state() == "verified"
    assert {file: hub.sent[file] for file in before} == before, "what had arrived came once"
    assert hub.sent[WEIGHTS] == hub.repos[WEIGHTS_REPO].files[WEIGHTS].size
