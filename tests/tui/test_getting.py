"""What getting a model says and shows: machines as offers, offers as rows, a pull's state as text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from localmag import amounts, catalogue
from localmag.errors import HubFailed
from localmag.hardware import Device, Machine, Note
from localmag.store.pull import Checking, Fetching, Plan, Verified, Waiting, Wanted
from localmag.tui.getting import looking
from localmag.tui.getting.offers import Offer, Sight, offline
from localmag.tui.getting.progress import FileProgress, Progress
from localmag.tui.getting.pulling import PullScreen
from localmag.tui.getting.pulls import Failed, Going, Pull, Ready, State, Stopped
from localmag.tui.getting.table import head, row
from localmag.tui.getting.tally import Tally
from localmag.tui.getting.telling import told
from tests.hub.own import own_model
from tests.imports import loaded_by
from tests.tui.driving import driven
from tests.tui.fakes import app_of
from tests.tui.newcomer import World, at_the_table
from tests.tui.test_snapshots import compare

GIB = 2**30
GB = 10**9

# ── A machine as offers ───────────────────────────────────────────────────────────────────────────

BARE = Machine("Linux", "x86_64", "AMD EPYC", 2, 4, 24 * GIB, 22 * GIB, disk_free=300 * GB)
GPU = Device("NVIDIA GeForce RTX 4090", "cuda", 24 * GIB, 23 * GIB, ("llama.cpp",), id="CUDA0")
RTX_4090 = replace(BARE, memory_total=64 * GIB, memory_free=57 * GIB, cores=16, devices=(GPU,))
LAPTOP = replace(BARE, memory_total=8 * GIB, memory_free=5 * GIB)


def chosen(sight: Sight) -> Offer:
    (offer,) = (o for o in sight.offers if o.chosen)
    return offer


def test_on_a_large_gpu_the_newest_magistral_is_the_one_to_take() -> None:
    sight = looking.sight(RTX_4090)
    taken = chosen(sight)
    assert taken is sight.offers[0]
    assert taken.model.name == catalogue.find("magistral")[0].name
    assert taken.fits
    assert taken.where == "GPU"
    assert taken.context >= 40_960
    assert taken.speed > 8
    assert "CUDA0" in taken.why
    assert "NVIDIA GeForce RTX 4090, 24.0 GiB" in sight.machine


def test_where_magistral_is_too_large_a_sibling_is_the_one_to_take_and_stands_first() -> None:
    sight = looking.sight(LAPTOP)
    taken = chosen(sight)
    assert taken is sight.offers[0]
    assert taken.model.name.startswith("ministral")
    magistral = next(o for o in sight.offers if o.model.name == "magistral-small-1.2")
    assert not magistral.fits
    assert "GiB of memory" in magistral.lacks


def test_where_magistral_is_slow_a_quicker_sibling_is_named() -> None:
    sight = looking.sight(BARE)
    assert chosen(sight).model.name == "magistral-small-1.2"
    assert any("quicker" in note for note in sight.notes)


def test_where_nothing_fits_that_is_said_and_nothing_recommended() -> None:
    sight = looking.sight(replace(BARE, memory_total=2 * GIB, memory_free=GIB))
    assert not any(o.chosen or o.fits for o in sight.offers)
    assert any("No model of the catalogue fits" in note for note in sight.notes)


def test_what_the_disk_cannot_take_does_not_fit() -> None:
    sight = looking.sight(replace(RTX_4090, disk_free=10 * GB))
    magistral = next(o for o in sight.offers if o.model.name == "magistral-small-1.2")
    assert not magistral.fits
    assert magistral.lacks.endswith("of disk")
    assert "10.0 GB free" in magistral.why


def test_what_the_machine_has_to_say_is_passed_on() -> None:
    sight = looking.sight(replace(BARE, notes=(Note("The card lies idle.", "Run this."),)))
    assert "The card lies idle. Run this." in sight.notes


def test_a_model_whose_shape_is_not_known_is_the_users_to_judge() -> None:
    own_model()
    offer = looking.sight(RTX_4090).offers[-1]
    assert offer.name == "mine:Q8_0"
    assert offer.fits
    assert "nobody can tell" in offer.why


@pytest.mark.parametrize(
    ("environ", "is_offline"),
    [({}, False), ({"HF_HUB_OFFLINE": "0"}, False), ({"HF_HUB_OFFLINE": "true"}, True)],
)
def test_offline_is_what_the_hub_client_takes_for_it(environ: dict[str, str], is_offline: bool) -> None:
    assert offline(environ) is is_offline


# ── Rows ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("width", [20, 30, 40, 56, 76, 140])
def test_every_row_fits_its_width(width: int) -> None:
    for offer in (*looking.sight(RTX_4090).offers, *looking.sight(LAPTOP).offers):
        assert cell_len(row(offer, width).plain) <= width
        assert offer.build.quant in row(offer, width).plain
    assert cell_len(head(width).plain) <= width


def test_what_gives_way_last_is_what_decides() -> None:
    offer = looking.sight(RTX_4090).offers[0]
    narrow = row(offer, 34).plain
    assert "GB" in narrow
    assert "40,960" in narrow
    assert "tok/s" not in narrow


# ── Progress ──────────────────────────────────────────────────────────────────────────────────────

MODEL, _ = catalogue.find("magistral")


def wanted(
    path: str, size: int, here: int = 0, *, verified: bool = False, repo: str = "mistralai/A"
) -> Wanted:
    return Wanted(repo, "c0ffee" + "0" * 34, path, size, "e" * 64, here, verified)


FILES = (
    wanted("Magistral-Small-2509-Q4_K_M.gguf", 14_333_910_176, 6_200_000_000, repo="mistralai/M-GGUF"),
    wanted("tekken.json", 19_399_895),
    wanted("SYSTEM_PROMPT.txt", 2_100, 2_100, verified=True),
)
PLAN = Plan(MODEL, MODEL.build(), FILES, "apache-2.0", Path("/models/hub"), 120_300_000_000)


def test_the_steps_of_a_pull_add_up() -> None:
    now = [100.0]
    tally = Tally(PLAN, lambda: now[0])
    weights, tokenizer, prompt = FILES
    for done in (6_300_000_000, 6_400_000_000, 6_500_000_000):
        now[0] += 1.0
        tally.take(Fetching(weights, done))
    progress = tally.progress()
    assert progress.rate == pytest.approx(100_000_000)
    assert progress.done == 6_500_000_000 + 2_100
    assert progress.seconds_left == pytest.approx(78.5, abs=1)
    assert progress.files[0].phase == "fetching"
    tally.take(Waiting("the hub is busy", 2.2))
    assert tally.progress().waiting == "the hub is busy; trying again in 3 s"
    tally.take(Fetching(weights, weights.size))
    assert tally.progress().waiting == ""
    assert tally.progress().files[0].phase == "checking"
    tally.take(Verified(weights))
    tally.take(Checking(tokenizer, 1_000_000))
    assert tally.progress().files[1].checked == 1_000_000
    tally.take(Verified(tokenizer))
    tally.take(Verified(prompt))
    assert {f.phase for f in tally.progress().files} == {"verified"}
    assert tally.progress().done == PLAN.total


def test_a_rate_is_of_late() -> None:
    now = [0.0]
    tally = Tally(PLAN, lambda: now[0])
    done = 6_200_000_000
    for speed in [1_000_000] * 30 + [50_000_000] * 30:
        now[0] += 1.0
        done += speed
        tally.take(Fetching(FILES[0], done))
    assert tally.progress().rate == pytest.approx(50_000_000, rel=0.1)


def going(**changes: object) -> Progress:
    files = (
        FileProgress(FILES[0].path, FILES[0].size, 8_100_000_000, "fetching"),
        FileProgress(FILES[1].path, FILES[1].size, FILES[1].size, "checking", 9_000_000),
        FileProgress(FILES[2].path, FILES[2].size, FILES[2].size, "verified", FILES[2].size),
    )
    return replace(Progress(files, 11_200_000.0), **changes)  # type: ignore[arg-type]


ERROR = HubFailed("The hub at https://hub.example cannot be reached.", "Check the network.")
STATES: dict[str, State] = {
    "pull-yes": Ready(PLAN),
    "pull-going": Going(going(waiting="the hub is busy; trying again in 4 s")),
    "pull-stopped": Stopped(going()),
    "pull-failed": Failed(ERROR, going()),
}


@pytest.mark.parametrize("width", [16, 30, 56, 76, 96])
@pytest.mark.parametrize("name", STATES)
def test_no_line_of_a_pull_is_wider_than_the_screen(name: str, width: int) -> None:
    title, body = told("Magistral Small 1.2 Q4_K_M", STATES[name], width)
    if name != "pull-failed":  # whose sentences are wrapped
        for line in body.plain.splitlines():
            assert cell_len(line) <= max(width, 48) or "arrived" in line
    assert "Magistral Small 1.2 Q4_K_M" in title


# ── Whole screens ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
@pytest.mark.parametrize("name", STATES)
async def test_a_pull_looks_as_it_did(name: str, size: tuple[int, int]) -> None:
    pull = Pull(MODEL, MODEL.build())
    pull.state = STATES[name]
    async with driven(app_of(), size) as it:
        it.app.push_screen(PullScreen(pull, first=True))
        await it.shown("^q Quit")
        await it.pilot.pause(0.2)
        compare(f"{name}-{size[0]}", it.text)


@pytest.mark.parametrize("size", [(120, 30), (80, 24), (60, 20)])
async def test_the_table_looks_as_it_did(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    async with at_the_table(World(), size) as it:
        await it.shown("★", "⏎ Get it")
        await it.pilot.pause(0.2)
        compare(f"choose-{size[0]}", it.text)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (amounts.size(14_333_910_176), "14.3 GB"),
        (amounts.size(19_399_895), "19.4 MB"),
        (amounts.size(2_100), "2.1 kB"),
        (amounts.size(119), "119 B"),
        (amounts.part(6_200_000_000, 14_333_910_176), "6.2 of 14.3 GB"),
        (amounts.part(0, 119), "0 of 119 B"),
        (amounts.left(0.2), "1 s"),
        (amounts.left(754), "13 min"),
        (amounts.left(12_060), "3 h 21 min"),
        (amounts.left(400_000), "4 days"),
        (amounts.memory(24 * GIB), "24.0 GiB"),
    ],
)
def test_amounts_are_said_as_people_say_them(said: str, expected: str) -> None:
    assert said == expected


def test_nothing_of_it_is_imported_for_a_chat_with_a_model_that_is_here() -> None:
    loaded = loaded_by("import localmag.tui, localmag.cli.chat")
    ours = {name for name in loaded if name.startswith("localmag.tui.getting.")}
    assert ours == {"localmag.tui.getting.offers"}
    assert not loaded & {"huggingface_hub", "localmag.fit", "localmag.store.pull"}
