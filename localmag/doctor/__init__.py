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
    found = _Findings()
    versions = checks.versions()
    host = select.host()
    found.checks += checks.packages(versions)
    found.checks += checks.runners(host)
    sound = found.noted("settings", checks.settings)
    machine = devices.machine(cache.root())
    found.checks += checks.machine(machine)
    weights = found.tried("weights", take) or Inventory((), ())
    found.checks += checks.weights(weights)
    chosen = None
    if sound:
        chosen = found.tried("chat", lambda: opening(machine, weights, host, backend=backend, quant=quant))
    runner = chosen[0].backend if chosen else next(iter(host.able(backend)), None)
    with ExitStack() as stack:
        demo = None
        if runner:
            demo = found.tried("engine", lambda: stack.enter_context(Demo(runner)))  # it loads meanwhile
        found.noted("downloads", lambda: checks.downloads(machine, os.environ))
        folders = found.tried("folders", lambda: dict(checks.folders())) or {}
        found.checks += checks.writable(folders)
        found.noted("conversations", checks.conversations)
        terminal = Terminal.of((sys.stdin, sys.stdout, sys.stderr), os.environ)
        found.checks += checks.terminal(terminal)
        found.checks += checks.screen()
        if demo:
            found.noted("engine", lambda: checks.engine(demo.backend, demo.draw()))
    if chosen:
        found.checks += chosen[1]
    return Report(
        checks=tuple(found.checks),
        versions=versions,
        machine=machine,
        backend=chosen[0] if chosen else None,
        weights=tuple(one for one in weights.all if one.ours),
        folders=folders,
        terminal=terminal,
        offline=checks.offline(os.environ),
    )


class _Findings:
    """What was found so far. Looking goes on whatever cannot be looked at."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def tried(self, topic: str, look: Callable[[], _T]) -> _T | None:
        """What `look` gives; where it cannot, None, and a problem is noted, unless it is known already."""
        try:
            return look()
        except (LocalmagError, OSError) as exc:
            problem = checks.problem(topic, exc)
            if problem.said not in [check.said for check in self.checks]:
                self.checks.append(problem)
            return None

    def noted(self, topic: str, look: Callable[[], Iterable[Check]]) -> bool:
        """Whether `look` came to its end; then what it found is noted."""
        told = self.tried(topic, lambda: list(look()))
        self.checks.extend(told or ())
        return told is not None
