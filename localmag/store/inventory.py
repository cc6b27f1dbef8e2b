"""Every build of the catalogue that is on this machine, whole or in part. Opens no socket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from localmag import catalogue
from localmag.catalogue import Build, Model
from localmag.store import cache, records
from localmag.store.local import TOKENIZER, bundled

State = Literal["bundled", "verified", "unverified", "no tokenizer", "partial"]


@dataclass(frozen=True, slots=True)
class Here:
    """One build as it is on this machine. `size` is the bytes that are here of `total` (0: unknown).

    `verified` means that the weights and the tokenizer had the hub's own digests when they were fetched or
    looked at, and were not changed since; `unverified`, that another program brought them.
    """

    model: Model
    build: Build
    state: State
    size: int
    total: int
    path: Path

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return self.model.name if self.state == "bundled" else self.model.called(self.build)


def here(models: tuple[Model, ...] = ()) -> list[Here]:
    """What is here of these models (of all of the catalogue), in the catalogue's order."""
    found = (_here(model, build) for model in models or catalogue.models() for build in model.builds)
    return [one for one in found if one]


def _here(model: Model, build: Build) -> Here | None:
    if model.name == catalogue.DEMO:
        weights = bundled(build)
        size = weights.stat().st_size
        return Here(model, build, "bundled", size, size, weights)
    files = cache.weights(build.repo, build.file)
    if not files:
        return _partly(model, build)
    size = sum(f.stat().st_size for f in files)
    return Here(model, build, _state(model, build, files), size, size, files[0])


def _state(model: Model, build: Build, weights: list[Path]) -> State:
    tokenizer = cache.find(model.repo, TOKENIZER)
    if tokenizer is None:
        return "no tokenizer"
    known = [records.of(build.repo, f) for f in weights] + [records.of(model.repo, tokenizer)]
    return "verified" if all(known) else "unverified"


def _partly(model: Model, build: Build) -> Here | None:
    """What an interrupted pull left of it."""
    left = [r for r in records.every() if r.repo == build.repo and cache.belongs(build.file, r.path)]
    begun = [(r, cache.partial(r.repo, r.etag)) for r in left if not r.changed]
    partials = [(r, p) for r, p in begun if p.is_file()]
    if not partials:
        return None
    size = sum(p.stat().st_size for _, p in partials)
    return Here(model, build, "partial", size, sum(r.size for r, _ in partials), partials[0][1])
