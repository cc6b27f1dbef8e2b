"""Scores, the file that keeps them, and their table.

`evaluation.json` is added to, build by build. Each score carries the digests of the weights and of the
questions that it is of, so that none is ever shown of other weights or other questions than there are now.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby, product
from pathlib import Path

from tools.demo_model.builds import BUILDS
from tools.demo_model.conversations import FAMILIES

BARS = {"greedy": 95.0, "T 0.7, top_p 0.95": 90.0}
"""The least share of right replies (percent) at which a family is claimed, by mode."""
_FILE = "evaluation.json"


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked of which weights, and how: `problems` held-out problems of one family and language."""

    build: str
    weights: str
    mode: str
    family: str
    lang: str
    problems: int
    questions: str

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Where its score stands in the table."""
        return self.build, self.mode, self.family, self.lang


@dataclass(frozen=True, slots=True)
class Score:
    """Right replies to a job's problems, and how many tokens and seconds of computing they took."""

    job: Job
    right: int
    tokens: int
    seconds: float

    @property
    def percent(self) -> float:
        return 100 * self.right / self.job.problems


def kept(folder: Path) -> list[Score]:
    """All scores in that folder, also those of weights and questions of the past."""
    path = folder / _FILE
    if not path.exists():
        return []
    told = json.loads(path.read_text("utf-8"))
    return [Score(**one | {"job": Job(**one["job"])}) for one in told if "job" in one]


def keep(folder: Path, new: Score) -> None:
    """Add a score, in place of the one that stood there. What else runs may have added others meanwhile."""
    scores = [s for s in kept(folder) if s.job.place != new.job.place] + [new]
    aside = folder / f"{_FILE}.{os.getpid()}"
    aside.write_text(json.dumps([asdict(s) for s in scores], indent=1) + "\n", "utf-8")
    aside.replace(folder / _FILE)


def table(scores: Iterable[Score]) -> str:
    """The scores as a Markdown table: a row per family and language, a column per build and mode.

    Where not all are of as many problems, each cell says of how many.
    """
    ordered = sorted(scores, key=lambda s: (FAMILIES.index(s.job.family), s.job.lang))
    columns = [c for c in product(BUILDS, BARS) if any((s.job.build, s.job.mode) == c for s in ordered)]
    uneven = len({s.job.problems for s in ordered}) > 1
    lines = [
        "| family | language | " + " | ".join(f"{BUILDS[b].title}, {mode}" for b, mode in columns) + " |",
        "|---" * (2 + len(columns)) + "|",
    ]
    for (family, lang), group in groupby(ordered, key=lambda s: (s.job.family, s.job.lang)):
        cells = {
            (s.job.build, s.job.mode): f"{s.percent:.1f} %" + (f" of {s.job.problems}" if uneven else "")
            for s in group
        }
        lines.append(f"| {family} | {lang} | " + " | ".join(cells.get(c, "") for c in columns) + " |")
    return "\n".join(lines)


def missed(scores: Iterable[Score]) -> list[str]:
    """The families below a bar in any language, build or mode."""
    below = {s.job.family for s in scores if s.percent < BARS[s.job.mode]}
    return [family for family in FAMILIES if family in below]
