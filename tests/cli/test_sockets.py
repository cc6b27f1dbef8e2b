"""Nothing but `pull` opens a socket: every other command runs to its end where none can be opened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from localmag.cli.app import app
from tests.conftest import Demo
from tests.hub.own import own_model, serve_own
from tests.hub.server import Hub
from tests.hub.zygote import Zygote

pytest_plugins = ("tests.hub.fixtures",)

NO_SOCKETS = """
import os, socket, sys

def refuse(event, args):
    if event == "socket.__new__":
        outside = args[1] in (socket.AF_INET, socket.AF_INET6)
    elif event in ("socket.connect", "socket.bind", "socket.sendto"):
        outside = isinstance(args[1], tuple)
    else:
        outside = event in ("socket.getaddrinfo", "socket.gethostbyname")
    if outside:
        with open(os.environ["SOCKETS"], "a") as file:
            print(sys.argv, event, args[1:], file=file)
        raise OSError("a socket was opened")

sys.addaudithook(refuse)
"""

CALLS: dict[str, list[tuple[str, ...]]] = {
    "--help": [("--help",)],
    "--version": [("--version",)],
    "list": [("list",), ("list", "--json")],
    "show": [("show", "mine"), ("show", "magistral", "--json")],
    "fit": [("fit",), ("fit", "magistral", "--json")],
    "doctor": [("doctor", "--json")],
    "chat": [("chat", "demo", "--max-tokens", "2")],
    "ask": [("ask", "mine", "Hello", "--dry-run"), ("ask", "mine", "Hello", "--max-tokens", "2")],
    "import": [("import", "{demo}"), ("ask", "{demo}", "Hello", "--max-tokens", "2")],
    "sessions": [("sessions", "list"), ("sessions", "--help")],
    "rm": [("rm", "mine", "--yes")],
}
ONLINE = {"pull", "serve"}


def calls() -> list[tuple[str, ...]]:
    """Every command there is; one that is not in the table is at least asked for its help."""
    group = typer.main.get_command(app)
    others = set(group.list_commands(None)) - CALLS.keys() - ONLINE  # type: ignore[attr-defined]
    return [call for known in CALLS.values() for call in known] + [(name, "--help") for name in others]


@pytest.mark.timeout(400)
def test_nothing_but_pull_opens_a_socket(hub: Hub, run: Zygote, demo: Demo, tmp_path: Path) -> None:
    own_model()
    serve_own(hub, demo)
    assert run("pull", "mine", "--yes").returncode == 0
    (tmp_path / "sitecustomize.py").write_text(NO_SOCKETS)
    opened = tmp_path / "opened"
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "SOCKETS": str(opened)}
    env["PYTHONPATH"] = os.pathsep.join((str(tmp_path), env["PYTHONPATH"]))

    def alone(*args: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "localmag", *(a.format(demo=demo.weights) for a in args)]
        return subprocess.run(
            program, env=env, input="Hello\n", capture_output=True, encoding="utf-8", timeout=90, check=False
        )

    for call in calls():
        done = alone(*call)
        assert not opened.exists(), (call, opened.read_text())
        assert done.returncode in (0, 1), (call, done.stderr)  # 1: doctor, of a machine that lacks something
        assert "Traceback" not in done.stderr
    assert alone("pull", "mine").returncode != 0
    assert opened.exists()  # a socket would have been seen
