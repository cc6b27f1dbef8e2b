"""Probes → Machine: understanding what a machine said of itself. Asks nobody, and is ready for nonsense.

llama.cpp's own list decides what it can compute on. The system's tools add the hardware that it does not
see, so that a graphics card which lies idle is named together with the command that puts it to work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from localmag.hardware.machine import Device, Kind, Machine, Note
from localmag.hardware.probes import Output, Probes
from localmag.hardware.rebuild import rebuild

_GIB = 2**30
_MIB = 2**20
_KINDS: dict[str, Kind] = {
    "cuda": "cuda",
    "rocm": "rocm",
    "hip": "rocm",
    "vulkan": "vulkan",
    "metal": "metal",
    "mtl": "metal",
    "sycl": "sycl",
}
"""ggml's names for its backends, in lower case."""

_ARCHITECTURES = {"amd64": "x86_64", "aarch64": "arm64"}
_LLAMA, _MLX = "llama.cpp", "mlx"
_TRANSLATED = Note(
    "This Python was built for Intel and runs translated on Apple silicon, where it cannot use the GPU.",
    "Install an arm64 Python and set localmag up again with it.",
)


def read(probes: Probes) -> Machine:
    """What the probes say, put together. Whatever cannot be understood becomes a note."""
    ggml = _ggml(probes.ggml)
    total, free = _memory(probes)
    machine = Machine(
        system=probes.system,
        arch=_ARCHITECTURES.get(probes.machine.lower(), probes.machine.lower()),
        cpu=probes.cpu or _sysctl(probes).get("machdep.cpu.brand_string", ""),
        cores=probes.cores,
        threads=probes.threads,
        memory_total=total,
        memory_free=free,
        disk_free=probes.disk_free,
        llama_cpp=ggml.backends,
        mlx=probes.mlx,
        notes=ggml.notes,
    )
    if machine.apple_silicon:
        return _with_apple(machine, ggml, probes)
    machine = _with_blind(_with_vulkan(_with_nvidia(_with_ggml(machine, ggml), probes), probes))
    if _sysctl(probes).get("sysctl.proc_translated") == "1":
        machine = replace(machine, notes=(*machine.notes, _TRANSLATED))
    return machine


def _memory(probes: Probes) -> tuple[int, int]:
    """All of it and what is free, within the control group's limit."""
    total, free = probes.memory_total, probes.memory_free
    if probes.limit:
        return min(total, probes.limit.total), min(free, probes.limit.free)
    return total, free


# ── llama.cpp ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Ggml:
    """llama.cpp's own answer; `devices` are GPUs only."""

    backends: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    notes: tuple[Note, ...] = ()
    metal: tuple[str, int] = ("", 0)
    """Where llama.cpp is not installed, what MLX calls the GPU, and its working set in bytes."""


def _ggml(output: Output) -> _Ggml:
    todo = f"Run `{rebuild('cpu')}`."
    try:
        if output.problem:
            todo = f"Check the graphics driver; if that is sound, run `{rebuild('cpu')}`."
            raise ValueError(output.problem)
        said = json.loads(output.text)
        if problem := said.get("problem"):
            raise ValueError(str(problem)[:300])
        if said.get("missing"):  # which is no fault, and no more than what is installed tells
            return _Ggml(metal=_of_mlx(said["metal"]))
        backends = tuple(_KINDS.get(name.lower(), name.lower()) for name in said["backends"])
        devices = [_device(told) for told in said["devices"] if told["type"] in ("gpu", "igpu")]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        why = str(exc) if type(exc) is ValueError else "its answer makes no sense"
        what = f"llama.cpp could not be asked what it can compute on ({why})."
        return _Ggml(notes=(Note(what, todo, broken=True),))
    return _Ggml(backends, tuple(_in_use(_once(devices))))


def _of_mlx(told: dict[str, Any]) -> tuple[str, int]:
    return str(told.get("name", "")).strip(), max(0, int(told.get("working_set", 0)))


def _device(told: dict[str, Any]) -> Device:
    total = max(0, int(told["total"]))
    kind = _KINDS.get(told["backend"].lower(), "other")
    return Device(
        name=str(told["description"]).strip(),
        kind=kind,
        total=total,
        free=max(0, min(int(told["free"]), total)),
        unified=told["type"] == "igpu",
        working_set=total if kind == "metal" and total else None,
        id=str(told["name"]),
    )


def _once(devices: Sequence[Device]) -> Iterator[Device]:
    """Each card by the first interface that lists it: llama.cpp, too, takes one that two reach once only."""
    for device in devices:
        first = next(other for other in devices if _same(other.name, device.name))
        if first.kind == device.kind:
            yield device


def _in_use(devices: Iterator[Device]) -> Iterator[Device]:
    """As llama.cpp chooses: an integrated GPU only where there is no other."""
    found = tuple(devices)
    own_memory = any(not device.unified for device in found)
    for device in found:
        used = not (device.unified and own_memory)
        yield replace(device, backends=(_LLAMA,) if used else ())


def _with_ggml(machine: Machine, ggml: _Ggml) -> Machine:
    devices = (
        replace(device, free=min(device.free, machine.memory_free)) if device.unified else device
        for device in ggml.devices
    )
    return replace(machine, devices=tuple(devices))


# ── NVIDIA ────────────────────────────────────────────────────────────────────────────────────────


def _with_nvidia(machine: Machine, probes: Probes) -> Machine:
    """Adds the cards that the driver knows and llama.cpp does not use."""
    output = probes.nvidia_smi
    if output is None:
        return machine
    seen = [device.name for device in machine.devices]
    if output.problem and not any(device.kind == "cuda" for device in machine.devices):
        note = Note(
            f"nvidia-smi is here but fails ({output.problem}).",
            "Mend or restart the NVIDIA driver; without it the card lies idle.",
        )
        return replace(machine, notes=(*machine.notes, note))
    idle = tuple(card for card in _cards(output) if not _taken(card.name, seen))
    if not idle:
        return machine
    names = " and ".join(card.name for card in idle)
    if "cuda" in machine.llama_cpp:
        note = Note(
            f"llama.cpp was built for CUDA but does not see {names}.",
            "Check CUDA_VISIBLE_DEVICES, and that the driver is as new as the CUDA that it was built with.",
        )
    else:
        note = _idle(names, "cuda", machine)
    return replace(machine, devices=machine.devices + idle, notes=(*machine.notes, note))


def _cards(output: Output) -> Iterator[Device]:
    """The lines of NVIDIA_QUERY: name, MiB in all, MiB free, driver. A card whose memory is the machine's own
    says "[N/A]" instead of numbers.
    """
    for line in "" if output.problem else output.text.splitlines():
        name, *numbers = (field.strip() for field in line.rsplit(",", 3))
        if name and len(numbers) == 3:
            total, free = (_mib(number) for number in numbers[:2])
            yield Device(name, "cuda", total, min(free, total), unified=not total)


def _taken(name: str, seen: list[str]) -> bool:
    """Whether one of `seen` is that card; each is it for one card only, since cards come in pairs."""
    for other in seen:
        if _same(name, other):
            seen.remove(other)
            return True
    return False


def _same(name: str, other: str) -> bool:
    """Whether two interfaces mean the same card."""
    return _bare(name) == _bare(other)


def _bare(name: str) -> str:
    """Without what an interface adds to the name: "(RADV NAVI31)", "MIG 1g.10gb"."""
    return re.sub(r"\s+(\(.*\)|MIG .*)$", "", name).casefold()


def _idle(names: str, kind: Kind, machine: Machine) -> Note:
    built = " and ".join(machine.llama_cpp)
    lies = "lie" if " and " in names else "lies"
    why = f"llama.cpp is built for {built}" if built else "there is no llama.cpp that loads"
    what = f"{names} {lies} idle: {why}."
    return Note(what, f"Run `{rebuild(kind)}`.")


# ── Other cards ───────────────────────────────────────────────────────────────────────────────────


def _with_vulkan(machine: Machine, probes: Probes) -> Machine:
    """A note on the cards with memory of their own that only the Vulkan driver knows: it tells no sizes."""
    if probes.vulkaninfo is None or {"vulkan", "rocm", "sycl"} & set(machine.llama_cpp):
        return machine
    seen = [device.name for device in machine.devices]
    listed = re.findall(r"TYPE_DISCRETE_GPU\s+deviceName\s*=\s*(.+)", probes.vulkaninfo.text)
    idle = [name.strip() for name in listed if not _taken(name.strip(), seen)]
    if not idle:
        return machine
    return replace(machine, notes=(*machine.notes, _idle(" and ".join(idle), "vulkan", machine)))


def _with_blind(machine: Machine) -> Machine:
    """A note where llama.cpp was built for GPUs and nobody sees one: its driver may be gone."""
    built = [kind for kind in machine.llama_cpp if kind in ("cuda", "rocm", "vulkan", "sycl", "metal")]
    if machine.devices or machine.notes or not built:
        return machine
    note = Note(
        f"llama.cpp is built for {' and '.join(built)}, but finds no GPU.",
        "Check the card's driver; without one everything runs on the CPU.",
    )
    return replace(machine, notes=(note,))


# ── Apple silicon ─────────────────────────────────────────────────────────────────────────────────


def _with_apple(machine: Machine, ggml: _Ggml, probes: Probes) -> Machine:
    """The one GPU of an Apple chip. What it may use is Metal's to say; else it is `working_set`."""
    device = next((d for d in ggml.devices if d.kind == "metal"), None)
    if not device and "metal" in ggml.backends:  # as in a virtual machine
        return _with_blind(machine)
    name, asked = ggml.metal
    limit = (device and device.working_set) or asked
    limit = limit or working_set(machine.memory_total, _wired_limit(probes))
    backends = [_LLAMA] if device else []
    if machine.mlx:
        backends.append(_MLX)
    gpu = Device(
        name=device.name if device else name or machine.cpu or "Apple GPU",
        kind="metal",
        total=limit,
        free=min(limit, machine.memory_free),
        backends=tuple(backends),
        unified=True,
        working_set=limit,
        id=device.id if device else "",
    )
    notes = machine.notes
    if not device and machine.llama_cpp:
        notes = (*notes, _idle(f"The GPU of {gpu.name}", "metal", machine))
    return replace(machine, devices=(gpu,), notes=notes)


def working_set(memory: int, wired_limit: int = 0) -> int:
    """Metal's recommendedMaxWorkingSetSize where Metal was not asked: bytes, rather too few than too many.

    `wired_limit` is what the owner set with `sysctl iogpu.wired_limit_mb`, 0 if nothing. Without it macOS
    gives the GPU two thirds of up to 32 GiB and three quarters of more: llama.cpp's Metal backend printed
    10,923 of 16 GiB, 16,384 of 24, 21,845 of 32 (ggml-org/llama.cpp #2011), 49,152 of 64, 73,728 MiB of 96
    (#3213). Newer releases give more (12,124 MiB of 16 GiB; 110,100 of 128: antirez/ds4 #893).
    """
    if wired_limit:
        return min(wired_limit, memory)
    return memory * 2 // 3 if memory <= 32 * _GIB else memory * 3 // 4


def _wired_limit(probes: Probes) -> int:
    return _mib(_sysctl(probes).get("iogpu.wired_limit_mb", ""))


def _mib(said: str) -> int:
    """A count of MiB in bytes; 0 for what is none."""
    return int(said) * _MIB if re.fullmatch(r"\d{1,9}", said) else 0


def _sysctl(probes: Probes) -> dict[str, str]:
    """Names and values. A name that this macOS does not know is complained of on stderr and missing here."""
    lines = probes.sysctl.text.splitlines() if probes.sysctl else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
