"""Which build, context and KV type to run on a machine, and why: every build weighed, the best one first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from localmag import catalogue
from localmag.catalogue import Build, Model
from localmag.config import KVType
from localmag.errors import NotFound
from localmag.fit import apple, memory, speed
from localmag.fit import weights as weighing
from localmag.fit.memory import MIB, Gpu, Need, Setting
from localmag.fit.weights import Weights
from localmag.hardware import Device, Machine
from localmag.shape import Shape

GIB = 2**30
LEAST_CONTEXT = 2048
"""Tokens below which a reasoning model is of no use: it would run out in the middle of its thought."""

COMFORTABLE = 8.0
"""Tokens per second, somewhat faster than people read."""

_LONG = 16384
"""Tokens that most reasoning ends within: rather so many than a coarser KV cache."""

_ROUND = 1024  # a context that is not the one wanted is a multiple of so many tokens
_KV: tuple[KVType, ...] = ("f16", "q8_0", "q4_0")
_KV_LOSS: dict[KVType, float] = {"f16": 0, "q8_0": 0.5, "q4_0": 2.5}
_LOSS = {
    "BF16": 0, "F16": 0, "bf16": 0, "Q8_0": 0, "8bit": 0, "Q6_K": 1, "6bit": 1, "Q5_K_M": 2, "5bit": 2,
    "Q4_K_M": 3, "4bit": 3.5, "IQ4_XS": 4, "Q4_0": 5, "Q3_K_M": 6,
}  # fmt: skip
_GOOD = 3.5
"""Quants by what they lose: ranks, of which only the order is meant. Beyond `_GOOD` is a last resort."""


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
class Plan:
    """One build as it would run on a machine, or why it cannot. `speed` is tokens/s, 0 where not known."""

    model: Model
    build: Build
    setting: Setting
    needs: tuple[Need, ...]
    rooms: tuple[Room, ...]
    fits: bool
    why: str
    speed: float = 0.0
    layers: int = 0

    @property
    def backend(self) -> str:
        return self.build.backend

    @property
    def on_gpu(self) -> bool:
        """Whether all layers, with all they need, are on accelerators."""
        return self.backend == "mlx" or (
            self.setting.gpu_layers > self.layers and not self.setting.cpu_experts
        )

    @property
    def where(self) -> str:
        """In words, what computes."""
        if self.backend == "mlx":
            return "all on the GPU"
        if not self.setting.gpu_layers:
            return "CPU"
        if self.setting.cpu_experts:
            return f"GPU, experts of {self.setting.cpu_experts} layers on the CPU"
        if self.on_gpu:
            return "all on the GPU"
        return f"{self.setting.gpu_layers} of {self.layers + 1} layers on the GPU"

    @property
    def missing(self) -> int:
        """Bytes by which the fullest place falls short, 0 if it fits."""
        return max((n.total - r.usable for n, r in zip(self.needs, self.rooms, strict=True)), default=0)


def plans(
    model: Model,
    machine: Machine,
    *,
    context: int = 0,
    quant: str | None = None,
    kv_type: KVType | None = None,
    backend: str = "auto",
) -> tuple[Plan, ...]:
    """A plan for every build of the model that the backend could run, the one to take first.

    `context` 0 wants what the model's card advises, and takes less where that does not fit; another number is
    wanted exactly. Raises NotFound if no build is of that quant and backend, or the model's shape is unknown.
    """
    shape = _shape(model)
    builds = [b for b in model.builds if _asked(b, quant, backend, machine)]
    if not builds:
        raise NotFound(
            f"{model.title} has no build for {_words(quant, backend)}.",
            f"It has {', '.join(f'{b.quant} ({b.backend})' for b in model.builds)}.",
        )
    made = [of_build(model, build, shape, machine, context=context, kv_type=kv_type) for build in builds]
    return tuple(sorted(made, key=_order))


def sibling(best: Plan, machine: Machine) -> Plan | None:
    """Where a model does not hold or is slow: the largest other one that holds and is not."""
    if best.fits and _comfortable(best):
        return None
    others = [m for m in catalogue.models() if m.shape and m.think == "tokens" and m.name != best.model.name]
    chosen = [plans(other, machine)[0] for other in others]
    good = [p for p in chosen if p.fits and _comfortable(p)]
    return max(good, key=lambda p: p.model.shape.parameters if p.model.shape else 0, default=None)


def of_build(
    model: Model,
    build: Build,
    shape: Shape,
    machine: Machine,
    *,
    weights: Weights | None = None,
    context: int = 0,
    kv_type: KVType | None = None,
) -> Plan:
    """The best way to run this build here. `weights` are what its file holds, if it is at hand."""
    trier = _mlx(shape, build, machine) if build.backend == "mlx" else None
    if trier is None:
        trier = _llama_cpp(shape, weights or weighing.of_build(shape, build), machine)
    found = _best_setting(trier, context or model.advised, exact=bool(context), kv_type=kv_type)
    made = Plan(
        model, build, found.setting, found.needs, found.rooms, found.fits, "", found.speed, shape.layers
    )
    return replace(made, why=_why(made, context or model.advised))


# ── One build ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Try:
    setting: Setting
    needs: tuple[Need, ...]
    rooms: tuple[Room, ...]
    fits: bool
    speed: float
    whole: bool
    """Whether nothing is left to the CPU that a GPU could do."""


_Trier = Callable[[int, KVType], _Try]


def _best_setting(trier: _Trier, wanted: int, *, exact: bool, kv_type: KVType | None) -> _Try:
    """The first that holds, if possible without the CPU; if nothing does, the context wanted nevertheless."""
    kinds = (kv_type,) if kv_type else _KV
    for ok in (_holds_whole, _holds):
        if found := next(_candidates(trier, wanted, kinds, exact, ok), None):
            return found
    if not exact and (last := _longest(trier, wanted, kinds[-1], _holds)):
        return last
    return trier(wanted, kinds[0])


def _candidates(
    trier: _Trier, wanted: int, kinds: Sequence[KVType], exact: bool, ok: Callable[[_Try], bool]
) -> Iterator[_Try]:
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


def _holds(tried: _Try) -> bool:
    return tried.fits


def _holds_whole(tried: _Try) -> bool:
    return tried.fits and tried.whole


def _at_least(context: int, tried: _Try | None) -> Iterator[_Try]:
    if tried and tried.setting.context >= context:
        yield tried


def _longest(trier: _Trier, most: int, kind: KVType, ok: Callable[[_Try], bool]) -> _Try | None:
    """The try with the most tokens that will do, by halving; None if not even the least does."""
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


def _llama_cpp(shape: Shape, weights: Weights, machine: Machine) -> _Trier:
    devices = [d for d in machine.usable("llama.cpp") if d.total]
    gpus = [Gpu(d.id or d.name, d.kind, float(_free(d))) for d in devices]
    rates = [speed.of_memory(machine), *(_rate(d, machine) for d in devices)]
    shared = bool(devices) and all(d.unified for d in devices)
    room = [_memory_room(machine), *(_device_room(d) for d in devices)]

    def attempt(setting: Setting, whole: bool) -> _Try:
        needs = memory.llama_cpp(shape, weights, setting, gpus if setting.gpu_layers else ())
        rooms = room[: len(needs)]
        fits = all(n.total <= r.usable for n, r in zip(needs, rooms, strict=True))
        if shared:  # one memory: what the GPU holds, memory holds
            fits = fits and sum(n.total for n in needs) <= room[0].usable
        rate = speed.decode(_read(shape, weights, needs, setting, rates))
        return _Try(setting, needs, tuple(rooms), fits, rate, whole)

    def trier(context: int, kind: KVType) -> _Try:
        everything = shape.layers + 1
        tried = None
        settings = _settings(shape, context, kind, everything if gpus else 0)
        for setting, whole in islice(settings, 1 if machine.apple_silicon else None):
            tried = attempt(setting, whole)
            if tried.fits:
                return tried
        assert tried
        return tried

    return trier


def _settings(shape: Shape, context: int, kind: KVType, most: int) -> Iterator[tuple[Setting, bool]]:
    """From all on the GPU to none: a mixture's experts leave it first, then whole layers, from the bottom."""
    for experts in range(shape.mixtures + 1 if most else 0):
        yield Setting(context, kind, most, experts), experts == 0
    for layers in range(most - 1, 0, -1):
        if not shape.mixtures:
            yield Setting(context, kind, layers), False
    yield Setting(context, kind), most == 0


def _mlx(shape: Shape, build: Build, machine: Machine) -> _Trier:
    held = round(build.gigabytes * 1e9) or apple.weights(shape, build.quant)
    rate = speed.of_memory(machine)
    device = next((d for d in machine.devices if d.kind == "metal"), None)
    rooms = (_memory_room(machine) if device is None else _device_room(device, machine),)

    def trier(context: int, kind: KVType) -> _Try:
        need = apple.mlx(shape, held, context, kind, rooms[0].place)
        read = held * shape.active_parameters // shape.parameters
        fits = need.total <= rooms[0].usable
        return _Try(Setting(context, kind), (need,), rooms, fits, speed.decode([(read, rate)]), True)

    return trier


def _read(
    shape: Shape, weights: Weights, needs: tuple[Need, ...], setting: Setting, rates: list[float]
) -> list[tuple[int, float]]:
    """Bytes that a token reads in each place. Of the experts it reads the active ones, wherever they are."""
    part = shape.active / shape.experts if shape.experts else 1.0
    routed = sum(weights.experts)
    kept = sum(weights.experts[: shape.dense_layers + setting.cpu_experts]) if setting.gpu_layers else routed
    read = []
    for place, need in enumerate(needs):
        size = need.weights
        if place == 0:
            size -= 0 if shape.tied and not setting.gpu_layers else weights.embedding
            size -= round(kept * (1 - part))
        elif routed:
            here = need.weights / max(1, sum(n.weights for n in needs[1:]))
            size -= round((routed - kept) * (1 - part) * here)
        read.append((max(0, size), rates[place]))
    return read


# ── A machine's room ──────────────────────────────────────────────────────────────────────────────


def _memory_room(machine: Machine) -> Room:
    """Left alone: a sixteenth of the memory, at least 1 GiB, for what else runs. Swap is never counted."""
    return Room("memory", machine.memory_free, max(GIB, machine.memory_total // 16))


def _device_room(device: Device, machine: Machine | None = None) -> Room:
    """Left alone on a GPU: a fiftieth, at least 512 MiB, for the screen and for fragmentation.

    On Apple silicon the working-set limit is the room, or what is free of the memory where that is less.
    """
    free = _free(device)
    if device.working_set is not None:
        free = min(free, device.working_set)
    if machine is not None:
        free = min(free, machine.memory_free - max(GIB, machine.memory_total // 16) + 512 * MIB)
    return Room(device.id or device.name, free, max(512 * MIB, device.total // 50))


def _free(device: Device) -> int:
    """What is free, or nine tenths of all where nobody can tell."""
    return device.free or device.total * 9 // 10


def _rate(device: Device, machine: Machine) -> float:
    return speed.of_memory(machine) if device.unified else speed.bandwidth(device.name)


# ── Choosing and explaining ───────────────────────────────────────────────────────────────────────


def _order(plan: Plan) -> tuple[object, ...]:
    """Smaller is better: what holds, what is fast (or fastest, where nothing is), what loses least."""
    loss = _LOSS.get(plan.build.quant, 3) + _KV_LOSS[plan.setting.kv_type] + (not plan.build.confirmed)
    good = _LOSS.get(plan.build.quant, 3) <= _GOOD
    comfortable = _comfortable(plan)
    full = plan.setting.context >= plan.model.advised
    pace = 0.0 if comfortable else -plan.speed
    return (
        not plan.fits,
        not good,
        not comfortable,
        not plan.on_gpu,
        not full,
        pace,
        loss,
        plan.build.gigabytes,
    )


def _comfortable(plan: Plan) -> bool:
    return not plan.speed or plan.speed >= COMFORTABLE


def _why(plan: Plan, wanted: int) -> str:
    if not plan.fits:
        worst = max(zip(plan.needs, plan.rooms, strict=True), key=lambda pair: pair[0].total - pair[1].usable)
        need, room = worst
        return (
            f"{plan.setting.context:,} tokens need {_gib(need.total)} of {need.place}, "
            f"and {_gib(room.usable)} can be had."
        )
    said = []
    if plan.setting.context < wanted:
        said.append(f"{plan.setting.context:,} of {wanted:,} tokens")
    if plan.setting.kv_type != "f16":
        said.append(f"KV cache in {plan.setting.kv_type}")
    if not _comfortable(plan):
        said.append("slower than reading")
    return ", ".join(said)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _shape(model: Model) -> Shape:
    if model.shape is None:
        raise NotFound(f"The shape of {model.title} is not known.", "Add it to the catalogue.")
    return model.shape


def _asked(build: Build, quant: str | None, backend: str, machine: Machine) -> bool:
    if quant and build.quant.lower() != quant.lower():
        return False
    if backend == "auto":
        return build.backend != "mlx" or machine.apple_silicon
    return build.backend == backend


def _words(quant: str | None, backend: str) -> str:
    return " with ".join(filter(None, (quant, "" if backend == "auto" else backend))) or "this machine"
