"""What a build needs, fetched into the Hugging Face cache: resumed where it stopped, verified before use.

`plan` asks the hub what there is and writes nothing. `fetch` does it, and yields what it is doing. Bytes
gather in one file beside the blobs, which outlives Ctrl+C, kill -9 and a cut cable; only when their digest is
the hub's own do they get the name under which any tool would find them.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import are_symlinks_supported
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # it loads lazily

from localmag import catalogue, gguf
from localmag.catalogue import Build, Model
from localmag.errors import BadFile, DoesNotFit, HubFailed, NotFound, RunFailed, WrongUsage
from localmag.store import cache, digest, hub, records
from localmag.store.hub import Listing, Remote, Tell
from localmag.store.local import EXTRAS, PARAMS, TOKENIZER

_SHAPE = {  # key of params.json → field of catalogue.Shape
    "n_layers": "layers", "dim": "width", "n_heads": "heads", "n_kv_heads": "kv_heads",
    "head_dim": "head_size", "hidden_dim": "ffn", "vocab_size": "vocabulary",
}  # fmt: skip
_SPARE = 256 * 1024 * 1024  # bytes of the disk left free
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")  # has tensors, but no vocabulary
_TRIES = 3  # connections in a row that may bring nothing before it is an error


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
        """Where the weights are (their first file), once fetched."""
        first = self.files[0]
        return cache.pointer(first.repo, first.commit, first.path)


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
class Waiting:
    """Nothing arrives just now; another try follows in `seconds`."""

    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Verified:
    """The whole file is here, with the digest that the hub gave."""

    file: Wanted


Step = Fetching | Checking | Waiting | Verified


# ── What is there ─────────────────────────────────────────────────────────────────────────────────


def plan(model: Model, build: Build, tell: Tell) -> Plan:
    """Ask the hub what pulling this build means. `tell` is told when the hub keeps us waiting.

    Raises WrongUsage for the bundled model, NotFound if the hub lacks what the catalogue names (with what it
    has), HubFailed if it cannot be asked, DoesNotFit if the disk is too full.
    """
    if model.name == catalogue.DEMO:
        raise WrongUsage("The demo comes with localmag.", "Run `localmag chat demo`.")
    there = hub.listing(build.repo, tell)
    base = there if model.repo == build.repo else hub.listing(model.repo, tell)
    chosen = [(there, f) for f in _weights(there, build.file)]
    chosen += [(base, _named(base, TOKENIZER))]
    chosen += [(base, f) for f in base.files if f.path in EXTRAS]
    files = tuple(_wanted(listing, remote) for listing, remote in chosen)
    folder = cache.root()
    wanted = Plan(model, build, files, there.licence or base.licence, folder, _free(folder))
    if wanted.missing and wanted.missing + _SPARE > wanted.free:
        raise DoesNotFit(
            f"{model.title} {build.quant} needs {wanted.missing / 1e9:.1f} GB more, and the disk of {folder} "
            f"has {wanted.free / 1e9:.1f} GB free.",
            "Free some space, or set HF_HUB_CACHE to a folder on a larger disk.",
        )
    return wanted


def _weights(there: Listing, pattern: str) -> list[Remote]:
    remotes = {f.path: f for f in there.files}
    if chosen := cache.choose(pattern, remotes):
        return [remotes[name] for name in chosen]
    raise _missing(there, pattern, (".gguf",))


def _named(there: Listing, name: str) -> Remote:
    for file in there.files:
        if file.path == name:
            return file
    raise _missing(there, name, (".json", ".txt"))


def _missing(there: Listing, name: str, kinds: tuple[str, ...]) -> NotFound:
    names = [f.path for f in there.files if f.path.endswith(kinds)] or [f.path for f in there.files]
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return NotFound(
        f"{there.repo} has no file {name} (or more than one like it).",
        f"It has {shown}: choose a quant that is there, or name the file in a catalogue of your own.",
    )


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
    hub says it is, DoesNotFit if the disk fills up, RunFailed if another program is fetching the same file or
    the disk fails.
    """
    with _disk(plan.folder):
        for file in plan.files:
            if not file.verified:
                yield from _fetch(file)
            yield Verified(file)
        for repo, commit in {f.repo: f.commit for f in plan.files}.items():
            cache.set_main(repo, commit)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """The disk's failures in our words; the hub's were told further in."""
    try:
        yield
    except OSError as exc:
        if exc.errno == errno.ENOSPC:
            raise DoesNotFit(
                f"The disk of {folder} is full.",
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
    try:
        told = json.loads(cache.pointer(file.repo, file.commit, file.path).read_bytes())
        pairs = [(key, told[key], getattr(shape, ours)) for key, ours in _SHAPE.items() if key in told]
    except (OSError, ValueError, TypeError):
        return [f"{PARAMS} of {file.repo} cannot be read, so the catalogue's shape is not confirmed"]
    return [
        f"{PARAMS} says {key} {theirs}, the catalogue {ours}" for key, theirs, ours in pairs if theirs != ours
    ]


def _fetch(file: Wanted) -> Iterator[Step]:
    lock = cache.lock(file.repo, file.etag)
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with WeakFileLock(lock, timeout=1):
            yield from _fetch_alone(file)
    except TimeoutError as exc:  # of the lock: the hub's own are mapped further in
        raise RunFailed(
            f"Another program is fetching {file.path}.", "Wait until it has finished, and run this again."
        ) from exc


def _fetch_alone(file: Wanted) -> Iterator[Step]:
    pointer = cache.pointer(file.repo, file.commit, file.path)
    blob = cache.blob(file.repo, file.etag)
    blob.parent.mkdir(parents=True, exist_ok=True)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    links = are_symlinks_supported(cache.root())
    there = next((p for p in (pointer, blob) if p.is_file()), None)
    record = records.load(file.repo, file.etag)
    fetched = record is not None and record.fetched
    if there is None:
        there = blob if links else pointer
        fetched = True
        yield from _transfer(file, there)
    elif not records.verified(record, there):
        yield from _check(file, there)
    if not pointer.is_file():
        _link(there, pointer, links)
    _require_weights(pointer)
    changed = there.stat().st_mtime_ns
    records.save(records.Record(file.repo, file.commit, file.path, file.etag, file.size, fetched, changed))


def _check(file: Wanted, there: Path) -> Iterator[Step]:
    """Hash what some program left here earlier."""
    for step in digest.of_file(there, file.etag):
        if isinstance(step, int):
            yield Checking(file, step)
        elif step != file.etag:
            _discard(there)
            raise _damaged(file, step, "The copy on this disk")


def _transfer(file: Wanted, there: Path) -> Iterator[Step]:
    """Bring the bytes, after those that an earlier run left, and give them their name if they are right."""
    partial = cache.partial(file.repo, file.etag)
    if partial.is_symlink() or (partial.exists() and partial.stat().st_size > file.size):
        partial.unlink()
    records.save(records.Record(file.repo, file.commit, file.path, file.etag, file.size, fetched=True))
    with partial.open("ab", buffering=0) as out:
        with digest.Follower(partial, file.etag, file.size) as follower:
            follower.written(out.tell())
            yield from _download(file, out, follower)
            found = follower.hexdigest()
        os.fsync(out.fileno())
    if found != file.etag:
        partial.unlink()
        raise _damaged(file, found, "What arrived")
    partial.replace(there)
    _sweep(file)


def _download(file: Wanted, out: BinaryIO, follower: digest.Follower) -> Iterator[Step]:
    """Append the bytes that `out` lacks. Each new connection goes on where the last one broke off."""
    done = furthest = out.tell()
    in_vain = 0
    while done < file.size:
        wait = 0.0
        with hub.failures(file.repo):
            try:
                with hub.stream(file.repo, file.commit, file.path, done) as answer:
                    ours = answer.size == file.size or (answer.size is None and not done)
                    ours = ours and answer.start in (0, done)
                    if ours and answer.start != done:
                        done = _again(out, follower)
                    for chunk in answer.chunks if ours else ():
                        out.write(chunk[: file.size - done])
                        done = out.tell()
                        follower.written(done)
                        yield Fetching(file, done)
                        if done == file.size:
                            break
            except HfHubHTTPError as exc:
                wait = _after(exc, in_vain)
                if exc.response.status_code == 416:  # it has fewer bytes than we have of it: ours are not its
                    done = _again(out, follower)
            except hub.TRANSIENT as exc:
                if hub.unreachable(exc) or in_vain + 1 >= _TRIES:
                    raise
        in_vain = 0 if done > furthest else in_vain + 1
        furthest = max(done, furthest)
        if in_vain >= _TRIES and not wait:
            raise HubFailed(
                f"What answers for {file.path} is not that file.",
                "Check the proxy, and whether this network has a login page; then run this again to go on.",
            )
        if wait or in_vain:
            yield Waiting("the hub is busy" if wait else "the connection broke", wait or 1.0)
            time.sleep(wait or 1.0)


def _again(out: BinaryIO, follower: digest.Follower) -> int:
    """Start from nothing."""
    out.truncate(0)
    follower.restart()
    return 0


def _after(exc: HfHubHTTPError, in_vain: int) -> float:
    """Seconds until the next try; raises `exc` if there is to be none."""
    if exc.response.status_code == 416 and in_vain + 1 < _TRIES:
        return 0.0
    wait = hub.busy(exc, float(2**in_vain))
    if wait is None or in_vain > _TRIES:
        raise exc
    return wait


def _link(there: Path, pointer: Path, links: bool) -> None:
    """Make the file findable under its path: by a link, or by moving it where there are no links."""
    if not links:
        there.replace(pointer)
        return
    aside = pointer.with_name(
        f"{pointer.name}.localmag.tmp"
    )  # one name, so that a killed pull's goes next time
    aside.unlink(missing_ok=True)
    aside.symlink_to(os.path.relpath(there, pointer.parent))
    aside.replace(pointer)


def _discard(there: Path) -> None:
    """Remove bad bytes, and the link to them if that is how they were found."""
    target = there.resolve()
    there.unlink()
    if target.parent == there.parent.parent.parent / "blobs":
        target.unlink(missing_ok=True)


def _sweep(file: Wanted) -> None:
    """Remove what was left of earlier versions of this file, which nobody will go on with."""
    for record in records.every():
        if (record.repo, record.path) == (file.repo, file.path) and record.etag != file.etag:
            cache.partial(record.repo, record.etag).unlink(missing_ok=True)
            if not record.changed:
                records.forget(record)


def _require_weights(pointer: Path) -> None:
    """Refuse weights that are not what localmag runs, while it can still be said where they came from."""
    if pointer.suffix == ".gguf" and not _LATER_PART.search(pointer.name):
        gguf.require_tekken(pointer, gguf.read(pointer))


def _damaged(file: Wanted, found: str, what: str) -> BadFile:
    return BadFile(
        f"{what} of {file.path} is damaged: its digest is {found[:12]}…, and the hub's is {file.etag[:12]}….",
        "It has been removed; run this again to fetch it anew.",
    )
