"""`localmag pull` where the network, the hub or whoever answers in its place fails, or means harm.

One table says what passes and is waited for, another what ends the pull: with which exit code, in two
sentences, and never with a bad file that `list` calls verified.
"""

from __future__ import annotations

import gzip
import os
import socket
import time
from collections.abc import Iterator
from copy import deepcopy
from email.utils import formatdate
from pathlib import Path

import httpx2
import pytest

from localmag.errors import HubFailed
from localmag.store import transport
from tests.hub.look import Pull, cached, leftovers, listed, two_sentences
from tests.hub.magistral import BASE_REPO, WEIGHTS, WEIGHTS_REPO, weights
from tests.hub.own import own_model
from tests.hub.server import (
    Cut,
    Fault,
    Flip,
    Hub,
    NoRanges,
    RangesRefused,
    Redirect,
    Say,
    Stall,
    Status,
    Swap,
    Truncate,
)
from tests.hub.zygote import Zygote

pytest_plugins = ("tests.hub.fixtures",)


# ── What goes wrong ───────────────────────────────────────────────────────────────────────────────

BOMB = gzip.compress(bytes(50_000_000))


SIZE = len(weights())

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
    "each range refused": [Cut(WEIGHTS, times=1, after=1_000_000), RangesRefused(WEIGHTS)],
    "asked to come back at a moment of the past": [
        Status(WEIGHTS, 1, status=503, headers={"Retry-After": formatdate(0, usegmt=True)})
    ],
    "asked to come back at a moment of no zone": [
        Status(WEIGHTS, 1, status=503, headers={"Retry-After": "Mon, 01 Jan 2024 00:00:00 -0000"})
    ],
    "asked too often, by the hub's own header": [
        Status(WEIGHTS, 1, status=429, headers={"RateLimit": '"api";r=0;t=0'})
    ],
    "a page in its place, once": [Say(WEIGHTS, 1, body=b"<html>")],
}


@pytest.mark.parametrize("faults", MENDED.values(), ids=MENDED)
def test_what_passes_is_waited_for(
    hub: Hub, pull: Pull, run: Zygote, faults: list[Fault], request: pytest.FixtureRequest
) -> None:
    hub.faults += deepcopy(faults)
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
    "everything refused, as if it were a range": ([Status(WEIGHTS, status=416)], 5),
    "asked too often, for an hour": ([Status(WEIGHTS, status=429, headers={"Retry-After": "3600"})], 5),
    "down for good": ([Status(WEIGHTS, status=500, headers={"Retry-After": "0"})], 5),
    "the list down for good": (
        [Status(WEIGHTS_REPO, on_cdn=False, status=503, headers={"Retry-After": "0"})],
        5,
    ),
    "a login page instead of the list": ([Status(WEIGHTS_REPO, on_cdn=False, status=200)], 5),
    # Whoever answers means harm, or is no hub.
    "changed between two requests": ([Cut(WEIGHTS, times=1, after=1_000_000), Swap(WEIGHTS)], 6),
    "changed since it was listed": ([Swap(WEIGHTS, on_cdn=False)], 5),
    "sent on to a file": ([Redirect(WEIGHTS, on_cdn=False, to="file:///etc/passwd")], 5),
    "sent on to another scheme": ([Redirect(WEIGHTS, on_cdn=False, to="ftp://127.0.0.1/x")], 5),
    "sent on to nowhere": ([Redirect(WEIGHTS, on_cdn=False, to="http://[")], 5),
    "sent in circles": ([Redirect(WEIGHTS, on_cdn=False, to=f"/{WEIGHTS_REPO}/resolve/main/{WEIGHTS}")], 5),
    "the list elsewhere": ([Redirect(WEIGHTS_REPO, on_cdn=False, to="{cdn}/api/models/x")], 3),
    "bytes without end": ([Say(WEIGHTS, body=b"x" * 65536, endless=True)], 6),
    "a failure without end": ([Say(WEIGHTS, body=b"x" * 65536, endless=True, status=403)], 5),
    "a list without end": ([Say(WEIGHTS_REPO, on_cdn=False, body=b" " * 65536, endless=True)], 5),
    "a list too deep": ([Say(WEIGHTS_REPO, on_cdn=False, body=b"[" * 5_000_000)], 5),
    "a list of another kind": ([Say(WEIGHTS_REPO, on_cdn=False, body=b'{"id": 3, "siblings": [7]}')], 5),
    "a compressed bomb": ([Say(WEIGHTS, body=BOMB, headers={"Content-Encoding": "gzip"})], 5),
    "a compressed list": (
        [Say(WEIGHTS_REPO, on_cdn=False, body=BOMB, headers={"Content-Encoding": "gzip"})],
        5,
    ),
    "a length that is not so": ([Say(WEIGHTS, body=b"x", headers={"Content-Length": str(SIZE)})], 5),
    "a length that is none": ([Say(WEIGHTS, body=b"x", headers={"Content-Length": "-1"})], 5),
    "a range nobody asked for": (
        [Say(WEIGHTS, body=b"x" * 9, status=206, headers={"Content-Range": f"bytes 500-508/{SIZE}"})],
        5,
    ),
    "a range of numbers too long": (
        [Say(WEIGHTS, body=b"x", status=206, headers={"Content-Range": f"bytes {'9' * 5000}-1/1"})],
        5,
    ),
}


@pytest.mark.parametrize(("faults", "code"), LOST.values(), ids=LOST)
def test_what_does_not_pass_is_said_and_leaves_nothing_bad(
    hub: Hub, pull: Pull, run: Zygote, faults: list[Fault], code: int
) -> None:
    hub.faults += deepcopy(faults)
    done = pull()
    assert done.returncode == code, done.stderr
    assert two_sentences(done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert listed(run).get("magistral:Q4_K_M", {}).get("state") in (None, "partial")
    hub.faults.clear()
    again = pull()  # which finds out, if what had arrived before the failure was wrong
    assert (again if again.returncode != 6 else pull()).returncode == 0
    assert not leftovers()


def test_what_arrives_damaged_is_removed(hub: Hub, pull: Pull) -> None:
    hub.faults.append(Flip(WEIGHTS, at=1_000))
    done = pull()
    assert done.returncode == 6
    assert "removed" in done.stderr
    assert not leftovers()
    assert not list((cached(WEIGHTS_REPO) / "blobs").iterdir())


def test_a_login_page_in_the_middle_costs_nothing_of_what_arrived(hub: Hub, pull: Pull) -> None:
    hub.faults += [Cut(WEIGHTS, times=1, after=1_000_000), Status(WEIGHTS, status=200)]
    done = pull()
    assert done.returncode == 5
    assert two_sentences(done.stderr)
    hub.faults.clear()
    assert pull().returncode == 0
    assert hub.sent[WEIGHTS] == hub.repos[WEIGHTS_REPO].files[WEIGHTS].size


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


def test_who_logged_in_with_the_client_is_logged_in_here(hub: Hub, pull: Pull) -> None:
    hub.repos[WEIGHTS_REPO].private, hub.repos[WEIGHTS_REPO].token = True, "hf_secret"
    place = Path(os.environ["HF_HOME"]) / "token"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("hf_secret")  # as `hf auth login` leaves it
    assert pull(env={"HF_ENDPOINT": hub.url}).returncode == 0
    assert pull(env={"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_wrong"}).returncode == 5


def test_a_private_repository_is_one_that_may_not_be_there(hub: Hub, pull: Pull) -> None:
    hub.repos[WEIGHTS_REPO].private = True
    done = pull()
    assert done.returncode == 5
    assert "hf auth login" in done.stderr


# ── A cut cable ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def abyss() -> Iterator[str]:
    """An address that swallows whoever knocks, as a cut cable does: a queue that is full and never read."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for one in waiting:
            one.close()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached"),
        ({"HF_ENDPOINT": "http://hub.invalid"}, "cannot be reached"),
        ({"HF_ENDPOINT": f"http://{'x' * 70}.invalid"}, "cannot be reached"),
        ({"HF_ENDPOINT": "hub.example"}, "no web address"),
        ({"HF_ENDPOINT": "ftp://hub.example"}, "no web address"),
    ],
)
def test_without_a_network_it_says_so_at_once(pull: Pull, env: dict[str, str], said: str) -> None:
    start = time.monotonic()
    done = pull(env=env)
    assert done.returncode == 5
    assert said in done.stderr
    assert two_sentences(done.stderr)
    assert time.monotonic() - start < 15  # start-up on a busy machine, and no retries of a minute


def test_a_password_in_the_address_of_the_hub_is_not_shown(pull: Pull) -> None:
    done = pull(env={"HF_ENDPOINT": "http://me:s3cret@127.0.0.1:9"})
    assert done.returncode == 5
    assert "http://127.0.0.1:9 cannot be reached" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_packets_that_vanish_are_no_reason_to_wait_for_a_minute(pull: Pull, abyss: str) -> None:
    start = time.monotonic()
    done = pull(env={"HF_ENDPOINT": abyss})
    assert done.returncode == 5
    assert "cannot be reached" in done.stderr
    assert time.monotonic() - start < 20


def test_a_hub_that_takes_the_call_and_says_nothing_is_not_waited_for_either(pull: Pull) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        done = pull(env={"HF_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}"})
        assert done.returncode == 5
        assert two_sentences(done.stderr)
        assert time.monotonic() - start < 20


# ── Whoever means harm ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", [WEIGHTS, WEIGHTS_REPO])
def test_a_login_is_for_the_hub_alone(hub: Hub, pull: Pull, path: str) -> None:
    hub.faults.append(Redirect(path, on_cdn=False, to="{cdn}/stolen"))
    pull(env={"HF_TOKEN": "hf_secret"})
    assert ("GET", "/stolen", False) in hub.asked
    assert ("GET", "/stolen", True) not in hub.asked


@pytest.mark.parametrize(
    ("here", "there", "follows"),
    [
        ("https://hub/x", "https://cdn/y", True),
        ("https://hub/x", "/y", True),
        ("http://hub/x", "https://hub/x", True),
        ("https://hub/x", "http://hub/x", False),
        ("https://hub/x", "http://cdn/y", False),
        ("https://hub/x", "file:///etc/passwd", False),
        ("https://hub/x", "data:,x", False),
    ],
)
def test_a_redirect_leads_to_the_web_and_never_out_of_tls(here: str, there: str, follows: bool) -> None:
    def serve(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(302, headers={"Location": there})

    with httpx2.Client(transport=httpx2.MockTransport(serve)) as client:
        response = client.get(here, headers={"Authorization": "Bearer hf_secret"}, follow_redirects=False)
    if not follows:
        with pytest.raises(HubFailed, match="no download should go"):
            transport.following(response)
        return
    request = transport.following(response)
    assert ("Authorization" in request.headers) == (request.url.host == "hub")


def test_a_wrong_guess_in_a_catalogue_of_one_s_own_is_answered_with_what_is_there(
    hub: Hub, run: Zygote
) -> None:
    hub.add("me/mine-GGUF", {"mine-Q6_K.gguf": weights(4_000)})
    hub.add("me/mine", {"tokenizer.json": b"{}"})
    for file, repo, said in [
        ("mine-Q8_0.gguf", "me/mine", "mine-Q6_K.gguf"),
        ("mine-Q6_K.gguf", "me/mine", "tokenizer.json"),
        ("mine-Q6_K.gguf", "me/other", "me/other"),
    ]:
        own_model(file, repo)
        done = run("pull", "mine", "--yes")
        assert done.returncode in (3, 5), done.stderr
        assert said in done.stderr
        assert two_sentences(done.stderr)
    assert not hub.sent


def test_names_and_licences_steer_no_terminal(hub: Hub, run: Zygote) -> None:
    repo = hub.repos[WEIGHTS_REPO]
    repo.licence = "\x1b]0;owned\x07\u202eTIM\nlocalmag: all is well"
    repo.files["\x1b[2J-Q8_0.gguf"] = repo.files["\u202egpj.gguf"] = repo.files[WEIGHTS]
    for asked in ("magistral", "magistral:Q8_0"):
        said = run("pull", asked, "--yes").stderr
        assert not {"\x1b", "\x07", "\u202e"} & set(said)
        assert "\nlocalmag: all is well" not in said


def test_a_size_that_is_not_so_is_told_at_once(hub: Hub, run: Zygote) -> None:
    file = hub.repos[WEIGHTS_REPO].files[WEIGHTS]
    for claimed in (0, 1_000, file.size - 1, file.size + 1):
        file.claimed = claimed
        done = run("pull", "magistral:Q4_K_M", "--yes")
        assert done.returncode == (6 if claimed == 0 else 5), done.stderr
        assert two_sentences(done.stderr)
        assert hub.sent.pop(WEIGHTS, 0) <= file.size  # in one connection: it is not asked for again
        assert "magistral:Q4_K_M" not in listed(run)
    assert f"with {file.size + 1} bytes, and now says" in done.stderr
    file.claimed = -1
    assert run("pull", "magistral:Q4_K_M", "--yes").returncode == 0
    assert not leftovers()


def test_a_listing_of_names_that_cannot_be_shown_says_so(hub: Hub, run: Zygote) -> None:
    own_model(file="*Q8_0.gguf")
    hub.add("me/mine", {"tekken.json": b"{}"})
    for name, why in (("a\x1b[2J-Q8_0.gguf", "control characters"), ("a" * 600 + "-Q8_0.gguf", "too long")):
        hub.add("me/mine-GGUF", {name: weights(4_000)})
        done = run("pull", "mine", "--yes")
        assert done.returncode == 5, done.stderr
        assert two_sentences(done.stderr)
        assert "1 of the files that the hub lists in me/mine-GGUF cannot be fetched" in done.stderr
        assert why in done.stderr
        assert "\x1b" not in done.stderr
        hub.add("me/mine-GGUF", {name: weights(4_000), "b-Q8_0.gguf": weights(4_000)})
        done = run("pull", "mine", "--yes")
        assert done.returncode == 0, done.stderr
        assert why in done.stderr


def test_a_licence_of_their_own_is_told_with_its_address(hub: Hub, pull: Pull) -> None:
    repo = hub.repos[WEIGHTS_REPO]
    repo.licence, repo.card = "other", {"license_name": "mrl", "license_link": "https://mistral.ai/mrl"}
    assert "licence mrl (https://mistral.ai/mrl)" in pull().stderr


@pytest.mark.parametrize("etag", ["../../../../outside", "/etc/passwd", "C:\\x", "a" * 63, ""])
def test_a_digest_that_is_a_path_is_refused(hub: Hub, pull: Pull, home: Path, etag: str) -> None:
    hub.repos[BASE_REPO].files["tekken.json"].etag = etag
    done = pull()
    assert done.returncode in (3, 6), done.stderr
    assert not hub.sent
    assert not (home / "outside").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../x-Q8_0.gguf",
        "/x-Q8_0.gguf",
        "C:/x-Q8_0.gguf",
        "a\\\\x-Q8_0.gguf",
        "nul.Q8_0.gguf",
        "a./x-Q8_0.gguf",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(hub: Hub, run: Zygote, name: str) -> None:
    own_model(file="*Q8_0.gguf")
    hub.add("me/mine-GGUF", {name: weights(4_000)})
    hub.add("me/mine", {"tekken.json": b"{}"})
    done = run("pull", "mine", "--yes")
    assert done.returncode == 6, done.stderr
    assert two_sentences(done.stderr)
    assert not hub.sent


def test_a_commit_that_is_a_path_is_refused(hub: Hub, pull: Pull) -> None:
    hub.repos[WEIGHTS_REPO].commit = "../../../outside"
    assert pull().returncode == 6
    assert not hub.sent


def test_weights_that_are_no_weights_are_refused(hub: Hub, pull: Pull) -> None:
    hub.add(WEIGHTS_REPO, {WEIGHTS: b"<html>"})
    done = pull()
    assert done.returncode == 6
    assert "not a GGUF" in done.stderr
