"""All weights on this machine in one list: whose they are, where, and whether they can be used.

What localmag or another tool has in the Hugging Face cache, LM Studio's and Ollama's own, what was imported,
what an interrupted pull left, and the demo. Each is called by the catalogue's name where it is one of the
catalogue's models (`magistral:Q4_K_M`), else by its own (`devstral:24b`). A second copy of the same says
where it is: `magistral:Q4_K_M@lmstudio`. Opens no socket.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from localmag import catalogue
from localmag.catalogue import Build, Model
from localmag.store import cache, imports, places, records
from localmag.store.installed import TOKENIZER, bundled
from localmag.store.look import Look, Looks
from localmag.store.places import Found, Place
from localmag.store.recognise import build_of, model_of, quant_of, refuted

State = Literal["bundled", "verified", "unverified", "partial", "refused", "missing"]

_AT = {"Hugging Face cache": "hf", "LM Studio": "lmstudio", "Ollama": "ollama", "import": "import"}
_USABLE = ("bundled", "verified", "unverified")


@dataclass(frozen=True, slots=True)
class Here:
    """One set of weights as it is on this machine. `size` is the bytes that are here of `total` (0: unknown).

    `name` finds it, and so does any of `names`. `model` is None for what the catalogue does not know, `build`
    also for a quant that it does not list. `fetched` is whether localmag brought it here. `verified` means
    that weights and tokenizer had the hub's own digests when they were fetched or looked at, and were not
    changed since; `refused`, that it cannot be used, and `why`; `missing`, that an import leads nowhere now.
    """

    name: str
    model: Model | None
    build: Build | None
    quant: str
    backend: str
    place: Place
    state: State
    size: int
    total: int
    path: Path
    fetched: bool = False
    own_tokenizer: bool = True
    """Whether a tekken.json is at hand; else one is rebuilt from the file."""
    why: str = ""
    names: tuple[str, ...] = ()
    found: Found | None = None
    look: Look | None = None

    @property
    def usable(self) -> bool:
        return self.state in _USABLE

    @property
    def ours(self) -> bool:
        """Whether it is of a kind that localmag runs: not, say, another tool's Llama."""
        return self.model is not None or self.state == "missing" or bool(self.look and self.look.tekken)


@dataclass(frozen=True, slots=True)
class Inventory:
    """`unread` says of each folder that could not be read why, in a sentence."""

    all: tuple[Here, ...]
    unread: tuple[str, ...]

    def named(self, name: str) -> list[Here]:
        """Those that a name means, the best first."""
        wanted = name.lower()
        exact = [h for h in self.all if h.name.lower() == wanted]
        return exact or [h for h in self.all if wanted in (n.lower() for n in h.names)]

    def meant(self, name: str) -> list[Here]:
        """Those that a name means, be it a model's, a build's (in any quant, `magistral:UD-Q4_K_XL`), or
        their own.
        """
        if catalogue.is_name(name):
            return self.of(*catalogue.find(name))
        if copies := self.named(name):
            return copies
        stem, _, quant = name.rpartition(":")
        return self.of(catalogue.find(stem)[0], quant) if stem and catalogue.is_name(stem) else []

    def of(self, model: Model, quant: str | None = None) -> list[Here]:
        """Those of a model (of one quant), usable ones first, then in the catalogue's order."""
        copies = [h for h in self.all if h.model and h.model.name == model.name]
        if quant is not None:
            copies = [h for h in copies if h.quant.lower() == quant.lower()]
        return sorted(copies, key=lambda h: (not h.usable, h.backend == "mlx"))


def here(models: tuple[Model, ...] = ()) -> list[Here]:
    """All that localmag can use or began to fetch (of these models, if any are named)."""
    wanted = {model.name for model in models}
    return [h for h in take().all if h.ours and (not wanted or (h.model and h.model.name in wanted))]


def take() -> Inventory:
    """Look at every place. Headers alone are read, and remembered."""
    unread: list[str] = []
    looks = Looks()
    known = list(records.every())
    seen: set[tuple[int, int]] = set()
    copies = []
    for found in places.everything(unread.append):
        if _new(found, seen):
            copies.append(_copy(found, looks.at(found), known))
    looks.save()
    everything = [*_bundled(), *_in_order([*copies, *_partials(copies, known), *_missing(copies)])]
    return Inventory(tuple(_called(everything)), tuple(unread))


def _copy(found: Found, look: Look, known: list[records.Record]) -> Here:
    model = model_of(found, look)
    build = build_of(model, found, look) if model else None
    quant = build.quant if build else quant_of(found, look)
    if model and build and not found.whole and found.repo == build.repo:
        return replace(_part(model, build, found.path, look.size, known), found=found)
    why = look.problem
    if model and not why:
        why = refuted(model, found, look)
    tokenizer = tokenizer_at(found, model)
    state: State = "refused" if why else "unverified"
    if not why and model and tokenizer and _all_verified(found, model, tokenizer, known):
        state = "verified"
    name = _catalogue_name(model, quant) if model and not found.chosen else plain(found.label)
    return Here(
        name=name,
        model=model,
        build=build,
        quant=quant,
        backend=found.backend,
        place=found.place,
        state=state,
        size=look.size,
        total=look.size,
        path=found.path,
        fetched=_fetched(found, known),
        own_tokenizer=tokenizer is not None,
        why=why,
        names=_other_names(found),
        found=found,
        look=look,
    )


def tokenizer_at(found: Found, model: Model | None) -> Path | None:
    """The tekken.json beside it, or else of the model's own repository, if it was fetched."""
    folder = found.path if found.backend == "mlx" else found.path.parent
    beside = folder / TOKENIZER
    if found.place != "Ollama" and places.is_regular(beside):
        return beside
    return cache.find(model.repo, TOKENIZER) if model and model.repo else None


def _new(found: Found, seen: set[tuple[int, int]]) -> bool:
    """Whether these bytes were not met before, under another link to them."""
    try:
        about = found.path.stat()
    except OSError:
        return False
    new = (about.st_dev, about.st_ino) not in seen
    seen.add((about.st_dev, about.st_ino))
    return new


def _all_verified(found: Found, model: Model, tokenizer: Path, known: list[records.Record]) -> bool:
    files = [(found.repo, file) for file in found.files] + [(model.repo, tokenizer)]
    return bool(found.repo) and all(
        any(r.repo == repo and records.verified(r, file) for r in known) for repo, file in files
    )


def _fetched(found: Found, known: list[records.Record]) -> bool:
    if not found.repo:
        return False
    ours = [r for r in known if r.fetched and r.repo == found.repo and r.changed]
    digests = {r.etag for r in ours}
    return all(
        file.resolve().name in digests or any(records.verified(r, file) for r in ours) for file in found.files
    )


def _bundled() -> Iterator[Here]:
    model, _ = catalogue.find(catalogue.DEMO)
    for build in model.builds:
        weights = bundled(build)
        files = weights.iterdir() if weights.is_dir() else (weights,)
        size = sum(file.stat().st_size for file in files)
        name = model.called(build)
        yield Here(name, model, build, build.quant, build.backend, "localmag", "bundled", size, size, weights)


def _partials(copies: list[Here], known: list[records.Record]) -> Iterator[Here]:
    """What interrupted pulls left of builds that are not here otherwise."""
    listed = {
        (h.build.repo, h.build.file) for h in copies if h.build and h.found and h.found.repo == h.build.repo
    }
    for model in catalogue.models():
        for build in model.builds:
            if build.repo and (build.repo, build.file) not in listed:
                left = _part(model, build, None, 0, known)
                if left.size:
                    yield left


def _part(model: Model, build: Build, path: Path | None, whole: int, known: list[records.Record]) -> Here:
    """A build that is not all here: `whole` bytes of it in files that are, the rest in one that is begun."""
    records_ = [r for r in known if r.repo == build.repo and cache.belongs(build.file, r.path)]
    begun = [p for r in records_ if not r.changed and (p := cache.partial(r.repo, r.etag)).is_file()]
    size = whole + sum(p.stat().st_size for p in begun)
    return Here(
        name=model.called(build),
        model=model,
        build=build,
        quant=build.quant,
        backend=build.backend,
        place="Hugging Face cache",
        state="partial",
        size=size,
        total=max(size, sum(r.size for r in records_)),
        path=begun[0] if begun else path or cache.folder(build.repo),
        fetched=bool(begun),
    )


def _missing(copies: list[Here]) -> Iterator[Here]:
    """Imports of what has gone since."""
    for one in imports.every():
        if not os.path.lexists(one.path):
            why = f"Nothing is at {one.path} any more."
            yield Here(
                plain(one.name or one.path.stem),
                None,
                None,
                "",
                "",
                "import",
                "missing",
                0,
                0,
                one.path,
                why=why,
            )


# ── Order and names ───────────────────────────────────────────────────────────────────────────────


def _in_order(copies: list[Here]) -> list[Here]:
    """The catalogue's models in its order, each build's verified copy first, then all others by name."""
    known = [model.name for model in catalogue.models()]

    def place(one: Here) -> tuple[int, int, int]:
        model = known.index(one.model.name) if one.model else len(known)
        build = one.model.builds.index(one.build) if one.model and one.build else len(known)
        return model, build, 0 if one.state == "verified" else 1 if one.usable else 2

    return sorted(copies, key=place)


def _called(copies: Iterable[Here]) -> Iterator[Here]:
    """Each under a name of its own, which is also how to ask for just this copy."""
    taken: set[str] = set()
    for one in copies:
        plain = one.name
        at = f"{plain}@{_AT.get(one.place, 'localmag')}"
        shadowed = one.model is None and catalogue.is_name(plain)
        for name in (plain, at) if not shadowed else (at,):
            if name.lower() not in taken:
                break
        else:
            name = os.fspath(one.path)
        taken.add(name.lower())
        yield replace(one, name=name, names=(*one.names, at))


def _catalogue_name(model: Model, quant: str) -> str:
    alias = model.aliases[0] if model.aliases else model.name
    return f"{alias}:{quant}" if quant else alias


def _other_names(found: Found) -> tuple[str, ...]:
    names = [found.label, found.path.name, *(found.hints if found.place != "import" else ())]
    if found.place == "Ollama":
        names.append(found.label.removesuffix(":latest"))  # which Ollama's own commands leave off
    return tuple(dict.fromkeys(filter(None, map(plain, names))))


def plain(name: str) -> str:
    """A name from outside as one word that can be shown and typed."""
    word = "".join(c if c.isprintable() and not c.isspace() else "-" for c in name)[:200]
    return f"_{word}" if word.startswith("-") else word  # which would be read as an option
