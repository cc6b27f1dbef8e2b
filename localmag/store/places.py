"""Where weights may be already: the folders of other tools, and what was imported. Read, never written.

    Hugging Face cache   models--owner--name/snapshots/commit/…        (see cache)
    LM Studio            models/publisher/repo/file         in its own folder, or the one its settings name
    Ollama               manifests/host/namespace/model/tag, a JSON whose layers name blobs/sha256-…
    imports              paths that the user named                     (see imports)

Nothing here is trusted: a name from a manifest is held to its form before it becomes part of a path
(CVE-2024-37032), folders are walked to a fixed depth and each one once, and only regular files count.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from localmag.files import json_object
from localmag.store import cache, imports

Place = Literal["localmag", "Hugging Face cache", "LM Studio", "Ollama", "import"]
Tell = Callable[[str], None]

_PART = re.compile(r"-(\d{5})-of-(\d{5})$")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # one part of an Ollama name
_WEIGHTS = "application/vnd.ollama.image.model"
_MOST_FOLDERS = 5_000  # looked into below one place: beyond any collection, short of a whole disk


@dataclass(frozen=True, slots=True)
class Found:
    """One set of weights, its header not yet read.

    `files` are a GGUF's parts in order, or the files of an MLX build, whose `path` is its folder. `label` is
    what its place calls it; `hints` are other names that may tell which model it is. `parts` is how many
    files there should be. In the hub cache, `repo` is the repository and `inside` the path in it. `chosen` is
    whether the user gave it its label.
    """

    place: Place
    path: Path
    files: tuple[Path, ...]
    label: str
    hints: tuple[str, ...] = ()
    parts: int = 1
    repo: str = ""
    inside: str = ""
    chosen: bool = False

    @property
    def backend(self) -> str:
        return "mlx" if self.path not in self.files else "llama.cpp"

    @property
    def whole(self) -> bool:
        return self.backend == "mlx" or len(self.files) == self.parts


def everything(tell: Tell) -> Iterator[Found]:
    """All weights there are, the best place first. `tell` hears of folders that cannot be read."""
    yield from hub_cache(tell)
    yield from imported()
    yield from lm_studio(tell)
    yield from ollama(tell)


# ── Each place ────────────────────────────────────────────────────────────────────────────────────


def hub_cache(tell: Tell) -> Iterator[Found]:
    """Every repository's weights, each in the newest snapshot that holds all of them, if any does."""
    for base in _listed(cache.root(), tell):
        owner, _, name = base.name.removeprefix("models--").partition("--")
        repo = f"{owner}/{name}"
        if not base.name.startswith("models--") or not cache.is_repo(repo):
            continue
        seen: set[str] = set()
        parts: dict[str, Found] = {}
        for snapshot in cache.snapshots(repo):
            for found in in_folder(snapshot, "Hugging Face cache", tell, depth=2, hints=(name, repo)):
                inside = found.path.relative_to(snapshot).as_posix()
                found = replace(found, repo=repo, inside=inside)
                if not found.whole:
                    parts.setdefault(inside, found)
                elif inside not in seen:
                    seen.add(inside)
                    yield found
        yield from (part for inside, part in parts.items() if inside not in seen)


def imported() -> Iterator[Found]:
    """What `localmag import` was given; a path that leads nowhere any more has no files."""
    for one in imports.every():
        if found := at(one.path, "import", one.name):
            yield replace(found, chosen=bool(one.name))


def lm_studio(tell: Tell) -> Iterator[Found]:
    for root in _once(_lm_studio_folders()):
        for publisher in _listed(root, tell):
            for repo in _listed(publisher, tell):
                hints = (repo.name, f"{publisher.name}/{repo.name}")
                yield from in_folder(repo, "LM Studio", tell, depth=1, hints=hints)


def ollama(tell: Tell) -> Iterator[Found]:
    """Each blob of weights once, under the shortest of its names."""
    for root in _once(_ollama_folders()):
        names: dict[Path, list[str]] = {}
        for name, manifest in _manifests(root / "manifests", tell):
            for digest in _weights_of(manifest):
                names.setdefault(root / "blobs" / f"sha256-{digest}", []).append(name)
        for blob, called in names.items():
            if is_regular(blob):
                label, *hints = sorted(called, key=lambda n: (len(n), n))
                yield Found("Ollama", blob, (blob,), label, tuple(hints))


def _lm_studio_folders() -> Iterator[Path]:
    """As it is set up, or where its versions put it by default."""
    home = Path.home()
    homes = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    pointer = home / ".lmstudio-home-pointer"
    if is_regular(pointer) and pointer.stat().st_size < 4096:
        named = pointer.read_text("utf-8", "replace").strip()
        homes[:0] = [Path(named)] if _is_absolute(named) else []
    for folder in homes:
        configured = json_object(folder / "settings.json").get("downloadsFolder")
        if isinstance(configured, str) and _is_absolute(configured):
            yield Path(configured)
        yield folder / "models"


def _ollama_folders() -> Iterator[Path]:
    """Where it is told to keep them, where it does otherwise, and where the service of its installer does."""
    configured = os.environ.get("OLLAMA_MODELS")
    if configured:
        yield Path(configured)
    yield Path.home() / ".ollama" / "models"
    if sys.platform == "linux" and not configured:
        yield Path("/usr/share/ollama/.ollama/models")


def _manifests(root: Path, tell: Tell) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ollama's name of each model, as `magistral:24b`, and its manifest."""
    for host in _listed(root, tell):
        for namespace in _listed(host, tell):
            for model in _listed(namespace, tell):
                for tag in _listed(model, tell):
                    parts = (host.name, namespace.name, model.name, tag.name)
                    if all(_PLAIN.fullmatch(part) for part in parts):
                        yield _ollama_name(*parts), json_object(tag)


def _ollama_name(host: str, namespace: str, model: str, tag: str) -> str:
    if host == "registry.ollama.ai":
        return f"{model}:{tag}" if namespace == "library" else f"{namespace}/{model}:{tag}"
    return f"{host}/{namespace}/{model}:{tag}"


def _weights_of(manifest: dict[str, Any]) -> Iterator[str]:
    """The digests of its weights. What is no digest is no path either."""
    layers = manifest.get("layers")
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and layer.get("mediaType") == _WEIGHTS:
            digest = _DIGEST.fullmatch(str(layer.get("digest")))
            if digest:
                yield digest[1]


# ── A folder and a path ───────────────────────────────────────────────────────────────────────────


def at(path: Path, place: Place = "import", label: str = "") -> Found | None:
    """The weights at a path: a GGUF (with its other parts), or an MLX build's folder. None if neither."""
    if _is_folder(path):
        files = [p for p in _listed(path, _untold) if is_regular(p)]
        return _mlx(path, files, place, label, ())
    if not is_regular(path):
        return None
    part = _PART.search(path.stem)
    if part is None:
        return Found(place, path, (path,), label or path.stem, (path.stem, path.parent.name))
    stem = path.stem[: part.start()]
    beside = (
        path.with_name(f"{stem}-{n:05}-of-{part[2]}.gguf") for n in range(1, min(int(part[2]), 999) + 1)
    )
    parts = tuple(p for p in beside if is_regular(p)) or (path,)
    return Found(place, parts[0], parts, label or stem, (stem, path.parent.name), int(part[2]))


def in_folder(
    root: Path, place: Place, tell: Tell, *, depth: int, hints: tuple[str, ...] = ()
) -> Iterator[Found]:
    """All weights in a folder and `depth` floors below it."""
    for folder, files in _walk(root, depth, tell):
        if found := _mlx(
            folder, files, place, root.name if place != "Hugging Face cache" else hints[0], hints
        ):
            yield found
            continue
        taken: set[Path] = set()
        for file in sorted(files):
            if file.suffix.lower() == ".gguf" and file not in taken and "mmproj" not in file.name.lower():
                found = at(file, place)
                if found:
                    taken.update(found.files)
                    yield Found(
                        place, found.path, found.files, found.label, (found.label, *hints), found.parts
                    )


def _mlx(folder: Path, files: list[Path], place: Place, label: str, hints: tuple[str, ...]) -> Found | None:
    """MLX builds are folders of safetensors, as Transformers' are: quantization or a name tells them."""
    tensors = tuple(sorted(p for p in files if p.suffix == ".safetensors"))
    if not tensors or not any(p.name == "config.json" for p in files):
        return None
    called = " ".join((folder.name, label, *hints)).lower()
    if "mlx" not in called and "quantization" not in json_object(folder / "config.json"):
        return None
    return Found(place, folder, tensors, label or folder.name, (folder.name, *hints))


def _walk(root: Path, depth: int, tell: Tell) -> Iterator[tuple[Path, list[Path]]]:
    """Folders and their regular files. Links are followed, as other tools do; each folder is seen once."""
    seen: set[tuple[int, int]] = set()
    waiting = [(root, 0)]
    while waiting and len(seen) < _MOST_FOLDERS:
        folder, floor = waiting.pop()
        try:
            about = folder.stat()
        except OSError:
            continue
        if (about.st_dev, about.st_ino) in seen:
            continue
        seen.add((about.st_dev, about.st_ino))
        entries = _listed(folder, tell)
        yield folder, [p for p in entries if is_regular(p)]
        if floor < depth:
            waiting += [(p, floor + 1) for p in entries if _is_folder(p)]


def _listed(folder: Path, tell: Tell) -> list[Path]:
    """What is in it, in order; nothing if it is not there or may not be read, of which `tell` hears."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        tell(f"{folder} cannot be read ({exc.strerror}), so what it holds is not known.")
        return []


def _once(folders: Iterator[Path]) -> Iterator[Path]:
    seen = set()
    for folder in folders:
        try:
            real = folder.resolve()
        except (OSError, RuntimeError):  # a loop of links
            continue
        if real not in seen:
            seen.add(real)
            yield folder


def _untold(trouble: str) -> None:
    """For a path that the user named: what is not there is said where it is used."""


def _is_absolute(path: str) -> bool:
    return "\0" not in path and Path(path).is_absolute()


def is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False
