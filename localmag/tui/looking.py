"""A machine and what could run on it, put together for the table. Imported late: it reads much."""

from __future__ import annotations

from collections.abc import Iterator

from localmag import amounts, catalogue, fit
from localmag.catalogue import Model
from localmag.engines import select
from localmag.hardware import Machine
from localmag.store import inventory
from localmag.store.inventory import Inventory
from localmag.tui.offers import Offer, Sight


def sight(machine: Machine) -> Sight:
    """Every build that something installed could run, the newest model's first, each model's best one first.

    The one to take is the newest model's best, or its largest sibling that holds where no build of it does.
    """
    there = inventory.take()
    backend = "llama.cpp" if "mlx" in select.host().obstacles else "auto"
    plans = {model.name: _plans(model, machine, backend) for model in catalogue.models()}
    newest, _ = catalogue.find(catalogue.NEWEST)
    best = plans[newest.name][0]
    sibling = fit.sibling(best, machine)
    chosen = best if best.fits else sibling
    offers = [
        _offer(plan, there, chosen=plan is best if best.fits else _same(plan, sibling))
        for model in sorted(catalogue.models(), key=lambda m: m.name != newest.name)
        for plan in plans[model.name]
    ]
    notes = [f"{n.what} {n.todo}".strip() for n in machine.notes]
    if best.fits and sibling:
        notes.append(_quicker(sibling))
    if chosen is None:
        notes.append("No model of the catalogue fits this machine; the demo does.")
    return Sight(told(machine), tuple(offers), tuple(notes))


def _plans(model: Model, machine: Machine, backend: str) -> tuple[fit.Plan, ...]:
    """None of a model whose shape nobody knows, which cannot be weighed."""
    if model.shape is None or not any(backend in ("auto", b.backend) for b in model.builds):
        return ()
    return fit.plans(model, machine, backend=backend)


def _same(plan: fit.Plan, other: fit.Plan | None) -> bool:
    return other is not None and (plan.model.name, plan.build) == (other.model.name, other.build)


def _offer(plan: fit.Plan, there: Inventory, *, chosen: bool) -> Offer:
    copies = [h for h in there.of(plan.model, plan.build.quant) if h.backend == plan.backend]
    return Offer(
        plan.model,
        plan.build,
        fits=plan.fits,
        why=f"{_takes(plan)} {_capitalized(plan.why)}".rstrip() if plan.fits else plan.why,
        context=plan.setting.context,
        kv_type=plan.setting.kv_type,
        where=plan.where,
        speed=plan.speed,
        chosen=chosen,
        here=sum(h.size for h in copies if h.state == "partial"),
        usable=any(h.usable for h in copies),
    )


def _takes(plan: fit.Plan) -> str:
    """Takes 19.6 of 22.9 GiB of CUDA0, 0.8 of 57.0 GiB of memory."""
    parts = [
        f"{need.total / 2**30:.1f} of {amounts.memory(room.usable)} of {need.place}"
        for need, room in zip(plan.needs, plan.rooms, strict=True)
        if need.total
    ]
    return f"Takes {', '.join(parts)}."


def _capitalized(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _quicker(sibling: fit.Plan) -> str:
    return (
        f"{sibling.model.title} {sibling.build.quant} is smaller, and would be quicker: "
        f"about {sibling.speed:.0f} tok/s."
    )


def told(machine: Machine) -> str:
    """The machine in one line."""
    return " · ".join(_facts(machine))


def _facts(machine: Machine) -> Iterator[str]:
    yield f"{machine.cpu}, {machine.cores} cores"
    yield f"{amounts.memory(machine.memory_free)} of {amounts.memory(machine.memory_total)} memory free"
    for device in machine.devices:
        yield device.name if device.unified else f"{device.name}, {amounts.memory(device.total)}"
    if not machine.devices:
        yield "no GPU"
    yield f"{amounts.size(machine.disk_free)} of disk free"
