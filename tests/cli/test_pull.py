"""`localmag pull` against a hub on this machine: the real client, the real cache, and all that goes wrong."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Demo, RunLocalmag
from tests.hub.look import Pull, cached, leftovers, listed, two_sentences
from tests.hub.magistral import BASE_REPO, IMAGES, IMAGES_REPO, WEIGHTS, WEIGHTS_REPO, weights
from tests.hub.own import own_model, serve_own
from tests.hub.server import Cut, Hub
from tests.hub.zygote import Zygote

pytest_plugins = ("tests.hub.fixtures",)

MLX_REPO = "lmstudio-community/Magistral-Small-2509-MLX-4bit"

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


def test_what_encodes_images_comes_along_from_its_own_publisher(hub: Hub, pull: Pull, run: Zygote) -> None:
    done = pull()
    assert IMAGES_REPO in done.stderr
    snapshot = cached(IMAGES_REPO) / "snapshots" / hub.repos[IMAGES_REPO].commit
    assert (snapshot / IMAGES).read_bytes() == hub.repos[IMAGES_REPO].files[IMAGES].source
    assert run("rm", "magistral", "--yes").returncode == 0
    assert not cached(IMAGES_REPO).exists()


def test_without_it_the_model_still_comes_and_that_is_said(hub: Hub, pull: Pull, run: Zygote) -> None:
    del hub.repos[IMAGES_REPO]
    done = pull()
    assert done.returncode == 0, done.stderr
    assert "reads text only" in done.stderr
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"


def test_a_model_that_reads_text_alone_asks_for_no_such_thing(hub: Hub, run: Zygote) -> None:
    hub.add("mistralai/Magistral-Small-2507-GGUF", {"Magistral-Small-2507-Q4_K_M.gguf": weights(4_000)})
    hub.add("mistralai/Magistral-Small-2507", {"tekken.json": b"{}"})
    done = run("pull", "magistral:1.1", "--yes")
    assert done.returncode == 0, done.stderr
    assert "images" not in done.stderr
    assert "mmproj" not in done.stderr


def test_a_build_for_mlx_is_a_folder_of_tensors_and_their_configuration(hub: Hub, run: Zygote) -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = "model.safetensors.index.json"
    files = {name: weights(40_000, 7) + name.encode() for name in names}
    hub.add(
        MLX_REPO, files | {"config.json": b"{}", index: b"{}", "tokenizer.json": b"{}", "README.md": b"#"}
    )
    done = run("pull", "magistral", "--backend", "mlx", "--quant", "4bit", "--yes")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.parent.parent == cached(MLX_REPO)
    assert {p.name for p in folder.iterdir()} == {*names, "config.json", index}
    assert (cached(BASE_REPO) / "refs" / "main").exists()
    assert run("pull", "magistral:4bit", "--yes").stdout == done.stdout
    assert not leftovers()
    assert run("rm", "magistral:4bit", "--yes").returncode == 0
    assert not cached(MLX_REPO).exists()


def test_a_quant_and_a_backend_must_belong_together(hub: Hub, run: Zygote) -> None:
    done = run("pull", "magistral:Q4_K_M", "--backend", "mlx", "--yes")
    assert done.returncode == 3
    assert "magistral:4bit" in done.stderr
    assert not hub.asked


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


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (b'{"dim": 5120, "n_layers": 48}', "n_layers 48, the catalogue 40"),
        (b"[", "not confirmed"),
        (b"3", "not"),
    ],
)
def test_a_shape_unlike_the_catalogue_s_is_told(hub: Hub, pull: Pull, params: bytes, said: str) -> None:
    hub.add(BASE_REPO, {"tekken.json": b"{}", "params.json": params})
    done = pull()
    assert done.returncode == 0
    assert said in done.stderr


def test_the_demo_needs_no_pull(hub: Hub, run: Zygote) -> None:
    done = run("pull", "demo", "--yes")
    assert done.returncode == 2
    assert not hub.asked


# ── Stopped, killed, at the same time ─────────────────────────────────────────────────────────────


def slowly(hub: Hub) -> None:
    """A file takes about a second."""
    hub.slow = 0.02


def begun(hub: Hub, least: int = 1) -> None:
    until = time.monotonic() + 30
    while hub.sent.get(WEIGHTS, 0) < least:
        assert time.monotonic() < until
        time.sleep(0.005)


def arrived() -> int:
    """Bytes of the weights that are on disk, unfinished."""
    return sum(p.stat().st_size for p in (cached(WEIGHTS_REPO) / "blobs").glob("*.incomplete"))


def test_killed_at_random_moments_it_goes_on_where_it_was(hub: Hub, run: Zygote) -> None:
    slowly(hub)
    whole = hub.repos[WEIGHTS_REPO].files[WEIGHTS].size
    dice = random.Random(7)
    lost = kills = 0
    while kills < 6:
        hub.sent.clear()
        before = arrived()
        started = run.start("pull", "magistral", "--yes")
        begun(hub, dice.randrange(1, 600_000))
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        if started.stdout:  # it was quicker than the killer
            break
        kills += 1
        kept = arrived() - before
        assert kept >= 0
        lost = max(lost, hub.sent[WEIGHTS] - kept)
    hub.slow = 0
    done = run("pull", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).stat().st_size == whole
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    assert not leftovers()
    assert kills > 1
    assert lost < 1_000_000  # what was on the way when it died


def test_ctrl_c_keeps_what_arrived_and_says_so(hub: Hub, run: Zygote) -> None:
    slowly(hub)
    started = run.start("pull", "magistral", "--yes")
    begun(hub, 500_000)
    os.kill(started.pid, signal.SIGINT)
    assert started.wait() == 130
    assert "kept" in started.stderr
    assert two_sentences(started.stderr)
    assert arrived() > 0
    hub.sent.clear()
    assert run("pull", "magistral", "--yes").returncode == 0
    assert hub.sent[WEIGHTS] < hub.repos[WEIGHTS_REPO].files[WEIGHTS].size


def test_two_at_once_fetch_it_once_and_both_have_it(hub: Hub, run: Zygote) -> None:
    slowly(hub)
    both = [run.start("pull", "magistral", "--yes") for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert both[0].stdout == both[1].stdout
    assert hub.sent[WEIGHTS] == hub.repos[WEIGHTS_REPO].files[WEIGHTS].size
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    assert not leftovers()


def test_who_waits_for_another_that_dies_takes_over(hub: Hub, run: Zygote) -> None:
    slowly(hub)
    first = run.start("pull", "magistral", "--yes")
    begun(hub, 300_000)
    second = run.start("pull", "magistral", "--yes")
    os.kill(first.pid, signal.SIGKILL)
    assert second.wait() == 0
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    assert hub.sent[WEIGHTS] < 2 * hub.repos[WEIGHTS_REPO].files[WEIGHTS].size
    assert not leftovers()


def test_a_new_version_leaves_nothing_of_the_old_one_behind(hub: Hub, pull: Pull) -> None:
    hub.faults += [Cut(WEIGHTS, times=1, after=1_000_000), Cut(WEIGHTS)]
    assert pull().returncode == 5
    hub.faults.clear()
    hub.add(WEIGHTS_REPO, {WEIGHTS: weights(2_000_000, seed=9)})
    assert pull().returncode == 0
    assert not leftovers()


def test_a_planted_link_is_not_written_through(hub: Hub, pull: Pull, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    etag = hub.repos[WEIGHTS_REPO].files[WEIGHTS].etag
    partial = cached(WEIGHTS_REPO) / "blobs" / f"{etag}.localmag.incomplete"
    partial.parent.mkdir(parents=True)
    partial.symlink_to(outside)
    assert pull().returncode == 0
    assert outside.read_bytes() == b"precious"


# ── At a terminal ─────────────────────────────────────────────────────────────────────────────────


def at_a_terminal(hub: Hub, *typed: tuple[str, str]) -> tuple[int, str]:
    """`localmag pull magistral` in a terminal of its own; how it ended, and all that was on the screen.

    `typed` are pairs: what to wait for on the screen, and what to type then.
    """
    pty = pytest.importorskip("pty", reason="terminals are opened in another way on Windows")
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "COLUMNS": "140"}
    pid, master = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "localmag", "pull", "magistral:Q4_K_M"], env)
    screen = b""
    waiting = list(typed)
    try:
        while block := os.read(master, 4096):
            screen += block
            if waiting and waiting[0][0].encode() in screen:
                os.write(master, waiting.pop(0)[1].encode())
    except OSError:  # Linux says so when the other end has gone
        pass
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode()


def test_a_terminal_asks_and_draws_the_progress(hub: Hub, run: Zygote) -> None:
    slowly(hub)
    code, screen = at_a_terminal(hub, ("[y/N]", "y\n"))
    assert code == 0
    assert screen.index(WEIGHTS_REPO) < screen.index("Fetch 3.0 MB")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen).replace("\r", "\n")
    assert re.search(rf"\n{re.escape(WEIGHTS)} .* \d\.\d of 3\.0 MB", plain), plain[-2000:]
    assert re.search(r"\nall .* \d\.\d of 3\.0 MB +\S+ [kM]B/s, \d s", plain), plain[-2000:]
    assert re.search(rf"\n{re.escape(WEIGHTS)} .* 3\.0 of 3\.0 MB +verified", plain), plain[-2000:]
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"


def test_ctrl_c_at_a_terminal_says_how_to_go_on(hub: Hub, run: Zygote) -> None:
    slowly(hub)
    code, screen = at_a_terminal(hub, ("[y/N]", "y\n"), ("MB/s", "\x03"))
    assert code == 130
    assert "`localmag pull magistral` goes on from there" in screen
    assert "Traceback" not in screen
    assert 0 < arrived() < hub.repos[WEIGHTS_REPO].files[WEIGHTS].size
    assert run("pull", "magistral", "--yes").returncode == 0
    assert hub.sent[WEIGHTS] < hub.repos[WEIGHTS_REPO].files[WEIGHTS].size + 1_000_000


def test_a_no_fetches_nothing(hub: Hub) -> None:
    assert at_a_terminal(hub, ("[y/N]", "n\n"))[0] == 130
    assert not hub.sent


def test_where_there_is_no_terminal_nothing_is_drawn(hub: Hub, pull: Pull) -> None:
    slowly(hub)
    said = pull().stderr
    assert "MB/s" not in said
    assert "\x1b" not in said
    assert len(said.splitlines()) < 13


# ── And then ──────────────────────────────────────────────────────────────────────────────────────


def test_what_was_pulled_answers_offline(hub: Hub, run: Zygote, demo: Demo, localmag: RunLocalmag) -> None:
    own_model()
    serve_own(hub, demo)
    assert run("pull", "mine", "--yes").returncode == 0
    asked = len(hub.asked)
    args = ("What is 478 + 356?", "--temp", "0", "--ctx", "1024", "--max-tokens", "200", "--json")
    env = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": hub.url}
    pulled = json.loads(localmag("ask", "mine", *args, env=env).stdout)
    bundled = json.loads(localmag("ask", "demo", *args).stdout)
    assert (pulled["model"], pulled["build"]) == ("mine", "Q8_0")
    assert (pulled["reasoning"], pulled["answer"]) == (bundled["reasoning"], bundled["answer"])
    assert len(hub.asked) == asked
