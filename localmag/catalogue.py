"""models.toml → Model and Build: what localmag knows by name, before anything is on disk."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from localmag.errors import NotFound, WrongUsage

DEMO = "demo"
NEWEST = "magistral"

_T = TypeVar("_T", bound="Model | Build")


@dataclass(frozen=True, slots=True)
class Build:
    """One set of weights of a model. `gigabytes` is 10⁹ bytes to download, 0 where it ships with us."""

    backend: str
    quant: str
    file: str
    repo: str = ""
    gigabytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `context` and `advised` are tokens; `max_tokens` counts reasoning and answer together."""

    name: str
    title: str
    licence: str
    context: int
    advised: int
    max_tokens: int
    temperature: float
    top_p: float
    aliases: tuple[str, ...] = ()
    repo: str = ""
    builds: tuple[Build, ...] = ()

    def called(self, build: Build) -> str:
        """What the command line calls one of its builds: `magistral:Q4_K_M`."""
        return f"{self.aliases[0] if self.aliases else self.name}:{build.quant}"

    def build(self, quant: str | None = None) -> Build:
        """The build of that quant, or the first. Raises NotFound naming those there are."""
        if quant is None:
            return self.builds[0]
        for build in self.builds:
            if build.quant.lower() == quant.lower():
                return build
        there = ", ".join(b.quant for b in self.builds)
        raise NotFound(f"{self.title} has no build {quant!r} in the catalogue.", f"Choose one of: {there}.")


@cache
def models() -> tuple[Model, ...]:
    """Every model of the catalogue, in the file's order. Raises WrongUsage if the file is malformed."""
    path = _file()
    with path.open("rb") as f:
        try:
            tables = tomllib.load(f)["model"]
        except (tomllib.TOMLDecodeError, KeyError) as exc:
            raise WrongUsage(f"{path} is not a catalogue of models ({exc}).", "Restore or mend it.") from exc
    return tuple(_model(path, table) for table in tables)


def find(name: str) -> tuple[Model, str | None]:
    """`magistral`, `magistral:1.1`, `demo`, `magistral:Q5_K_M` → the model and the quant asked for, if any.

    Raises NotFound with the nearest names.
    """
    known = {alias.lower(): model for model in models() for alias in (model.name, *model.aliases)}
    wanted = name.lower()
    if wanted in known:
        return known[wanted], None
    stem, _, quant = wanted.rpartition(":")
    if stem in known:
        return known[stem], known[stem].build(quant).quant
    near = get_close_matches(wanted, known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise NotFound(
        f"There is no model named {name!r}.",
        f"{hint}Known names are {', '.join(known)}, or give the path of a GGUF file.",
    )


def is_name(name: str) -> bool:
    """Whether `find` would find it."""
    try:
        find(name)
    except NotFound:
        return False
    return True


def _file() -> Path:
    """The wheel carries models.toml inside the package; a source checkout has it one folder up."""
    here = Path(__file__).parent
    inside = here / "models.toml"
    return inside if inside.exists() else here.parent / "models.toml"


def _model(path: Path, table: dict[str, Any]) -> Model:
    builds = tuple(_make(Build, path, b) for b in table.pop("build", []))
    aliases = tuple(table.pop("aliases", []))
    if not builds:
        raise WrongUsage(f"{path}: model {table.get('name')!r} has no build.", "Add a [[model.build]] to it.")
    return _make(Model, path, {**table, "aliases": aliases, "builds": builds})


def _make(kind: type[_T], path: Path, table: dict[str, Any]) -> _T:
    known = {f.name for f in fields(kind)}
    if unknown := table.keys() - known:
        raise WrongUsage(f"{path}: unknown key {min(unknown)!r}.", f"Keys are: {', '.join(sorted(known))}.")
    try:
        return kind(**table)
    except TypeError as exc:
        raise WrongUsage(f"{path}: {exc}.", "Add what is missing.") from exc
