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
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from localmag import files, gguf, paths
from localmag.engines import EngineSpec, KVType, TokenModel
from localmag.errors import BadFile, NotFound, RunFailed

_FORMAT = 1
_MANIFEST = "state"
_MOST_MANIFEST = 16 * 2**20  # bytes; the ids of the largest context there is take 2 million
_KEY_BYTES = 32
_SAMPLES, _SAMPLE = 64, 2**16  # bytes of weights that are looked at: all of them would take seconds
_READ_BACK = 500e6
"""Bytes of a state that a machine checks and reads back per second, at least (SHA-256: 1.2e9 measured)."""


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


def worth_keeping(model: TokenModel, count: int) -> bool:
    """Whether reading `count` ids back from disk takes less time than the model takes to read them anew."""
    return not model.rate or model.state_bytes(count) / _READ_BACK < count / model.rate


def save(model: TokenModel, spec: EngineSpec, folder: Path, count: int) -> State:
    """Keep the first `count` ids of the model's KV cache in `folder`, in place of what is there.

    The cache forgets what follows them. A state that is there stays whole until the new one is. Raises
    RunFailed where it cannot be written, or the model's cache cannot be cut there.
    """
    new, old = (folder.with_name(f"{folder.name}.{os.getpid()}.{kind}") for kind in ("new", "old"))
    with _on_disk(folder):
        try:
            shutil.rmtree(new, ignore_errors=True)
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
            (new / _MANIFEST).write_bytes(_signed(json.dumps(asdict(state) | {"format": _FORMAT}).encode()))
            if folder.is_dir():
                folder.rename(old)
            new.rename(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    return state


def load(model: TokenModel, spec: EngineSpec, folder: Path) -> State:
    """Put a state into the model's empty KV cache.

    Raises BadFile, leaving the cache empty, for a state that is damaged or foreign, or of another build, KV
    type or version of the library, or too long for the model's context; NotFound where there is none.
    """
    state = describe(folder)
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
    with _on_disk(folder):
        for name, (size, digest) in state.files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != size or _digest(path) != digest:
                raise _unusable("is damaged")
        model.load_state(folder, state.ids)
    return state


def describe(folder: Path) -> State:
    """What `folder` holds, as its manifest says. Raises NotFound, and BadFile for one of somebody else."""
    try:
        signed = files.read(folder / _MANIFEST, _MOST_MANIFEST)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotFound("Nothing is kept of what was read.", "It is read again.") from exc
    except OSError as exc:
        raise _unusable(f"cannot be read ({exc.strerror})") from exc
    told, _, signature = signed.rpartition(b"\n")
    if not hmac.compare_digest(_signature(told), signature):
        raise _unusable("is damaged, or was not written here")
    form = json.loads(told)
    if form.pop("format") != _FORMAT:
        raise _unusable("was written by another version of localmag")
    return State(
        **form
        | {
            "ids": tuple(form["ids"]),
            "files": {name: (size, digest) for name, (size, digest) in form["files"].items()},
        }
    )


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


def _signed(told: bytes) -> bytes:
    return told + b"\n" + _signature(told)


def _signature(told: bytes) -> bytes:
    return hmac.new(_key(), told, hashlib.sha256).hexdigest().encode()


def _key() -> bytes:
    """Each user has one, made at its first use. Where it was lost, states of before are foreign."""
    path = paths.data() / "state.key"
    try:
        key = files.read(path, _KEY_BYTES)
        if len(key) == _KEY_BYTES:
            return key
    except FileNotFoundError:
        pass
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.touch(mode=0o600)
    new.write_bytes(secrets.token_bytes(_KEY_BYTES))
    new.replace(path)
    return files.read(path, _KEY_BYTES)
