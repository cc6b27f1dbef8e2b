"""What may be removed, and removing it.

The cache is shared. localmag removes what it fetched itself, never what another program brought, and never
anything that a link in the cache leads to outside of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CachedFileInfo, HFCacheInfo, scan_cache_dir
from huggingface_hub.errors import CacheNotFound
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # it loads lazily

from localmag import catalogue
from localmag.catalogue import Build, Model
from localmag.errors import NotFound, RunFailed, WrongUsage
from localmag.store import cache, needs, records
from localmag.store.records import Record


@dataclass(frozen=True, slots=True)
class Removal:
    """What would go. `freed` is bytes, unfinished downloads included; `kept` are files of other programs."""

    files: tuple[CachedFileInfo, ...]
    partials: tuple[Path, ...]
    forgotten: tuple[Record, ...]
    freed: int
    kept: tuple[Path, ...]

    @property
    def names(self) -> list[str]:
        return [f.file_name for f in self.files] + [f"{p.name} (not finished)" for p in self.partials]


def plan(model: Model, builds: tuple[Build, ...]) -> Removal:
    """What removing these builds of the model means; what they share goes with the last.

    Raises WrongUsage for the bundled model, NotFound if localmag fetched nothing of them.
    """
    if model.name == catalogue.DEMO:
        raise WrongUsage("The demo is part of localmag and cannot be removed.", "Name another model.")
    scan = _scan()
    these = set[tuple[str, str]]().union(*map(needs.of_build, builds))
    ours, kept = _apart(scan, these)
    others = {(b.repo, b.file) for m in catalogue.models() if m.repo == model.repo for b in m.builds}
    if not any(_apart(scan, others - these)) and not kept:
        ours += _apart(scan, needs.of_model(model))[0]
    begun = [r for r in records.every() if not r.changed and any(_of(r, build) for build in builds)]
    partials = [p for r in begun if (p := cache.partial(r.repo, r.etag)).is_file()]
    if not ours and not partials:
        raise _nothing(model, builds, kept)
    freed = scan.delete_files(*ours).expected_freed_size if scan and ours else 0
    freed += sum(p.stat().st_size for p in partials)
    forgotten = begun + [r for r in records.every() if any(_speaks_of(r, f) for f in ours)]
    return Removal(tuple(ours), tuple(partials), tuple(forgotten), freed, tuple(f.file_path for f in kept))


def remove(removal: Removal) -> None:
    """Do it. Raises RunFailed if a file cannot be removed; what could be is gone then."""
    try:
        for partial in removal.partials:
            _drop(partial)
        if scan := _scan():
            scan.delete_files(*removal.files).execute()
    except OSError as exc:
        raise RunFailed(
            f"{exc.filename or 'A file'} cannot be removed ({exc.strerror}).",
            "Close what uses it, and try again.",
        ) from exc
    for record in removal.forgotten:
        records.forget(record)
    _sweep({f.file_path for f in removal.files})


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


def _scan() -> HFCacheInfo | None:
    try:
        return scan_cache_dir(cache.root())
    except CacheNotFound:
        return None
    except FileNotFoundError as exc:  # one link to nowhere, in any repository, ends the scan
        raise RunFailed(
            f"{exc.filename} in the Hugging Face cache leads nowhere.", "Remove that link, and try again."
        ) from exc


def _apart(
    scan: HFCacheInfo | None, wanted: Iterable[tuple[str, str]]
) -> tuple[list[CachedFileInfo], list[CachedFileInfo]]:
    """The cached files that are wanted: those localmag fetched, and those it did not."""
    ours: list[CachedFileInfo] = []
    theirs: list[CachedFileInfo] = []
    for repo in scan.repos if scan else ():
        patterns = [file for name, file in wanted if (name, "model") == (repo.repo_id, repo.repo_type)]
        for revision in repo.revisions:
            for file in revision.files:
                path = file.file_path.relative_to(revision.snapshot_path).as_posix()
                if any(cache.belongs(pattern, path) for pattern in patterns):
                    inside = file.blob_path.is_relative_to(repo.repo_path.resolve())
                    fetched = inside and _fetched(repo.repo_id, revision.commit_hash, file)
                    (ours if fetched else theirs).append(file)
    return ours, theirs


def _fetched(repo: str, commit: str, file: CachedFileInfo) -> bool:
    """Whether localmag brought these very bytes, and linked them into that commit."""
    return any(
        r.fetched
        and r.repo == repo
        and commit in (r.commit, *r.earlier)
        and records.verified(r, file.blob_path)
        for r in records.every()
    )


def _speaks_of(record: Record, file: CachedFileInfo) -> bool:
    """A blob is named by its digest; where there are no links, the file has its own name and its own time."""
    return file.blob_path.name == record.etag or records.verified(record, file.blob_path)


def _of(record: Record, build: Build) -> bool:
    return record.repo == build.repo and cache.belongs(build.file, record.path)


def _nothing(model: Model, builds: tuple[Build, ...], kept: list[CachedFileInfo]) -> NotFound:
    what = f"{model.title} {builds[0].quant}" if len(builds) == 1 else model.title
    if kept:
        return NotFound(
            f"{what} is here, but another program brought or changed it, so localmag leaves it alone.",
            f"`hf cache rm model/{builds[0].repo}` removes it.",
        )
    return NotFound(f"localmag has fetched nothing of {what}.", "See what is here with `localmag list`.")


def _sweep(files: set[Path]) -> None:
    """Take away revisions that hold nothing any more."""
    empty = set()
    for snapshot in {p for f in files for p in f.parents if p.parent.name == "snapshots"}:
        if not any(p.is_file() or p.is_symlink() for p in snapshot.rglob("*")):
            empty.add(snapshot.name)
    if empty and (scan := _scan()):
        scan.delete_revisions(*empty).execute()
