"""Which build of a model to run on a machine, and why: every build weighed, the best one first."""

from __future__ import annotations

from dataclasses import dataclass

from localmag import catalogue
from localmag.catalogue import Build, Model
from localmag.config import KVType
from localmag.errors import NotFound
from localmag.fit import ways
from localmag.fit import weights as weighing
from localmag.fit.memory import Need, Setting
from localmag.fit.ways import Room, Way
from localmag.fit.weights import Weights
from localmag.hardware import Machine
from localmag.shape import Shape

COMFORTABLE = 8.0
"""Tokens per second, somewhat faster than people read."""

_LOSS = {
    "BF16": 0, "F16": 0, "bf16": 0, "Q8_0": 0, "8bit": 0, "Q6_K": 1, "6bit": 1, "Q5_K_M": 2, "5bit": 2,
    "Q4_K_M": 3, "4bit": 3.5, "IQ4_XS": 4, "Q4_0": 5, "Q3_K_M": 6,
}  # fmt: skip
_KV_LOSS: dict[KVType, float] = {"f16": 0, "q8_0": 0.5, "q4_0": 2.5}
"""Quants by what they lose: ranks, of which only the order is meant."""

_GOOD = 3.5
"""The rank beyond which a quant is a last resort."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One build as it would run on a machine, or why it cannot."""

    model: Model
    build: Build
    way: Way
    layers: int
    wanted: int
    """Tokens of context that were hoped for."""

    @property
    def backend(self) -> str:
        return self.build.backend

    @property
    def fits(self) -> bool:
        return self.way.fits

    @property
    def setting(self) -> Setting:
        return self.way.setting

    @property
    def needs(self) -> tuple[Need, ...]:
        return self.way.needs

    @property
    def rooms(self) -> tuple[Room, ...]:
        return self.way.rooms

    @property
    def speed(self) -> float:
        """Tokens per second to expect, 0 where not known."""
        return self.way.speed

    @property
    def comfortable(self) -> bool:
        """Whether it writes as fast as people read, as far as is known."""
        return not self.speed or self.speed >= COMFORTABLE

    @property
    def on_gpu(self) -> bool:
        """Whether all layers, with all they need, are on accelerators."""
        return self.setting.gpu_layers > self.layers and not self.setting.cpu_experts

    @property
    def where(self) -> str:
        """In words, what computes."""
        on_gpu = self.setting.gpu_layers
        if self.on_gpu or not on_gpu:
            return "all on the GPU" if on_gpu else "CPU"
        if self.setting.cpu_experts:
            return f"GPU, experts of {self.setting.cpu_experts} layers on the CPU"
        return f"{on_gpu} of {self.layers + 1} layers on the GPU"

    @property
    def why(self) -> str:
        """In words, what it lacks; empty if nothing."""
        if not self.fits:
            return self.way.refusal
        said = []
        if self.setting.context < self.wanted:
            said.append(f"{self.setting.context:,} of {self.wanted:,} tokens")
        if self.setting.kv_type != "f16":
            said.append(f"KV cache in {self.setting.kv_type}")
        if not self.comfortable:
            said.append("slower than you read")
        return ", ".join(said)


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
    wanted exactly. "auto" leaves MLX to Apple silicon. Raises NotFound if no build is of that quant and
    backend, or the model's shape is unknown.
    """
    shape = _shape(model)
    builds = [b for b in model.builds if _asked(b, quant, backend, machine)]
    if not builds:
        raise NotFound(
            f"{model.title} has no build for {_words(quant, backend)}.",
            f"It has {', '.join(f'{b.quant} ({b.backend})' for b in model.builds)}.",
        )
    made = (_plan(model, b, shape, weighing.of_build(shape, b), machine, context, kv_type) for b in builds)
    return tuple(sorted(made, key=_order))


def of_file(
    model: Model,
    build: Build,
    shape: Shape,
    weights: Weights,
    machine: Machine,
    *,
    context: int = 0,
    kv_type: KVType | None = None,
) -> Plan:
    """A plan for weights that are here, by what they say of themselves; `context` as for `plans`."""
    return _plan(model, build, shape, weights, machine, context, kv_type)


def sibling(
    best: Plan,
    machine: Machine,
    backend: str = "auto",
    *,
    context: int = 0,
    kv_type: KVType | None = None,
) -> Plan | None:
    """Where a model does not hold or is slow: the largest other one that holds and is not.

    `context` and `kv_type` as for `plans`: what was wanted of the one is wanted of the other.
    """
    if best.fits and best.comfortable:
        return None
    good = []
    for other in catalogue.models():
        offered = [b for b in other.builds if _asked(b, None, backend, machine)]
        talks = other.think == "tokens" and not other.not_yet and context <= other.context
        if other.shape and offered and talks and other.name != best.model.name:
            plan = plans(other, machine, context=context, kv_type=kv_type, backend=backend)[0]
            if plan.fits and plan.comfortable:
                good.append((other.shape.parameters, plan))
    return max(good, key=lambda one: one[0])[1] if good else None


def _plan(
    model: Model,
    build: Build,
    shape: Shape,
    weights: Weights,
    machine: Machine,
    context: int,
    kv_type: KVType | None,
) -> Plan:
    way = ways.best(
        shape,
        weights,
        machine,
        backend=build.backend,
        wanted=context or model.advised,
        exact=bool(context),
        kv_type=kv_type,
    )
    return Plan(model, build, way, shape.layers, context or model.advised)


def _order(plan: Plan) -> tuple[object, ...]:
    """Smaller is better: what holds, what is fast (or fastest, where nothing is), what loses least."""
    rank = _LOSS.get(plan.build.quant, _GOOD)
    loss = rank + _KV_LOSS[plan.setting.kv_type] + (not plan.build.confirmed)
    full = plan.setting.context >= plan.wanted
    pace = 0.0 if plan.comfortable else -plan.speed
    order = (not plan.fits, rank > _GOOD, not plan.comfortable, not plan.on_gpu, not full, pace, loss)
    return (*order, plan.backend != "mlx", plan.build.gigabytes)


def _shape(model: Model) -> Shape:
    if model.shape is None:
        raise NotFound(
            f"What {model.title} takes cannot be told, because models.toml gives no shape of it.",
            "Add [model.shape] to it there; chat and ask look at the weights themselves.",
        )
    return model.shape


def _asked(build: Build, quant: str | None, backend: str, machine: Machine) -> bool:
    if quant and not build.has_quant(quant):
        return False
    if backend == "auto":
        return build.backend != "mlx" or machine.apple_silicon
    return build.backend == backend


def _words(quant: str | None, backend: str) -> str:
    return " with ".join(filter(None, (quant, "" if backend == "auto" else backend))) or "this machine"
