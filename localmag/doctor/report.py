"""What was found, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from localmag.doctor.terminal import Terminal
from localmag.engines.select import Choice
from localmag.hardware import Machine
from localmag.store.inventory import Here

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and the command or step that mends it, if anything does.

    A "note" is worth knowing; a "problem" keeps `localmag chat` from working.
    """

    topic: str
    said: str
    state: State = "ok"
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything, its checks in the order to show them in. `versions` by package, "" for a missing one."""

    checks: tuple[Check, ...]
    versions: dict[str, str]
    machine: Machine
    backend: Choice | None
    """What `localmag chat` would run on; None if it would not run."""
    weights: tuple[Here, ...]
    folders: dict[str, Path]
    terminal: Terminal
    offline: bool

    @property
    def works(self) -> bool:
        """Whether `localmag chat` would."""
        return all(check.state != "problem" for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """As JSON would have it. Sizes are bytes."""
        return {
            "works": self.works,
            "checks": [asdict(check) for check in self.checks],
            "versions": self.versions,
            "machine": asdict(self.machine),
            "backend": asdict(self.backend) if self.backend else None,
            "weights": [
                {
                    "name": one.name,
                    "state": one.state,
                    "backend": one.backend,
                    "place": one.place,
                    "bytes": one.size,
                    "path": str(one.path),
                    "why": one.why,
                }
                for one in self.weights
            ],
            "folders": {name: str(path) for name, path in self.folders.items()},
            "terminal": asdict(self.terminal),
            "offline": self.offline,
        }
