"""KV states on disk: what an engine has read of a conversation, kept so that it need not be read again.

A state is a folder of files that the engine's library wrote, and a manifest that says what they are of. The
libraries' readers were not made for files of strangers, so nothing here is believed, nor handed to them,
until a keyed hash (HMAC-SHA-256; the key lies beside the conversations) proves that localmag wrote it for
this user, and that not a byte has changed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localmag import files, gguf, paths
from localmag.engines import EngineSpec, KVType, TokenModel
from localmag.errors import BadFile, LocalmagError, NotFound, RunFailed

_FORMAT = 1
_MANIFEST = "state"
_MOST_MANIFEST = 16 * 2**20  # bytes; the ids of the largest context there is take 2 million
_KEY_BYTES = 32
_TRIES, _PAUSE_S = 5, 0.05  # at putting a state in its place while others do the same
_SAMPLES, _SAMPLE = 64, 2**16  # bytes of weights that are looked at: all of them would take seconds
_READ_BACK = 500e6
"""Bytes of a state that are read from an SSD and checked per second (SHA-256 alone: 1.2e9 measured)."""


@dataclass(frozen=True, slots=True)
class State:
    """What a saved KV state is of: whoever has the same of the first four can go on from it."""

    backend: str
    library: str
    """The package that wrote it, with its version."""
    kv_type: KVType
    weights: str
    """A digest of samples of the weights: other weights have another."""
    build: str
    """The weights' name, for people."""
    saved: float
    """Seconds since 1970."""
    ids: tuple[int, ...]
    """Whose keys and values it holds, by place."""
    files: dict[str, tuple[int, str]]
    """Bytes and SHA-256 of each file, by name."""

    @property
    def tokens(self) -> int:
        return len(self.ids)

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self.files.values())


def worth_keeping(model: TokenModel, count: int, kept: int = 0) -> bool:
    """Whether keeping `count` ids saves more time than it takes, of which `kept` are on disk already.

    It takes what reading them back from disk does, and saves what the model takes to read the others anew.
    """
    saved = (count - kept) / model.rate if model.rate else float("inf")
    return count > kept and model.state_bytes(count) / _READ_BACK < saved


def save(model: TokenModel, spec: EngineSpec, folder: Path, count: int) -> State:
    """Keep the first `count` ids of the model's KV cache in `folder`, in place of what is there.

    The cache forgets what follows them. A state that is there stays whole until the new one is. Raises
    RunFailed where it cannot be written, or the model's cache cannot be cut there.
    """
    process = os.getpid()
    new, old = unfinished(folder, process)
    with _on_disk(folder):
        try:
            files.discard(new)
            new.mkdir(mode=0o700, parents=True)
            model.save_state(new, count)
            state = State(
                backend=spec.backend,
                library=model.library,
                kv_type=spec.kv_type,
                weights=fingerprint(spec),
                build=spec.name,
                saved=time.time(),
                ids=tuple(model.held),
                files={path.name: (path.stat().st_size, _digest(path)) for path in sorted(new.iterdir())},
            )
            told = json.dumps(asdict(state) | {"format": _FORMAT}).encode()
            (new / _MANIFEST).write_bytes(_signed(told, _key_to_sign()))
            _put_in_place(new, folder, old)
        finally:
            clear_up(folder, process)
    return state


def unfinished(folder: Path, process: int) -> tuple[Path, Path]:
    """Where that process makes the state that is to lie in `folder`, and puts the one that lay there."""
    new, old = (folder.with_name(f"{folder.name}.{process}.{kind}") for kind in ("new", "old"))
    return new, old


def clear_up(folder: Path, process: int) -> None:
    """Remove what is left of a state that the process, done or dead, was making."""
    new, old = unfinished(folder, process)
    with suppress(OSError):  # it died while none was in its place; else there is one, and this fails
        old.rename(folder)
    files.discard(new)
    files.discard(old)


def _put_in_place(new: Path, folder: Path, old: Path) -> None:
    """Another program may be doing the same: the last one wins."""
    for left in reversed(range(_TRIES)):
        files.discard(old)
        try:
            with suppress(FileNotFoundError):
                folder.rename(old)
            new.rename(folder)
            return
        except OSError:  # on Windows, also where anybody has a file of it open
            with suppress(OSError):
                old.rename(folder)
            if not left:
                raise
            time.sleep(_PAUSE_S)


def load(model: TokenModel, spec: EngineSpec, folder: Path) -> State:
    """Put a state into the model's empty KV cache.

    Raises BadFile, leaving the cache empty, for a state that is damaged or foreign, or of another build, KV
    type or version of the library, or too long for the model's context; NotFound where there is none.
    """
    state = describe(folder)
    try:
        _require_for(state, model, spec)
        before = _as_they_are(folder, state)
        damaged = not all(_is_whole(folder / name, *told) for name, told in state.files.items())
        if not damaged:
            model.load_state(folder, state.ids)
        if _as_they_are(folder, state) != before:
            raise _unusable("has just been replaced by another program")
        if damaged:
            raise _unusable("is damaged")
    except OSError as exc:
        model.held.clear()
        raise _unusable(f"cannot be read ({exc.strerror or exc})") from exc
    except LocalmagError:
        model.held.clear()  # ids that the model does not hold are not looked for in its cache
        raise
    return state


def _require_for(state: State, model: TokenModel, spec: EngineSpec) -> None:
    wanted = {
        "engine": (state.backend, spec.backend),
        "version of its library": (state.library, model.library),
        "KV type": (state.kv_type, spec.kv_type),
        "build of the model": (state.weights, fingerprint(spec)),
    }
    for what, (theirs, ours) in wanted.items():
        if theirs != ours:
            raise _unusable(f"is of another {what}")
    if state.tokens >= model.context:
        raise _unusable(f"is of {state.tokens:,} tokens, and the context holds {model.context:,}")


def _is_whole(path: Path, size: int, digest: str) -> bool:
    return path.is_file() and path.stat().st_size == size and _digest(path) == digest


def _as_they_are(folder: Path, state: State) -> list[tuple[int, ...]]:
    """What changes where a file does, or another takes its place."""
    about = [(folder / name).stat() for name in (_MANIFEST, *state.files)]
    return [(file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns) for file in about]


def describe(folder: Path) -> State:
    """What `folder` holds, as its manifest says. Raises NotFound, and BadFile for one of somebody else."""
    try:
        signed = files.read(folder / _MANIFEST, _MOST_MANIFEST)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFound("Nothing is kept of what was read.", "It is read again.") from exc
    except OSError as exc:
        raise _unusable(f"cannot be read ({exc.strerror})") from exc
    told, _, signature = signed.rpartition(b"\n")
    key = _key()
    if key is None or not hmac.compare_digest(_signature(told, key), signature):
        raise _unusable("is damaged, or was not written here")
    try:
        return _state(json.loads(told))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as exc:
        raise _unusable("was written by another version of localmag") from exc


def _state(form: dict[str, Any]) -> State:
    """Raises whatever comes of a form that is not ours: signed, it was ours once, not necessarily today."""
    if form.pop("format") != _FORMAT:
        raise ValueError
    named = {Path(name).name: (size, digest) for name, (size, digest) in form["files"].items()}
    numbers = [*form["ids"], *(size for size, _ in named.values())]
    words = [form[name] for name in ("backend", "library", "kv_type", "weights", "build")]
    if any(type(n) is not int or n < 0 for n in numbers) or any(type(word) is not str for word in words):
        raise ValueError
    if not form["ids"] or len(named) != len(form["files"]) or not isinstance(form["saved"], float):
        raise ValueError
    return State(**form | {"ids": tuple(form["ids"]), "files": named})


def fingerprint(spec: EngineSpec) -> str:
    """A digest of what the weights are, wherever they lie: their sizes, and samples all through each file."""
    digest = hashlib.sha256()
    for path in _weights(spec):
        size = path.stat().st_size
        digest.update(f"{size}\0".encode())
        with path.open("rb") as file:
            for n in range(_SAMPLES):
                file.seek(max(size - _SAMPLE, 0) * n // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def _weights(spec: EngineSpec) -> list[Path]:
    if spec.weights.is_dir():
        return [spec.weights / "config.json", *sorted(spec.weights.glob("*.safetensors"))]
    if spec.backend == "llama.cpp":
        return list(gguf.parts(spec.weights, gguf.read(spec.weights)))
    return [spec.weights]


def _unusable(why: str) -> BadFile:
    return BadFile(f"What was kept of the context {why}.", "The conversation is read again.")


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise RunFailed(
            f"The context could not be kept in {folder.parent} ({exc.strerror or exc}).",
            "Nothing is lost: the conversation is read again when it goes on.",
        ) from exc


# ── The keyed hash ────────────────────────────────────────────────────────────────────────────────


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signed(told: bytes, key: bytes) -> bytes:
    return told + b"\n" + _signature(told, key)


def _signature(told: bytes, key: bytes) -> bytes:
    return hmac.new(key, told, hashlib.sha256).hexdigest().encode()


def _key_path() -> Path:
    return paths.data() / "state.key"


def _key() -> bytes | None:
    """Of this user; None where there is none that can be read: then every state is foreign."""
    try:
        key = files.read(_key_path(), _KEY_BYTES)
    except OSError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _key_to_sign() -> bytes:
    """Each user has one, made at its first use. Where it was lost, states of before are foreign.

    Raises OSError where there can be none.
    """
    if key := _key():
        return key
    path = _key_path()
    if path.is_dir():
        raise OSError(f"{path} is a folder")
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_bytes(secrets.token_bytes(_KEY_BYTES))
        with suppress(OSError):  # another program was first, or this disk knows no hard links
            path.hardlink_to(new)
        if not _key():
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    if key := _key():
        return key
    raise OSError(f"{path} cannot be read")
