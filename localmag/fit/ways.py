"""The best way to run given weights on a machine: context, KV type, and what goes to which device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from localmag import amounts
from localmag.config import KVType
from localmag.fit import memory, mlx, speed
from localmag.fit.memory import MIB, Gpu, Need, Setting
from localmag.fit.weights import Weights
from localmag.hardware import Device, Machine
from localmag.shape import Shape

LEAST_CONTEXT = 2048
"""Tokens below which a reasoning model is of no use: it would run out in the middle of its thought."""

_GIB = 2**30
_LONG = 16384
"""Tokens that most reasoning ends within: rather so many than a coarser KV cache."""

_ROUND = 1024  # a context that is not the one wanted is a multiple of so many tokens
_KV: tuple[KVType, ...] = ("f16", "q8_0", "q4_0")


@dataclass(frozen=True, slots=True)
class Room:
    """What a place offers, in bytes: `free` less the `margin` that is left alone."""

    place: str
    free: int
    margin: int

    @property
    def usable(self) -> int:
        return max(0, self.free - self.margin)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run weights. `needs` and `rooms` go by place; `speed` is tokens/s, 0 where not known.

    `whole` is whether nothing is left to the CPU that a GPU here could do.
    """

    setting: Setting
    needs: tuple[Need, ...]
    rooms: tuple[Room, ...]
    fits: bool
    speed: float
    whole: bool

    @property
    def missing(self) -> int:
        """Bytes that the places lack, together."""
        pairs = zip(self.needs, self.rooms, strict=True)
        return sum(max(0, need.total - room.usable) for need, room in pairs)

    @property
    def tightest(self) -> tuple[Need, Room]:
        """The place that lacks most, or has least to spare."""
        return max(zip(self.needs, self.rooms, strict=True), key=lambda at: at[0].total - at[1].usable)

    @property
    def refusal(self) -> str:
        """In words, what it needs and what there is: in all, or in the one place that is too small."""
        needed, usable = sum(n.total for n in self.needs), sum(r.usable for r in self.rooms)
        place = " and ".join(n.place for n in self.needs)
        if needed <= usable:
            need, room = self.tightest
            needed, usable, place = need.total, room.usable, need.place
        return (
            f"{self.setting.context:,} tokens need {amounts.memory(needed)} of {place}, "
            f"and {amounts.memory(usable)} can be had."
        )


def best(
    shape: Shape,
    weights: Weights,
    machine: Machine,
    *,
    backend: str = "llama.cpp",
    wanted: int,
    exact: bool = False,
    kv_type: KVType | None = None,
    gpu_layers: int = -1,
) -> Way:
    """The best way that holds, or if none does, the least that was asked for, whose `fits` is False.

    The context becomes shorter than `wanted` where that does not hold, unless it is wanted `exact`ly. A KV
    type or a number of GPU layers that is given is kept.
    """
    if backend == "mlx":
        trier = _mlx(shape, weights, machine)
    else:
        trier = _llama_cpp(shape, weights, machine, gpu_layers)
    kinds = (kv_type,) if kv_type else _KV
    for ok in (_holds_whole, _holds):
        if found := next(_candidates(trier, wanted, kinds, exact, ok), None):
            return found
    if not exact and (last := _longest(trier, wanted, kinds[-1], _holds)):
        return last
    return trier(wanted, kinds[0]) if exact else trier(LEAST_CONTEXT, kinds[-1])


# ── What to try ───────────────────────────────────────────────────────────────────────────────────

_Trier = Callable[[int, KVType], Way]


def _candidates(
    trier: _Trier, wanted: int, kinds: Sequence[KVType], exact: bool, ok: Callable[[Way], bool]
) -> Iterator[Way]:
    """The context wanted, its cache in f16 or q8_0; one that is shorter but long; q4_0; one that will do."""
    fine = [kind for kind in kinds if kind != "q4_0"]
    tries = {kind: trier(wanted, kind) for kind in kinds}
    yield from (tries[kind] for kind in fine if ok(tries[kind]))
    if fine and not exact:
        yield from _at_least(_LONG, _longest(trier, wanted, fine[-1], ok))
    if "q4_0" in tries and ok(tries["q4_0"]):
        yield tries["q4_0"]
    if not exact:
        yield from _at_least(_LONG // 2, _longest(trier, wanted, kinds[-1], ok))


def _holds(way: Way) -> bool:
    return way.fits


def _holds_whole(way: Way) -> bool:
    return way.fits and way.whole


def _at_least(context: int, way: Way | None) -> Iterator[Way]:
    if way and way.setting.context >= context:
        yield way


def _longest(trier: _Trier, most: int, kind: KVType, ok: Callable[[Way], bool]) -> Way | None:
    """The way with the most tokens that will do, by halving; None if not even the least does."""
    low, high = LEAST_CONTEXT // _ROUND, most // _ROUND
    found = None
    while low <= high:
        middle = (low + high) // 2
        tried = trier(middle * _ROUND, kind)
        if ok(tried):
            found, low = tried, middle + 1
        else:
            high = middle - 1
    return found


# ── llama.cpp ─────────────────────────────────────────────────────────────────────────────────────


def _llama_cpp(shape: Shape, weights: Weights, machine: Machine, gpu_layers: int) -> _Trier:
    devices = [d for d in machine.usable("llama.cpp") if d.total]
    gpus = [Gpu(d.id or d.name, d.kind, float(_free(d))) for d in devices]
    rates = [speed.of_memory(machine), *(_rate(d, machine) for d in devices)]
    shared = bool(devices) and all(d.unified for d in devices)
    room = [_memory_room(machine), *(_device_room(d, machine) for d in devices)]

    def attempt(setting: Setting, whole: bool) -> Way:
        needs = memory.llama_cpp(shape, weights, setting, gpus if setting.gpu_layers else ())
        rooms = room[: len(needs)]
        fits = all(n.total <= r.usable for n, r in zip(needs, rooms, strict=True))
        if shared:  # one memory: what the GPU holds, memory holds
            fits = fits and sum(n.total for n in needs) <= room[0].usable
        rate = speed.decode(_read(shape, weights, needs, setting, rates))
        return Way(setting, needs, tuple(rooms), fits, rate, whole)

    def trier(context: int, kind: KVType) -> Way:
        settings = _settings(shape, context, kind, shape.layers + 1 if gpus else 0, gpu_layers)
        # On Apple silicon the GPU's memory is the CPU's: leaving layers to the CPU would save nothing.
        tries = []
        for setting, whole in islice(settings, 1 if machine.apple_silicon else None):
            tries.append(attempt(setting, whole))
            if tries[-1].fits:
                return tries[-1]
        return min(tries, key=lambda way: way.missing)

    return trier


def _settings(
    shape: Shape, context: int, kind: KVType, most: int, asked: int
) -> Iterator[tuple[Setting, bool]]:
    """From all on the GPU to none: a mixture's experts leave it first, then whole layers, from the bottom."""
    if asked >= 0:
        layers = min(asked, most)
        yield Setting(context, kind, layers), layers == most
        return
    for experts in range(shape.mixtures + 1 if most else 0):
        yield Setting(context, kind, most, experts), experts == 0
    for layers in range(most - 1 if not shape.mixtures else 0, 0, -1):
        yield Setting(context, kind, layers), False
    yield Setting(context, kind), most == 0


def _read(
    shape: Shape, weights: Weights, needs: tuple[Need, ...], setting: Setting, rates: list[float]
) -> list[tuple[int, float]]:
    """Bytes that a token reads in each place. Of the experts it reads the active ones, wherever they are."""
    idle = 1 - shape.active / shape.experts if shape.experts else 0.0
    routed = sum(weights.experts)
    kept = sum(weights.experts[: shape.dense_layers + setting.cpu_experts]) if setting.gpu_layers else routed
    read = []
    for place, need in enumerate(needs):
        size = need.weights
        if place == 0:
            size -= 0 if shape.tied and not setting.gpu_layers else weights.embedding
            size -= round(kept * idle)
        elif routed:
            here = need.weights / max(1, sum(n.weights for n in needs[1:]))
            size -= round((routed - kept) * idle * here)
        read.append((max(0, size), rates[place]))
    return read


# ── MLX ───────────────────────────────────────────────────────────────────────────────────────────


def _mlx(shape: Shape, weights: Weights, machine: Machine) -> _Trier:
    device = next((d for d in machine.devices if d.kind == "metal"), None)
    room = _device_room(device, machine) if device else _memory_room(machine)
    # On a CPU, MLX computes for longer than it reads (docs/log.md), and no bandwidth tells for how long.
    rate = speed.of_memory(machine) if device else 0.0
    read = weights.total * shape.active_parameters // shape.parameters

    def trier(context: int, kind: KVType) -> Way:
        need = mlx.need(shape, weights, context, kind, room.place)
        setting = Setting(context, kind, shape.layers + 1 if device else 0)
        return Way(setting, (need,), (room,), need.total <= room.usable, speed.decode([(read, rate)]), True)

    return trier


# ── A machine's room ──────────────────────────────────────────────────────────────────────────────


def _memory_room(machine: Machine) -> Room:
    """Left alone: a sixteenth of the memory, at least 1 GiB, for what else runs. Swap is never counted."""
    free = machine.memory_free or machine.memory_total * 3 // 4  # where nobody can tell
    return Room("memory", free, max(_GIB, machine.memory_total // 16))


def _device_room(device: Device, machine: Machine) -> Room:
    """Left alone on a GPU: a fiftieth, at least 512 MiB, for the screen and for fragmentation.

    Where the memory is the machine's own, no more than it has free; on Apple silicon, no more than the
    working-set limit, beyond which the system stalls or panics.
    """
    free = _free(device)
    if device.working_set is not None:
        free = min(free, device.working_set)
    if device.unified:
        free = min(free, _memory_room(machine).usable + 512 * MIB)
    return Room(device.id or device.name, free, max(512 * MIB, device.total // 50))


def _free(device: Device) -> int:
    """What is free, or nine tenths of all where nobody can tell."""
    return device.free or device.total * 9 // 10


def _rate(device: Device, machine: Machine) -> float:
    known = speed.bandwidth(device.name)
    return known or (speed.of_memory(machine) if device.unified else 0.0)
