"""`localmag pull` against a hub on this machine: the real client, the real cache, and all that goes wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hub.look import Pull, cached, leftovers, listed, two_sentences
from tests.hub.magistral import BASE_REPO, WEIGHTS, WEIGHTS_REPO, weights
from tests.hub.server import Cut, Fault, Flip, Hub, NoRanges, Stall, Status, Truncate
from tests.hub.zygote import Zygote

pytest_plugins = ("tests.hub.fixtures",)

# ── What it does ──────────────────────────────────────────────────────────────────────────────────


def test_it_fetches_what_the_model_needs_and_no_more(hub: Hub, pull: Pull, run: Zygote) -> None:
    done = pull()
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path.read_bytes() == hub.repos[WEIGHTS_REPO].files[WEIGHTS].source
    snapshot = cached(BASE_REPO) / "snapshots" / hub.repos[BASE_REPO].commit
    assert {p.name for p in snapshot.iterdir()} == {"tekken.json", "SYSTEM_PROMPT.txt", "params.json"}
    assert (cached(WEIGHTS_REPO) / "refs" / "main").read_text() == hub.repos[WEIGHTS_REPO].commit
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    assert not leftovers()


def test_what_it_fetched_is_where_other_tools_look(hub: Hub, pull: Pull) -> None:
    path = pull().stdout.strip()
    look = "import sys, huggingface_hub as h; print(h.hf_hub_download(*sys.argv[1:], local_files_only=True))"
    args = [sys.executable, "-c", look, WEIGHTS_REPO, WEIGHTS]
    assert subprocess.run(args, capture_output=True, text=True, check=True).stdout.strip() == path


def test_it_says_first_what_from_where_and_how_much(pull: Pull) -> None:
    said = pull().stderr
    for told in (WEIGHTS_REPO, BASE_REPO, WEIGHTS, "3.0 MB", "tekken.json", "apache-2.0", "free"):
        assert told in said


def test_without_a_yes_and_a_terminal_nothing_is_fetched(hub: Hub, run: Zygote) -> None:
    done = run("pull", "magistral")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not hub.sent
    assert not cached(WEIGHTS_REPO).exists()


def test_a_second_pull_fetches_nothing(hub: Hub, pull: Pull) -> None:
    pull()
    hub.sent.clear()
    done = pull()
    assert done.returncode == 0
    assert Path(done.stdout.strip()).name == WEIGHTS
    assert not hub.sent


def test_a_new_commit_with_the_same_weights_fetches_only_what_changed(hub: Hub, pull: Pull) -> None:
    pull()
    content = hub.repos[WEIGHTS_REPO].files[WEIGHTS].source
    hub.add(WEIGHTS_REPO, {WEIGHTS: content, "README.md": b"# New words"})
    hub.sent.clear()
    done = pull()
    assert hub.repos[WEIGHTS_REPO].commit in done.stdout
    assert not hub.sent


def test_a_quant_can_be_named_and_parts_are_fetched_in_order(hub: Hub, run: Zygote) -> None:
    names = [f"Magistral-Small-2509-BF16-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    hub.add(WEIGHTS_REPO, {name: weights(400_000, i) for i, name in enumerate(names)})
    done = run("pull", "magistral:BF16", "--yes")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).name == names[0]
    here = listed(run)["magistral:BF16"]
    assert here["state"] == "verified"
    assert here["bytes"] > 1_200_000


def test_a_file_that_is_not_there_is_answered_with_those_that_are(hub: Hub, run: Zygote) -> None:
    done = run("pull", "magistral:Q8_0", "--yes")
    assert done.returncode == 3
    assert WEIGHTS in done.stderr
    assert two_sentences(done.stderr)
    assert not hub.sent


def test_the_demo_needs_no_pull(hub: Hub, run: Zygote) -> None:
    done = run("pull", "demo", "--yes")
    assert done.returncode == 2
    assert not hub.asked


# ── What goes wrong ───────────────────────────────────────────────────────────────────────────────

MENDED: dict[str, list[Fault]] = {
    "cut three times": [Cut(WEIGHTS, times=3, after=700_000)],
    "cut once before the first byte": [Cut(WEIGHTS, times=1)],
    "told to be shorter than it is": [Truncate(WEIGHTS, times=2, after=1_000_000)],
    "cut by a server without ranges": [Cut(WEIGHTS, times=1, after=1_000_000), NoRanges(WEIGHTS)],
    "stalled once": [Stall(WEIGHTS, times=1, after=500_000, seconds=30)],
    "asked too often, twice": [Status(WEIGHTS, 2, status=429, headers={"Retry-After": "0"})],
    "down twice, where the bytes are": [Status(WEIGHTS, 2, status=503, headers={"Retry-After": "0"})],
    "down once, where the list is": [
        Status(WEIGHTS_REPO, 1, on_cdn=False, status=500, headers={"Retry-After": "0"})
    ],
    "a range refused once": [
        Cut(WEIGHTS, times=1, after=1_000_000),
        Status(WEIGHTS, 1, status=416),
    ],
}


@pytest.mark.parametrize("faults", MENDED.values(), ids=MENDED)
def test_what_passes_is_waited_for(
    hub: Hub, pull: Pull, run: Zygote, faults: list[Fault], request: pytest.FixtureRequest
) -> None:
    hub.faults += [type(f)(**{name: getattr(f, name) for name in f.__dataclass_fields__}) for f in faults]
    done = pull()
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == hub.repos[WEIGHTS_REPO].files[WEIGHTS].source
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    assert not leftovers()


def test_a_cut_costs_no_byte_twice(hub: Hub, pull: Pull) -> None:
    hub.faults.append(Cut(WEIGHTS, times=5, after=400_000))
    assert pull().returncode == 0
    assert hub.sent[WEIGHTS] == hub.repos[WEIGHTS_REPO].files[WEIGHTS].size


LOST: dict[str, tuple[list[Fault], int]] = {
    "cut each time, nothing arriving": ([Cut(WEIGHTS)], 5),
    "stalled each time": ([Stall(WEIGHTS, seconds=30)], 5),
    "a byte flipped": ([Flip(WEIGHTS, at=2_000_000)], 6),
    "no login": ([Status(WEIGHTS, on_cdn=False, status=401)], 5),
    "forbidden": ([Status(WEIGHTS, on_cdn=False, status=403)], 5),
    "gone since it was listed": (
        [Status(WEIGHTS, on_cdn=False, status=404, headers={"X-Error-Code": "EntryNotFound"})],
        3,
    ),
    "no such repository": ([Status(WEIGHTS_REPO, on_cdn=False, status=404)], 3),
    "each range refused": ([Cut(WEIGHTS, times=1, after=1_000_000), Status(WEIGHTS, status=416)], 5),
    "asked too often, for an hour": ([Status(WEIGHTS, status=429, headers={"Retry-After": "3600"})], 5),
    "down for good": ([Status(WEIGHTS, status=500, headers={"Retry-After": "0"})], 5),
    "the list down for good": (
        [Status(WEIGHTS_REPO, on_cdn=False, status=503, headers={"Retry-After": "0"})],
        5,
    ),
    "a login page instead of the list": ([Status(WEIGHTS_REPO, on_cdn=False, status=200)], 5),
}


@pytest.mark.parametrize(("faults", "code"), LOST.values(), ids=LOST)
def test_what_does_not_pass_is_said_and_leaves_nothing_bad(
    hub: Hub, pull: Pull, run: Zygote, faults: list[Fault], code: int
) -> None:
    hub.faults += [type(f)(**{name: getattr(f, name) for name in f.__dataclass_fields__}) for f in faults]
    done = pull()
    assert done.returncode == code, done.stderr
    assert two_sentences(done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert listed(run).get("magistral:Q4_K_M", {}).get("state") in (None, "partial")
    hub.faults.clear()
    assert pull().returncode == 0
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    assert not leftovers()


def test_what_arrives_damaged_is_removed(hub: Hub, pull: Pull) -> None:
    hub.faults.append(Flip(WEIGHTS, at=1_000))
    done = pull()
    assert done.returncode == 6
    assert "removed" in done.stderr
    assert not leftovers()
    assert not list((cached(WEIGHTS_REPO) / "blobs").iterdir())


def test_a_gated_repository_says_how_to_log_in_and_the_login_stays_with_the_hub(hub: Hub, pull: Pull) -> None:
    hub.repos[WEIGHTS_REPO].gated = True
    hub.repos[WEIGHTS_REPO].token = "hf_secret"
    done = pull()
    assert done.returncode == 5
    assert "hf auth login" in done.stderr
    assert f"{hub.url}/{WEIGHTS_REPO}" in done.stderr
    assert pull(env={"HF_TOKEN": "hf_wrong"}).returncode == 5
    assert not hub.sent
    done = pull(env={"HF_TOKEN": "hf_secret"})
    assert done.returncode == 0, done.stderr
    asked = [(path, login) for _, path, login in hub.asked if path.endswith(WEIGHTS)]
    assert any(login for path, login in asked if "/resolve/" in path)
    assert not any(login for path, login in asked if "/resolve/" not in path)


def test_a_private_repository_is_one_that_may_not_be_there(hub: Hub, pull: Pull) -> None:
    hub.repos[WEIGHTS_REPO].private = True
    done = pull()
    assert done.returncode == 5
    assert "hf auth login" in done.stderr


@pytest.mark.parametrize(
    "env", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}], ids=["offline", "refused"]
)
def test_without_a_network_it_says_so_at_once(pull: Pull, env: dict[str, str]) -> None:
    start = time.monotonic()
    done = pull(env=env)
    assert done.returncode == 5
    assert two_sentences(done.stderr)
    assert time.monotonic() - start < 15  # start-up on a busy machine, and no retries of a minute


def test_a_disk_too_small_is_told_before_anything_is_fetched(hub: Hub, pull: Pull) -> None:
    hub.repos[WEIGHTS_REPO].files[WEIGHTS].claimed = 10**16
    done = pull()
    assert done.returncode == 4
    assert "GB free" in done.stderr
    assert not hub.sent


@pytest.mark.parametrize("etag", ["../../../../outside", "/etc/passwd", "C:\\x", "a" * 63, ""])
def test_a_digest_that_is_a_path_is_refused(hub: Hub, pull: Pull, home: Path, etag: str) -> None:
    hub.repos[BASE_REPO].files["tekken.json"].etag = etag
    done = pull()
    assert done.returncode in (3, 6), done.stderr
    assert not hub.sent
    assert not (home / "outside").exists()


def test_a_commit_that_is_a_path_is_refused(hub: Hub, pull: Pull) -> None:
    hub.repos[WEIGHTS_REPO].commit = "../../../outside"
    assert pull().returncode == 6
    assert not hub.sent


def test_weights_that_are_no_weights_are_refused(hub: Hub, pull: Pull) -> None:
    hub.add(WEIGHTS_REPO, {WEIGHTS: b"<html>"})
    done = pull()
    assert done.returncode == 6
    assert "not a GGUF" in done.stderr
