"""The Hugging Face cache's layout: documented, shared by every tool, and read here without their client.

models--{owner}--{name}/
  blobs/{etag}                  the bytes; an LFS file's etag is its SHA-256, another's its git SHA-1
  snapshots/{commit}/{path}     a link to a blob (the file itself where links are not possible)
  refs/main                     the commit that `main` meant when it was last asked
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath

from localmag import files
from localmag.errors import BadFile

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")  # as llama.cpp splits a file
_DEVICE = re.compile(r"CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]", re.IGNORECASE)  # of Windows
_REPO = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")


def root() -> Path:
    """As huggingface_hub defines it: HF_HUB_CACHE, else HF_HOME/hub, else the XDG cache's huggingface/hub."""
    if cache := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return _expanded(cache)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _expanded(os.environ.get("HF_HOME") or f"{base}/huggingface") / "hub"


def is_repo(repo: str) -> bool:
    """Whether it is a plain owner/name, which can lead nowhere else."""
    return bool(_REPO.fullmatch(repo)) and "--" not in repo and ".." not in repo


def folder(repo: str) -> Path:
    """Where a repository's files are kept. Raises BadFile if `repo` is no plain owner/name."""
    if not is_repo(repo):
        raise BadFile(f"{repo!r} is not the name of a repository.", "It must look like owner/name.")
    return root() / f"models--{repo.replace('/', '--')}"


def snapshots(repo: str) -> list[Path]:
    """The repository's snapshots on this machine: the one that `main` means first, then the newest."""
    base = folder(repo)
    try:
        there = [p for p in (base / "snapshots").iterdir() if _COMMIT.fullmatch(p.name)]
        ages = {p: -p.stat().st_mtime for p in there}
    except OSError:
        return []
    main = _main(base)
    return sorted(there, key=lambda p: (p.name != main, ages[p]))


def find(repo: str, path: str) -> Path | None:
    """The file in the newest snapshot that holds it, or None. A link that leads nowhere is not there."""
    for snapshot in snapshots(repo):
        file = snapshot.joinpath(*safe(path))
        if file.is_file():
            return file
    return None


def weights(repo: str, pattern: str) -> list[Path]:
    """The files that `pattern` means, in the newest snapshot that holds all of them; empty if none does."""
    for snapshot in snapshots(repo):
        there = {p.relative_to(snapshot).as_posix(): p for p in snapshot.rglob("*.gguf") if p.is_file()}
        if chosen := choose(pattern, there):
            return [there[name] for name in chosen]
    return []


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of one commit: its `path` in the repository, and where that is found. `blob` is where its link
    leads by one step, be anything there or not; without links, it is `pointer` itself.
    """

    repo: str
    commit: str
    path: str
    pointer: Path
    blob: Path


def entries(repo: str) -> Iterator[Entry]:
    """Every file of every commit of a repository here. Raises OSError if that cannot be read."""
    base = real(repo)
    if not (base / "snapshots").is_dir():
        return
    for snapshot in (base / "snapshots").iterdir():
        if snapshot.is_symlink() or not _COMMIT.fullmatch(snapshot.name):
            continue
        for pointer in snapshot.rglob("*"):
            if pointer.is_symlink():
                blob = Path(os.path.normpath(pointer.parent / pointer.readlink()))
            elif pointer.is_file():
                blob = pointer
            else:
                continue
            yield Entry(repo, snapshot.name, pointer.relative_to(snapshot).as_posix(), pointer, blob)


def real(repo: str) -> Path:
    """The repository's folder, whatever links lead to it."""
    return Path(os.path.realpath(folder(repo)))


def choose(pattern: str, names: Iterable[str]) -> list[str]:
    """Which of a repository's files a build's `pattern` means: the file of that name; or the file's parts, in
    order and complete; or the only one that matches. Empty if that is none, or not clear.

    What encodes images lies beside the weights in many a repository, and is meant only by its own name.
    """
    there = [n for n in names if encodes_images(n) == encodes_images(pattern)]
    if pattern in there:
        return [pattern]
    stem = pattern.removesuffix(".gguf")
    parts = sorted(n for n in there if _PART.search(n) and fnmatchcase(_PART.sub("", n), stem))
    numbers = [(int(m[1]), int(m[2])) for n in parts if (m := _PART.search(n))]
    if numbers and numbers == [(i + 1, len(parts)) for i in range(len(parts))]:
        return parts
    whole = [n for n in there if fnmatchcase(n, pattern) and not _PART.search(n)]
    return whole if len(whole) == 1 else []


def belongs(pattern: str, path: str) -> bool:
    """Whether `path` could be (a part of) what `pattern` means."""
    if encodes_images(path) != encodes_images(pattern):
        return False
    whole = _PART.sub(".gguf", path)
    return path == pattern or fnmatchcase(path, pattern) or fnmatchcase(whole, pattern)


def encodes_images(path: str) -> bool:
    """Whether a file is named like the part of a model that sees, as every publisher names it."""
    return "mmproj" in path.rpartition("/")[2].lower()


def pointer(repo: str, commit: str, path: str) -> Path:
    """Where a file of that commit is found. Raises BadFile if the commit or the path would lead elsewhere."""
    if not _COMMIT.fullmatch(commit):
        raise _untrusted("a commit", commit)
    return folder(repo).joinpath("snapshots", commit, *safe(path))


def blob(repo: str, etag: str) -> Path:
    """Where bytes of that digest are kept. Raises BadFile if `etag` is no digest but, say, a path."""
    if not _DIGEST.fullmatch(etag):
        raise _untrusted("a digest", etag)
    return folder(repo) / "blobs" / etag


def partial(repo: str, etag: str) -> Path:
    """Where bytes of that digest gather until all are there. Cache tools clean up what ends so."""
    return blob(repo, etag).with_name(f"{etag}.localmag.incomplete")


def partials(repo: str, etag: str) -> list[Path]:
    """What is there of those bytes so far, whichever program is fetching them."""
    return list(blob(repo, etag).parent.glob(f"{etag}.*incomplete"))


def lock(repo: str, etag: str) -> Path:
    """The lock that huggingface_hub takes too."""
    return root() / ".locks" / folder(repo).name / f"{blob(repo, etag).name}.lock"


def set_main(repo: str, commit: str) -> None:
    """Say that `main` means `commit`, for every tool that looks."""
    if _main(folder(repo)) == commit:
        return
    ref = folder(repo) / "refs" / "main"
    ref.parent.mkdir(parents=True, exist_ok=True)
    aside = ref.with_name("main.localmag.tmp")
    aside.write_text(commit, encoding="ascii")
    with suppress(FileNotFoundError):  # another pull moved it into place, with what it had just asked the hub
        aside.replace(ref)


def safe(path: str) -> tuple[str, ...]:
    """The parts of a path within a repository. Raises BadFile if it could lead out of it, on any platform."""
    parts = PurePosixPath(path).parts
    windows = PureWindowsPath(path)
    harmless = parts and path.isprintable() and not windows.drive and not windows.root and "\\" not in path
    if not harmless or any(_misread(part) for part in parts):
        raise _untrusted("a file of a repository", path)
    return parts


def _misread(part: str) -> bool:
    """Whether some system would take a part of a path for another than it is written as.

    Windows drops dots and spaces at the end, and has devices whose names end at the first dot (`NUL.gguf`).
    """
    return ":" in part or part.endswith((".", " ")) or bool(_DEVICE.fullmatch(part.split(".")[0].rstrip()))


def _main(base: Path) -> str:
    try:
        return files.read(base / "refs" / "main").decode("ascii", "replace").strip()
    except OSError:
        return ""


def _untrusted(what: str, said: str) -> BadFile:
    return BadFile(
        f"The hub named {what} {said[:80]!r}, which it cannot be.",
        "Nothing was written; check HF_ENDPOINT, or tell the repository's owner.",
    )


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser()
