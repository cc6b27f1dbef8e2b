"""What may be removed, and removing it.

The cache is shared. localmag removes what it fetched itself, never what another program brought, and never
anything that a link in the cache leads to outside of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localmag import catalogue
from localmag.catalogue import Build, Model
from localmag.errors import NotFound, RunFailed, WrongUsage
from localmag.store import cache, needs, records
from localmag.store.cache import Entry
from localmag.store.client import WeakFileLock
from localmag.store.records import Record


@dataclass(frozen=True, slots=True)
class Removal:
    """What would go: files, the `blobs` that nothing else of the cache links to, and unfinished downloads.

    `freed` is bytes; `kept` are files of other programs.
    """

    files: tuple[Entry, ...]
    blobs: tuple[Path, ...]
    partials: tuple[Path, ...]
    forgotten: tuple[Record, ...]
    freed: int
    kept: tuple[Path, ...]

    @property
    def names(self) -> list[str]:
        return [f.pointer.name for f in self.files] + [f"{p.name} (not finished)" for p in self.partials]


def plan(model: Model, builds: tuple[Build, ...]) -> Removal:
    """What removing these builds of the model means; what they share goes with the last.

    Raises WrongUsage for the bundled model, NotFound if localmag fetched nothing of them, RunFailed if the
    cache cannot be read.
    """
    if model.name == catalogue.DEMO:
        raise WrongUsage("The demo is part of localmag and cannot be removed.", "Name another model.")
    these = set[tuple[str, str]]().union(*map(needs.of_build, builds))
    others = {(b.repo, b.file) for m in catalogue.models() if m.repo == model.repo for b in m.builds}
    known = list(records.every())
    with _disk("read"):
        ours, kept = _apart(these, known)
        if not any(_apart(others - these, known)) and not kept:
            ours += _apart(needs.of_model(model), known)[0]
        begun = [r for r in known if not r.changed and any(_of(r, build) for build in builds)]
        partials = [p for r in begun if (p := cache.partial(r.repo, r.etag)).is_file()]
        if not ours and not partials:
            raise _nothing(model, builds, kept)
        blobs = _theirs_alone(ours)
        freed = sum(path.lstat().st_size for path in (*blobs, *partials))
    forgotten = begun + [r for r in known if any(_speaks_of(r, f.blob) for f in ours)]
    return Removal(
        tuple(ours), blobs, tuple(partials), tuple(forgotten), freed, tuple(f.pointer for f in kept)
    )


def remove(removal: Removal) -> None:
    """Do it. Raises RunFailed if a file cannot be removed; what could be is gone then."""
    with _disk("removed"):
        for partial in removal.partials:
            _drop(partial)
        for path in (*(f.pointer for f in removal.files), *removal.blobs):
            path.unlink(missing_ok=True)  # links first: none may lead nowhere, however this ends
        for record in removal.forgotten:
            records.forget(record)
        for repo in {f.repo for f in removal.files}:
            _tidy(repo)


@contextmanager
def _disk(verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise RunFailed(
            f"{exc.filename or 'A file'} cannot be {verb} ({exc.strerror}).",
            "Close what uses it, check its permissions, and try again.",
        ) from exc


def _drop(partial: Path) -> None:
    """Remove an unfinished download, unless it is going on."""
    repo, etag = partial.parent.parent.name, partial.name.partition(".")[0]
    lock = partial.parent.parent.parent / ".locks" / repo / f"{etag}.lock"
    try:
        with WeakFileLock(lock, timeout=0.2):
            partial.unlink(missing_ok=True)
    except TimeoutError as exc:
        raise RunFailed(
            f"{partial.name} is being fetched just now.", "Stop that with Ctrl+C, and try again."
        ) from exc


def _apart(wanted: Iterable[tuple[str, str]], known: list[Record]) -> tuple[list[Entry], list[Entry]]:
    """The cached files that are wanted: those localmag fetched, and those that others did.

    A link to what is gone is another's only as long as it is not known to be ours, and then it is nothing.
    """
    ours: list[Entry] = []
    theirs: list[Entry] = []
    patterns: dict[str, list[str]] = {}
    for repo, pattern in wanted:
        patterns.setdefault(repo, []).append(pattern)
    for repo in filter(cache.is_repo, patterns):
        for entry in cache.entries(repo):
            if any(cache.belongs(pattern, entry.path) for pattern in patterns[repo]):
                if _fetched(entry, known):
                    ours.append(entry)
                elif entry.blob.exists():
                    theirs.append(entry)
    return ours, theirs


def _fetched(entry: Entry, known: list[Record]) -> bool:
    """Whether localmag brought these very bytes, and linked them into that commit."""
    inside = entry.blob.is_relative_to(cache.real(entry.repo))
    return inside and any(
        r.fetched
        and r.repo == entry.repo
        and entry.commit in (r.commit, *r.earlier)
        and (records.verified(r, entry.blob) or (entry.blob.name == r.etag and not entry.blob.exists()))
        for r in known
    )


def _theirs_alone(files: list[Entry]) -> tuple[Path, ...]:
    """The blobs that these files alone lead to."""
    going = {f.pointer for f in files}
    needed = {
        e.blob for repo in {f.repo for f in files} for e in cache.entries(repo) if e.pointer not in going
    }
    return tuple(blob for blob in {f.blob for f in files} - needed if blob.exists())


def _speaks_of(record: Record, blob: Path) -> bool:
    """A blob is named by its digest; where there are no links, the file has its own name and its own time."""
    return blob.name == record.etag or records.verified(record, blob)


def _of(record: Record, build: Build) -> bool:
    return record.repo == build.repo and cache.belongs(build.file, record.path)


def _nothing(model: Model, builds: tuple[Build, ...], kept: list[Entry]) -> NotFound:
    what = f"{model.title} {builds[0].quant}" if len(builds) == 1 else model.title
    if kept:
        return NotFound(
            f"{what} is here, but another program brought or changed it, so localmag leaves it alone.",
            f"`hf cache rm model/{builds[0].repo}` removes it.",
        )
    return NotFound(f"localmag has fetched nothing of {what}.", "See what is here with `localmag list`.")


def _tidy(repo: str) -> None:
    """Take away revisions that hold nothing any more, and the repository if no bytes are left of it."""
    base = cache.real(repo)
    held = {entry.commit for entry in cache.entries(repo)}
    emptied = [p for p in _inside(base / "snapshots") if p.name not in held and not _holds_files(p)]
    for snapshot in emptied:
        shutil.rmtree(snapshot)
    for ref in (p for p in (base / "refs").rglob("*") if p.is_file()):
        if ref.read_text("ascii", "replace") in [p.name for p in emptied]:
            ref.unlink()
    if (
        not _inside(base / "snapshots")
        and not _inside(base / "blobs")
        and not cache.folder(repo).is_symlink()
    ):
        shutil.rmtree(base)


def _holds_files(folder: Path) -> bool:
    return folder.is_symlink() or any(p.is_symlink() or not p.is_dir() for p in folder.rglob("*"))


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
