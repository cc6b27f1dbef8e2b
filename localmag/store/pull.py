"""What a build needs, fetched into the Hugging Face cache: resumed where it stopped, verified before use.

`plan` asks the hub what there is and writes nothing. `fetch` does it, and yields what it is doing. Bytes
gather in one file beside the blobs, which outlives Ctrl+C, kill -9 and a cut cable; only when their digest is
the hub's own do they get the name under which any tool would find them.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from localmag import catalogue, gguf
from localmag.catalogue import Build, Model
from localmag.errors import BadFile, DoesNotFit, NotFound, RunFailed, WrongUsage
from localmag.files import json_object
from localmag.forms import shown
from localmag.store import cache, digest, download, needs, records
from localmag.store.client import WeakFileLock, are_symlinks_supported
from localmag.store.download import Waiting as Waiting
from localmag.store.hub import Listing, Remote, Tell
from localmag.store.installed import PARAMS, TOKENIZER

_SHAPE = {  # key of params.json → field of catalogue.Shape
    "n_layers": "layers", "dim": "width", "n_heads": "heads", "n_kv_heads": "kv_heads",
    "head_dim": "head_size", "hidden_dim": "ffn", "vocab_size": "vocabulary",
}  # fmt: skip
_SPARE = 256 * 1024 * 1024  # bytes of the disk left free
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")  # has tensors, but no vocabulary
_PATIENCE = 120.0  # seconds that another program may hold a file's lock while nothing of it arrives
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # the disk, what its file system (FAT32) takes, a quota


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file of a pull. `size` and `here` (what of it is on disk already) are bytes."""

    repo: str
    commit: str
    path: str
    size: int
    etag: str
    here: int
    verified: bool

    @property
    def remote(self) -> Remote:
        return Remote(self.path, self.size, self.etag)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be fetched, from where, and onto which disk. `free` is that disk's free bytes."""

    model: Model
    build: Build
    files: tuple[Wanted, ...]
    licence: str
    folder: Path
    free: int

    @property
    def total(self) -> int:
        """Bytes of all files together."""
        return sum(f.size for f in self.files)

    @property
    def missing(self) -> int:
        """Bytes still to be fetched."""
        return sum(f.size - f.here for f in self.files)

    @property
    def done(self) -> bool:
        """Whether all of it is here and verified, so that nothing is left to do."""
        return all(f.verified for f in self.files)

    @property
    def weights(self) -> Path:
        """Where the weights will be: their first file, an MLX build's folder; without them, the tokenizer."""
        first = self.files[0]
        path = cache.pointer(first.repo, first.commit, first.path)
        return path.parent if path.suffix == ".safetensors" else path


@dataclass(frozen=True, slots=True)
class Fetching:
    """`done` bytes of the file are on disk."""

    file: Wanted
    done: int


@dataclass(frozen=True, slots=True)
class Checking:
    """`done` bytes of a file that was here already are hashed."""

    file: Wanted
    done: int


@dataclass(frozen=True, slots=True)
class Verified:
    """The whole file is here, with the digest that the hub gave."""

    file: Wanted


Step = Fetching | Checking | Waiting | Verified


# ── What is there ─────────────────────────────────────────────────────────────────────────────────


def plan(model: Model, build: Build, tell: Tell, *, weights: bool = True) -> Plan:
    """Ask the hub what pulling this build means. `tell` is told when the hub keeps us waiting.

    Without `weights` it is what goes with them: tokenizer, system prompt and shape.

    Raises WrongUsage for the bundled model, NotFound if the hub lacks what the catalogue names (with what it
    has), HubFailed if it cannot be asked, DoesNotFit if the disk is too full.
    """
    if model.name == catalogue.DEMO:
        raise WrongUsage("The demo comes with localmag.", "Run `localmag chat demo`.")
    chosen = needs.listed(model, build, tell, weights=weights)
    folder = cache.root()
    with _disk(folder):
        files = tuple(_wanted(listing, remote) for listing, remote in chosen)
        licence = next((listing.licence for listing, _ in chosen if listing.licence), "")
        wanted = Plan(model, build, files, licence, folder, _free(folder))
    if wanted.missing and wanted.missing + _SPARE > wanted.free:
        raise DoesNotFit(
            f"{model.title} {build.quant} needs {wanted.missing / 1e9:.1f} GB more, and the disk of {folder} "
            f"has {wanted.free / 1e9:.1f} GB free.",
            "Free some space, or set HF_HUB_CACHE to a folder on a larger disk.",
        )
    return wanted


def _wanted(there: Listing, remote: Remote) -> Wanted:
    """The file as it stands on this disk. Raises BadFile if the hub's names could lead elsewhere."""
    pointer = cache.pointer(there.repo, there.commit, remote.path)
    blob = cache.blob(there.repo, remote.etag)
    record = records.load(there.repo, remote.etag)
    here, verified = 0, False
    for whole in (pointer, blob):
        if whole.is_file() and whole.stat().st_size == remote.size:
            here = remote.size
            verified = whole == pointer and records.verified(record, whole)
            break
    else:
        partial = cache.partial(there.repo, remote.etag)
        here = min(partial.stat().st_size, remote.size) if partial.is_file() else 0
    return Wanted(there.repo, there.commit, remote.path, remote.size, remote.etag, here, verified)


def _free(folder: Path) -> int:
    """Of the disk that the folder is on, or would be."""
    there = next((p for p in (folder, *folder.parents) if p.exists()), None)
    if there is None:
        raise NotFound(f"The disk of {folder} is not there.", "Check HF_HOME and HF_HUB_CACHE.")
    return shutil.disk_usage(there).free


# ── Fetching it ───────────────────────────────────────────────────────────────────────────────────


def fetch(plan: Plan) -> Iterator[Step]:
    """Do what the plan says, file by file. Closing the iterator stops it; what has arrived is kept.

    Raises HubFailed if the network or the hub fails, BadFile if what arrived (or was here) is not what the
    hub says it is, DoesNotFit if the disk fills up, RunFailed if the disk fails, or if another program holds
    on to a file and does not get on with it.
    """
    with _disk(plan.folder):
        for file in _in_order(plan):
            if not file.verified:
                yield from _fetch(file)
            yield Verified(file)
        for repo, commit in {f.repo: f.commit for f in plan.files}.items():
            cache.set_main(repo, commit)


def _in_order(plan: Plan) -> list[Wanted]:
    """The small files, the tokenizer, the weights: wherever a pull ends, weights that are whole have all that
    goes with them, and a tokenizer has its system prompt.
    """

    def place(file: Wanted) -> tuple[int, int]:
        if file.path.endswith((".gguf", ".safetensors")) and not cache.encodes_images(file.path):
            return 2, 0
        return (1, 0) if file.path == TOKENIZER else (0, file.size)

    return sorted(plan.files, key=place)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """The disk's failures in our words; the hub's were told further in."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise DoesNotFit(
                f"The disk of {folder} takes no more ({exc.strerror}).",
                "Free some space, and run this again to go on; what has arrived is kept.",
            ) from exc
        raise RunFailed(
            f"{exc.filename or folder} cannot be written ({exc.strerror or exc}).",
            "Check the disk and its permissions, and run this again; what has arrived is kept.",
        ) from exc


def contradictions(plan: Plan) -> list[str]:
    """Where the params.json that was fetched tells another shape than the catalogue, one line for each."""
    file = next((f for f in plan.files if f.path == PARAMS), None)
    shape = plan.model.shape
    if file is None or shape is None:
        return []
    told = json_object(cache.pointer(file.repo, file.commit, file.path))
    pairs = [(key, told[key], getattr(shape, ours)) for key, ours in _SHAPE.items() if key in told]
    if not told:
        return [f"{PARAMS} of {file.repo} cannot be read, so the catalogue's shape is not confirmed"]
    return [
        f"{PARAMS} says {key} {shown(theirs)}, the catalogue {ours}"
        for key, theirs, ours in pairs
        if theirs != ours
    ]


def _fetch(file: Wanted) -> Iterator[Step]:
    pointer = cache.pointer(file.repo, file.commit, file.path)
    if pointer.is_file():  # nothing is written, so that a cache that can only be read will do
        yield from _accept(file, pointer)
        return
    with ExitStack() as held:
        yield from _lock(file, held)
        if not pointer.is_file():
            yield from _bring(file, pointer)
        yield from _accept(file, pointer)


def _lock(file: Wanted, held: ExitStack) -> Iterator[Step]:
    """Be the only one to fetch the file; while another program does, wait as long as it gets on with it."""
    lock = cache.lock(file.repo, file.etag)
    lock.parent.mkdir(parents=True, exist_ok=True)
    arrived, until = -1, 0.0
    while True:
        try:
            held.enter_context(WeakFileLock(lock, timeout=1))
            return
        except TimeoutError as exc:
            there = sum(p.stat().st_size for p in cache.partials(file.repo, file.etag))
            if there != arrived:
                arrived, until = there, time.monotonic() + _PATIENCE
            elif time.monotonic() > until:
                raise RunFailed(
                    f"Another program holds {lock}, and nothing of {file.path} arrives.",
                    "End that program (or remove the file if there is none), and run this again.",
                ) from exc
            yield Waiting("another program is fetching it", 1.0)


def _bring(file: Wanted, pointer: Path) -> Iterator[Step]:
    """Have the right bytes under the path by which they are found."""
    blob = cache.blob(file.repo, file.etag)
    blob.parent.mkdir(parents=True, exist_ok=True)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    links = are_symlinks_supported(cache.root())
    if not blob.is_file():
        yield from _transfer(file, blob if links else pointer)
    elif not records.verified(records.load(file.repo, file.etag), blob):
        yield from _check(file, blob)
    if not pointer.is_file():
        _link(blob, pointer, links)
    record = records.load(file.repo, file.etag)
    _note(file, fetched=record is not None and record.fetched, changed=pointer.stat().st_mtime_ns)


def _accept(file: Wanted, pointer: Path) -> Iterator[Step]:
    """Note that the bytes are right, having looked at them unless that was done before."""
    if not records.verified(records.load(file.repo, file.etag), pointer):
        yield from _check(file, pointer)
    _require_weights(pointer)


def _note(file: Wanted, *, fetched: bool, changed: int = 0) -> None:
    """Record what is known of the file now, and where else localmag linked the same bytes."""
    before = records.load(file.repo, file.etag)
    earlier = (
        tuple(sorted({before.commit, *before.earlier} - {file.commit})) if before and before.fetched else ()
    )
    record = records.Record(
        file.repo, file.commit, file.path, file.etag, file.size, fetched, changed, earlier
    )
    records.save(record)


def _check(file: Wanted, there: Path) -> Iterator[Step]:
    """Hash what some program left here earlier."""
    for step in digest.of_file(there, file.etag):
        if isinstance(step, int):
            yield Checking(file, step)
        elif step != file.etag:
            _discard(there, cache.blob(file.repo, file.etag))
            raise _damaged(file, step, "The copy on this disk")
    record, partial = records.load(file.repo, file.etag), cache.partial(file.repo, file.etag)
    begun = partial.is_file()
    # Ours if it was killed between naming the bytes and noting that; else another program finished first.
    fetched = record is not None and record.fetched and not record.changed and not begun
    _note(file, fetched=fetched, changed=there.stat().st_mtime_ns)
    if begun:
        partial.unlink()


def _transfer(file: Wanted, there: Path) -> Iterator[Step]:
    """Bring the bytes, after those that an earlier run left, and give them their name if they are right."""
    partial = cache.partial(file.repo, file.etag)
    if partial.is_symlink() or (partial.exists() and partial.stat().st_size > file.size):
        partial.unlink()
    _note(file, fetched=True)
    with partial.open("ab", buffering=0) as out:
        with digest.Follower(partial, file.etag, file.size) as follower:
            follower.written(out.tell())
            for step in download.append(file.repo, file.commit, file.remote, out):
                if isinstance(step, int):
                    follower.written(step)
                    yield Fetching(file, step)
                else:
                    yield step
            found = follower.hexdigest()
        os.fsync(out.fileno())
    if found != file.etag:
        partial.unlink()
        raise _damaged(file, found, "What arrived")
    partial.replace(there)
    _note(file, fetched=True, changed=there.stat().st_mtime_ns)
    _sweep(file)


def _link(there: Path, pointer: Path, links: bool) -> None:
    """Make the file findable under its path: by a link, or by moving it where there are no links."""
    if not links:
        there.replace(pointer)
        return
    aside = pointer.with_name(f"{pointer.name}.localmag.tmp")  # one name: a killed pull's goes next time
    aside.unlink(missing_ok=True)
    aside.symlink_to(os.path.relpath(there, pointer.parent))
    aside.replace(pointer)


def _discard(there: Path, blob: Path) -> None:
    """Remove bad bytes by the names that they have in this cache; what a link leads to elsewhere stays."""
    if there != blob and blob.is_file() and there.samefile(blob):
        blob.unlink()
    there.unlink()


def _sweep(file: Wanted) -> None:
    """Remove what was left of earlier versions of this file, which nobody will go on with."""
    for record in records.every():
        if (record.repo, record.path) == (file.repo, file.path) and record.etag != file.etag:
            cache.partial(record.repo, record.etag).unlink(missing_ok=True)
            if not record.changed:
                records.forget(record)


def _require_weights(pointer: Path) -> None:
    """Refuse weights that are not what localmag runs, while it can still be said where they came from."""
    if pointer.suffix != ".gguf":
        return
    header = gguf.read(pointer, strings=False)
    if not _LATER_PART.search(pointer.name) and not cache.encodes_images(pointer.name):
        gguf.require_tekken(pointer, header)


def _damaged(file: Wanted, found: str, what: str) -> BadFile:
    return BadFile(
        f"{what} of {file.path} is damaged: its digest is {found[:12]}…, and the hub's is {file.etag[:12]}….",
        "It has been removed; run this again to fetch it anew.",
    )
