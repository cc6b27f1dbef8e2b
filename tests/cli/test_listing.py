"""`list`, `show` and `rm`: what they say, and above all what `rm` leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from localmag.store import records
from tests.hub.look import Pull, cached, leftovers, listed
from tests.hub.magistral import BASE_REPO, WEIGHTS, WEIGHTS_REPO, weights
from tests.hub.server import Cut, Hub
from tests.hub.zygote import Zygote

pytest_plugins = ("tests.hub.fixtures",)

FETCH = "import sys, huggingface_hub as h; print(h.hf_hub_download(sys.argv[1], sys.argv[2]))"


def other_tool(hub: Hub, *files: tuple[str, str]) -> Path:
    """Another program brings files into the shared cache; the first one's path."""
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    paths = [
        subprocess.run(
            [sys.executable, "-c", FETCH, *file], env=env, capture_output=True, text=True, check=True
        ).stdout.strip()
        for file in files
    ]
    return Path(paths[0])


# ── list and show ─────────────────────────────────────────────────────────────────────────────────


def test_without_weights_the_list_is_the_demo_and_the_way_to_more(run: Zygote) -> None:
    done = run("list")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["demo:Q8_0", "demo:8bit"]
    assert "localmag pull magistral" in done.stderr


def test_a_file_changed_since_is_not_verified(pull: Pull, run: Zygote) -> None:
    path = Path(pull().stdout.strip()).resolve()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"X")
    assert listed(run)["magistral:Q4_K_M"]["state"] == "unverified"
    with path.open("r+b") as file:
        file.write(b"X")
    here = listed(run)["magistral:Q4_K_M"]
    assert here["state"] == "refused"
    assert "not a GGUF" in here["why"]


def test_a_file_damaged_on_disk_is_found_by_pull_and_removed(hub: Hub, pull: Pull, run: Zygote) -> None:
    path = Path(pull().stdout.strip()).resolve()
    with path.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"not what it was")
    done = pull()
    assert done.returncode == 6
    assert "removed" in done.stderr
    assert "magistral:Q4_K_M" not in listed(run)
    assert pull().returncode == 0
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"


def test_what_another_program_fetched_is_used_and_verified_without_fetching(
    hub: Hub, pull: Pull, run: Zygote
) -> None:
    other_tool(hub, (WEIGHTS_REPO, WEIGHTS), (BASE_REPO, "tekken.json"))
    assert listed(run)["magistral:Q4_K_M"]["state"] == "unverified"
    hub.sent.clear()
    done = pull()
    assert done.returncode == 0, done.stderr
    assert WEIGHTS not in hub.sent
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"


def test_weights_without_their_tokenizer_are_told(hub: Hub, run: Zygote) -> None:
    other_tool(hub, (WEIGHTS_REPO, WEIGHTS))
    here = listed(run)["magistral:Q4_K_M"]
    assert (here["state"], here["tokenizer"]) == ("unverified", "rebuilt")


def test_a_pull_that_stopped_is_listed_with_how_far_it_came(hub: Hub, pull: Pull, run: Zygote) -> None:
    hub.faults += [Cut(WEIGHTS, times=1, after=1_000_000), Cut(WEIGHTS)]
    assert pull().returncode == 5
    here = listed(run)["magistral:Q4_K_M"]
    assert (here["state"], here["bytes"]) == ("partial", 1_000_000)
    assert here["total_bytes"] == hub.repos[WEIGHTS_REPO].files[WEIGHTS].size


def test_looking_needs_no_client_of_the_hub(pull: Pull) -> None:
    pull()
    look = (
        "import sys; from localmag import store; from localmag.store.inventory import here;"
        "store.newest(); print(len(here())); assert not {'huggingface_hub', 'httpx2'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "3", done.stderr


def test_show_tells_the_catalogue_and_what_is_here(pull: Pull, run: Zygote) -> None:
    pull()
    shown = json.loads(run("show", "magistral", "--json").stdout)
    assert shown["shape"]["layers"] == 40
    states = {b["quant"]: b["here"] and b["here"]["state"] for b in shown["builds"]}
    assert states["Q4_K_M"] == "verified"
    assert states["Q8_0"] is None
    assert "Q8_0" not in run("show", "magistral:Q4_K_M").stdout
    assert run("show", "magistrall").returncode == 3


def test_show_prints_what_the_catalogue_says_of_a_model(run: Zygote) -> None:
    small4 = run("show", "mistral-small-4").stdout
    facts = (
        "(6.1 active)",
        "none, high",
        "which localmag does not use yet",
        "mmproj",
        "not yet",
        "4.85 bits",
    )
    for fact in (*facts, "vision and tools", "mlx"):
        assert fact in small4, fact
    assert "bits" not in run("show", "demo").stdout


# ── rm ────────────────────────────────────────────────────────────────────────────────────────────


def test_rm_takes_what_localmag_fetched_and_leaves_no_trace(pull: Pull, run: Zygote) -> None:
    pull()
    done = run("rm", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert WEIGHTS in done.stderr
    assert "3.0 MB" in done.stderr
    assert not cached(WEIGHTS_REPO).exists()
    assert not cached(BASE_REPO).exists()
    assert not list(records.every())
    assert run("rm", "magistral", "--yes").returncode == 3


def test_rm_asks_first(pull: Pull, run: Zygote) -> None:
    path = Path(pull().stdout.strip())
    assert run("rm", "magistral").returncode == 2
    assert path.exists()


def test_rm_leaves_what_another_program_fetched(hub: Hub, pull: Pull, run: Zygote) -> None:
    path = other_tool(hub, (WEIGHTS_REPO, WEIGHTS))
    pull()  # verifies it, and adds the tokenizer
    done = run("rm", "magistral", "--yes")
    assert done.returncode == 3
    assert "hf cache rm" in done.stderr
    assert path.exists()


def test_rm_of_one_build_leaves_the_other_and_the_tokenizer(hub: Hub, pull: Pull, run: Zygote) -> None:
    other = WEIGHTS.replace("Q4_K_M", "Q8_0")
    files = {n: f.source for n, f in hub.repos[WEIGHTS_REPO].files.items()}
    hub.add(WEIGHTS_REPO, files | {other: weights(100_000, 5)})
    pull()
    run("pull", "magistral:Q8_0", "--yes")
    assert run("rm", "magistral:Q8_0", "--yes").returncode == 0
    here = listed(run)
    assert here["magistral:Q4_K_M"]["state"] == "verified"
    assert "magistral:Q8_0" not in here
    assert run("rm", "magistral", "--yes").returncode == 0
    assert not cached(BASE_REPO).exists()


def test_rm_leaves_other_files_of_the_same_repositories(hub: Hub, pull: Pull, run: Zygote) -> None:
    pull()
    readme = other_tool(hub, (WEIGHTS_REPO, "README.md"))
    assert run("rm", "magistral", "--yes").returncode == 0
    assert readme.read_bytes() == b"# Magistral"
    assert not (readme.parent / WEIGHTS).exists()


def test_rm_follows_no_link_out_of_the_cache(pull: Pull, run: Zygote, tmp_path: Path) -> None:
    path = Path(pull().stdout.strip())
    outside = tmp_path / path.resolve().name
    outside.write_bytes(b"precious")
    path.unlink()
    path.symlink_to(outside)
    run("rm", "magistral", "--yes")
    assert outside.read_bytes() == b"precious"


def test_rm_takes_what_an_interrupted_pull_left(hub: Hub, pull: Pull, run: Zygote) -> None:
    hub.faults += [Cut(WEIGHTS, times=1, after=1_000_000), Cut(WEIGHTS)]
    pull()
    assert leftovers()
    done = run("rm", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert "1.0 MB" in done.stderr
    assert not leftovers()
    assert not list(records.every())


def test_rm_leaves_the_demo(run: Zygote) -> None:
    assert run("rm", "demo", "--yes").returncode == 2
