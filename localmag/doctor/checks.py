"""Looking at one thing after another. Each function yields what it found, and raises a LocalmagError for what
it could not get past.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import localmag
from localmag import amounts, catalogue, config, paths, shell
from localmag.doctor.report import Check, State
from localmag.doctor.terminal import Terminal
from localmag.engines.select import Host, Runner
from localmag.errors import BadFile, LocalmagError
from localmag.hardware import Device, Machine, probes, rebuild
from localmag.sessions import Sessions, contexts
from localmag.sessions.files import damage
from localmag.store import cache
from localmag.store.inventory import Here, Inventory

_NEEDED = ("mistral-common", "huggingface-hub", "textual")
_RUNNERS = ("llama-cpp-python", "mlx", "mlx-lm")  # of which one will do
_ROOM = 16 * 10**9  # bytes: Magistral Small in Q4_K_M, and some air
_SCREEN_S = 30.0


# ── Packages ──────────────────────────────────────────────────────────────────────────────────────


def versions() -> dict[str, str]:
    """Of localmag, Python and the packages it stands on; "" where one is not installed. Imports none."""
    known = {name: _version(name) for name in (*_NEEDED, *_RUNNERS)}
    return {"localmag": localmag.__version__, "python": platform.python_version(), **known}


def packages(found: Mapping[str, str]) -> Iterator[Check]:
    told = (f"{name} {found[name] or 'missing'}" for name in found if found[name] or name not in _RUNNERS)
    yield Check("versions", ", ".join(told))
    for name in _NEEDED:
        if not found[name]:
            yield Check("versions", f"The package {name} is not installed.", "problem", _pip_install(name))


def runners(host: Host) -> Iterator[Check]:
    """What runs models, where any of it is missing: one of two will do, and MLX is for Apple silicon."""
    state: State = "note" if host.able() else "problem"
    for runner, why in host.obstacles.items():
        if runner == "mlx" and not host.apple_silicon:
            continue
        how = f"Run `{host.remedies[runner]}`" if runner in host.remedies else ""
        if how and runner == "llama.cpp" and host.apple_silicon:
            how += ", which compiles it: that takes Apple's compiler (`xcode-select --install`)"
        kind = _BUILDS[runner]
        lost = f", so {kind} builds cannot be run" if host.able() else ""
        yield Check("versions", f"{why}{lost}.", state, f"{how}." if how else "")


_BUILDS: dict[Runner, str] = {"llama.cpp": "GGUF", "mlx": "MLX"}


def screen() -> Iterator[Check]:
    """Whether the screen's code can be imported, in a process of its own: it is heavy, and may be broken."""
    output = probes.python("import localmag.tui.app", _SCREEN_S)
    if output.problem:
        yield Check("screen", f"It cannot start: {output.problem}.", "problem", _pip_install("textual"))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _pip_install(name: str) -> str:
    """Of a version that localmag goes with."""
    return f"Run `{rebuild.pip_install(name, '--force-reinstall')}`."


# ── The machine ───────────────────────────────────────────────────────────────────────────────────


def machine(found: Machine) -> Iterator[Check]:
    threads = f"{found.cores} cores, {found.threads} threads"
    yield Check("machine", f"{found.system} on {found.arch}, {found.cpu or 'an unnamed CPU'}, {threads}")
    yield Check(
        "machine", f"memory: {amounts.memory(found.memory_free)} free of {amounts.memory(found.memory_total)}"
    )
    yield Check("machine", f"disk for weights: {amounts.size(found.disk_free)} free")
    for device in found.devices:
        yield Check("machine", _device(device), "ok" if device.backends else "note")
    if not found.devices:
        yield Check("machine", "no GPU that could be used: everything runs on the CPU")
    if found.llama_cpp:
        yield Check("machine", f"llama.cpp is built for {', '.join(found.llama_cpp)}")
    for note in found.notes:  # hardware that lies idle is a pity; a llama.cpp that does not load, more
        yield Check("machine", note.what, "problem" if note.broken else "note", note.todo)


def _device(device: Device) -> str:
    memory = (
        f"{amounts.memory(device.free)} free of {amounts.memory(device.total)}"
        if device.total
        else "memory unknown"
    )
    if device.working_set:
        memory += " that its GPU may use"
    elif device.unified:
        memory += ", shared with the CPU"
    used = f"used by {' and '.join(device.backends)}" if device.backends else "not used"
    return f"{device.name} ({device.kind}): {memory}; {used}"


def downloads(found: Machine, environment: Mapping[str, str]) -> Iterator[Check]:
    """What would keep `pull` from working; chat does not need it."""
    root = cache.root()
    yield Check("downloads", f"weights are kept in {root}")
    if name := _offline(environment):
        unset = f"Run `unset {name}`."
        if sys.platform == "win32":
            unset = f"Run `set {name}=`, in PowerShell `$env:{name} = ''`."
        yield Check("downloads", f"{name} is set, so nothing is fetched.", "note", unset)
    if endpoint := environment.get("HF_ENDPOINT"):
        yield Check("downloads", f"they are fetched from {endpoint}, as HF_ENDPOINT says")
    if not _writable(_existing(root)):
        yield Check(
            "downloads", f"{root} cannot be written.", "note", "Set HF_HOME to a folder that can be written."
        )
    if found.disk_free < _ROOM:
        yield Check(
            "downloads",
            f"There is no room for Magistral ({amounts.size(_ROOM)}).",
            "note",
            "Free some, or set HF_HOME to a folder on a larger disk.",
        )


def offline(environment: Mapping[str, str]) -> bool:
    """Whether huggingface_hub would refuse to go on the network."""
    return bool(_offline(environment))


def _offline(environment: Mapping[str, str]) -> str:
    """The variable that keeps it off, by its own rules (huggingface_hub/constants.py)."""
    name = next((n for n in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if environment.get(n)), "")
    return name if environment.get(name, "").upper() in ("1", "ON", "YES", "TRUE") else ""


# ── What is kept on disk ──────────────────────────────────────────────────────────────────────────


def weights(found: Inventory) -> Iterator[Check]:
    """What is here for localmag: not, say, another tool's Llama."""
    for one in found.all:
        if one.ours:
            yield _weights(one)
    for trouble in found.unread:
        yield Check("weights", trouble, "note")


def _weights(one: Here) -> Check:
    said = f"{one.name}: {amounts.size(one.size)}, {one.state}"
    match one.state:
        case "partial":
            said = f"{one.name}: {amounts.part(one.size, one.total)}, partial"
            pull = shell.joined("localmag", "pull", one.name)
            return Check("weights", said, "note", f"Run `{pull}` to go on.")
        case "missing":
            forget = shell.joined("localmag", "rm", one.name)
            return Check("weights", f"{one.name}: {one.why}", "note", f"Run `{forget}` to forget it.")
        case "refused":
            return Check("weights", f"{one.name}: {one.why}", "note", one.look.todo if one.look else "")
    if one.look and one.look.images:
        said += f", its weights for images ({amounts.size(one.look.images)}) not used"
    return Check("weights", said)


def folders() -> Iterator[tuple[str, Path]]:
    """Localmag's own, by what they hold. Raises WrongUsage where one cannot be made."""
    for name, where in _FOLDERS.items():
        yield name, where()


_FOLDERS: dict[str, Callable[[], Path]] = {
    "conversations": paths.data,
    "settings": paths.config,
    "cache": paths.cache,
    "logs": paths.logs,
}


def writable(found: Mapping[str, Path]) -> Iterator[Check]:
    for name, path in found.items():
        if _writable(path):
            yield Check("folders", f"{name}: {path}")
        else:
            yield Check(
                "folders",
                f"{name}: {path} cannot be written.",
                "note" if name == "settings" else "problem",
                "Mend its permissions, or set LOCALMAG_HOME to a folder that can be written.",
            )


def conversations() -> Iterator[Check]:
    path = paths.database()
    if not path.exists():
        yield Check("conversations", "none yet")
        return
    try:
        with Sessions(path) as sessions:
            count = len(sessions.list())
    except BadFile as exc:
        todo = f"{exc.todo} To move it: `{_move_away(path)}`."
        yield Check("conversations", exc.what, "problem", todo)
        return
    if found := damage(path):
        yield Check(
            "conversations",
            f"{path} is damaged: {found}.",
            "problem",
            f"Run `{_move_away(path)}` to start afresh.",
        )
    else:
        yield Check("conversations", f"{count:,} in {path} ({amounts.size(path.stat().st_size)}), sound")
    if held := contexts.all_held():
        total = amounts.size(sum(held.values()))
        yield Check("conversations", f"the context of {len(held):,} is kept for --resume ({total})")


def settings() -> Iterator[Check]:
    config.load()
    file = config.file()
    yield Check("settings", f"{file} is sound" if file.exists() else f"none of your own ({file})")
    yield Check("settings", f"the catalogue knows {len(catalogue.models())} models")


def _move_away(path: Path) -> str:
    """The command for a database, together with its logs: SQLite would take those for a new one's."""
    move, then = ("move", "` and `") if sys.platform == "win32" else ("mv", " && ")
    files = [path, *(f for end in ("-wal", "-shm", "-journal") if (f := Path(f"{path}{end}")).exists())]
    aside = f"{path}.damaged"
    return then.join(shell.joined(move, str(f), str(f).replace(str(path), aside)) for f in files)


def _writable(folder: Path) -> bool:
    """By writing: permissions alone do not know of read-only disks and full ones."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"localmag")
    except OSError:
        return False
    return True


def _existing(folder: Path) -> Path:
    """It, or the innermost of those around it that is there."""
    there = os.path.isdir  # pathlib's own raises where it may not look
    return next((place for place in (folder, *folder.parents) if there(place)), folder)


# ── Terminal and engine ───────────────────────────────────────────────────────────────────────────


def terminal(found: Terminal) -> Iterator[Check]:
    if found.size:
        columns, rows = found.size
        kind = f"{found.kind}, " if found.kind else ""
        yield Check("terminal", f"{kind}{columns} × {rows}, {found.colours} colours")
    for said, todo in found.remarks():
        yield Check("terminal", said, "note", todo)


def engine(backend: str, seconds: float) -> Iterator[Check]:
    yield Check("engine", f"the demo's engine, {backend}, starts and draws a token ({seconds:.1f} s)")


# ── Failing ───────────────────────────────────────────────────────────────────────────────────────


def problem(topic: str, error: LocalmagError | OSError) -> Check:
    if isinstance(error, LocalmagError):
        return Check(topic, error.what, "problem", error.todo)
    said = str(error.strerror or error) + (f": {error.filename}" if error.filename else "")
    return Check(topic, f"The operating system refused ({said}).", "problem", "Check disk and permissions.")
