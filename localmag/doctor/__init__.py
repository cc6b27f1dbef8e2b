"""Whether `localmag chat` would work here, all that bears on it, and the command that mends what does not.

    report    Check and Report: what was found
    checks    looking at one thing after another
    engine    whether the demo's engine starts and draws a token
    opening   what chat would open, how it would run, and on which backend
    terminal  what the terminal can show

Prints nothing, opens no socket, and changes nothing but what any start does: localmag's own folders are made,
and an engine is started once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TypeVar

from localmag.doctor import checks
from localmag.doctor.engine import Demo
from localmag.doctor.opening import opening
from localmag.doctor.report import Check, Report
from localmag.doctor.terminal import Terminal
from localmag.engines import devices, select
from localmag.errors import LocalmagError
from localmag.store import cache
from localmag.store.inventory import Inventory, take

__all__ = ["Check", "Report", "Terminal", "examine"]

_T = TypeVar("_T")


def examine(backend: str = "auto", quant: str | None = None) -> Report:
    """Look at everything, as chat would go about it with this backend and quant.

    Takes a few seconds, most of them for starting the demo's engine.
    """
    found: list[Check] = []

    def tried(topic: str, look: Callable[[], _T]) -> _T | None:
        """What `look` gives; where it cannot, None, and a problem is noted, unless it is known already."""
        try:
            return look()
        except (LocalmagError, OSError) as exc:
            problem = checks.problem(topic, exc)
            if problem.said not in [check.said for check in found]:
                found.append(problem)
            return None

    def noted(topic: str, look: Callable[[], Iterable[Check]]) -> bool:
        told = tried(topic, lambda: list(look()))
        found.extend(told or ())
        return told is not None

    versions = checks.versions()
    host = select.host()
    found += checks.packages(versions)
    found += checks.runners(host)
    sound = noted("settings", checks.settings)
    machine = devices.machine(cache.root())
    found += checks.machine(machine)
    weights = tried("weights", take) or Inventory((), ())
    found += checks.weights(weights)
    chosen = None
    if sound:
        chosen = tried("chat", lambda: opening(machine, weights, host, backend=backend, quant=quant))
    runner = chosen[0].backend if chosen else next(iter(host.able(backend)), None)
    with ExitStack() as stack:
        demo = None
        if runner:
            demo = tried("engine", lambda: stack.enter_context(Demo(runner)))  # it loads meanwhile
        noted("downloads", lambda: checks.downloads(machine, os.environ))
        folders = tried("folders", lambda: dict(checks.folders())) or {}
        found += checks.writable(folders)
        noted("conversations", checks.conversations)
        terminal = Terminal.of((sys.stdin, sys.stdout, sys.stderr), os.environ)
        found += checks.terminal(terminal)
        found += checks.screen()
        if demo:
            noted("engine", lambda: checks.engine(demo.backend, demo.draw()))
    if chosen:
        found += chosen[1]
    return Report(
        checks=tuple(found),
        versions=versions,
        machine=machine,
        backend=chosen[0] if chosen else None,
        weights=tuple(one for one in weights.all if one.ours),
        folders=folders,
        terminal=terminal,
        offline=checks.offline(os.environ),
    )
