"""`localmag rm` in a cache that others use too: what they own, and what is being fetched, it leaves alone."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from localmag.store import records
from tests.cli.test_listing import other_tool
from tests.hub.look import Pull, cached, leftovers, listed
from tests.hub.magistral import BASE_REPO, WEIGHTS, WEIGHTS_REPO
from tests.hub.server import Cut, Hub
from tests.hub.zygote import Zygote

pytest_plugins = ("tests.hub.fixtures",)


def new_commit(hub: Hub) -> None:
    """The same weights, beside a README of new words."""
    content = hub.repos[WEIGHTS_REPO].files[WEIGHTS].source
    hub.add(WEIGHTS_REPO, {WEIGHTS: content, "README.md": b"# New words"})


def test_what_another_program_s_revision_uses_stays(hub: Hub, pull: Pull, run: Zygote) -> None:
    ours = Path(pull().stdout.strip())
    new_commit(hub)
    theirs = other_tool(hub, (WEIGHTS_REPO, WEIGHTS))
    assert theirs.resolve() == ours.resolve()
    done = run("rm", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"{WEIGHTS} stays" in done.stderr
    assert theirs.read_bytes() == hub.repos[WEIGHTS_REPO].files[WEIGHTS].source
    assert not ours.exists()


def dead_links(folder: Path) -> None:
    """A link to nowhere as a commit, as a file of one, and as a file of a commit that has others, too."""
    commits = folder / "snapshots"
    for name in ("snapshots/dead", f"snapshots/{'0' * 40}/README.md", "refs/dead", "blobs/dead", "dead"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(folder / "gone")
    for commit in commits.iterdir():
        if commit.is_dir():
            (commit / "dead.gguf").symlink_to(folder / "gone")


def test_a_link_to_nowhere_in_another_repository_is_in_nobody_s_way(pull: Pull, run: Zygote) -> None:
    dead_links(cached(WEIGHTS_REPO).with_name("models--other--tool"))
    ours = Path(pull().stdout.strip())
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    done = run("rm", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert not ours.exists()
    assert not cached(WEIGHTS_REPO).exists()


def test_neither_is_one_in_the_model_s_own_and_it_stays(pull: Pull, run: Zygote) -> None:
    ours = Path(pull().stdout.strip())
    blob = ours.resolve()
    dead_links(cached(WEIGHTS_REPO))
    assert pull().returncode == 0
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    done = run("rm", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert not blob.exists()
    assert not ours.exists()
    assert ours.with_name("dead.gguf").is_symlink()
    assert not cached(BASE_REPO).exists()


def test_a_link_of_ours_to_bytes_that_are_gone_is_removed(pull: Pull, run: Zygote) -> None:
    ours = Path(pull().stdout.strip())
    ours.resolve().unlink()
    done = run("rm", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert not cached(WEIGHTS_REPO).exists()
    assert not list(records.every())


def test_another_program_s_unfinished_download_stays(pull: Pull, run: Zygote) -> None:
    pull()
    theirs = cached(WEIGHTS_REPO) / "blobs" / f"{'f' * 64}.incomplete"
    theirs.write_bytes(b"begun")
    assert run("rm", "magistral", "--yes").returncode == 0
    assert theirs.read_bytes() == b"begun"
    assert not list((cached(WEIGHTS_REPO) / "snapshots").iterdir())
    assert not (cached(WEIGHTS_REPO) / "refs" / "main").exists()


def test_what_localmag_linked_into_several_revisions_goes_from_all(hub: Hub, pull: Pull, run: Zygote) -> None:
    pull()
    new_commit(hub)
    pull()
    done = run("rm", "magistral", "--yes")
    assert done.returncode == 0, done.stderr
    assert "3.0 MB" in done.stderr
    assert not cached(WEIGHTS_REPO).exists()


def test_what_was_removed_and_fetched_anew_by_another_program_is_that_program_s(
    hub: Hub, pull: Pull, run: Zygote
) -> None:
    pull()
    shutil.rmtree(cached(WEIGHTS_REPO))
    time.sleep(0.01)
    theirs = other_tool(hub, (WEIGHTS_REPO, WEIGHTS))
    assert run("rm", "magistral:Q4_K_M", "--yes").returncode == 3
    pull()  # verifies it
    assert run("rm", "magistral:Q4_K_M", "--yes").returncode == 3
    assert theirs.exists()


def test_what_localmag_began_and_another_program_finished_is_that_program_s(
    hub: Hub, pull: Pull, run: Zygote
) -> None:
    hub.faults += [Cut(WEIGHTS, times=1, after=1_000_000), Cut(WEIGHTS)]
    assert pull().returncode == 5
    hub.faults.clear()
    theirs = other_tool(hub, (WEIGHTS_REPO, WEIGHTS))
    assert pull().returncode == 0
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
    assert not leftovers()
    assert run("rm", "magistral:Q4_K_M", "--yes").returncode == 3
    assert theirs.exists()


def test_what_is_being_fetched_is_not_pulled_from_under_it(hub: Hub, run: Zygote) -> None:
    hub.slow = 0.05
    started = run.start("pull", "magistral", "--yes")
    until = time.monotonic() + 30
    while hub.sent.get(WEIGHTS, 0) < 200_000:
        assert time.monotonic() < until
        time.sleep(0.005)
    done = run("rm", "magistral", "--yes")
    assert done.returncode == 1
    assert "just now" in done.stderr
    hub.slow = 0
    assert started.wait() == 0
    assert listed(run)["magistral:Q4_K_M"]["state"] == "verified"
