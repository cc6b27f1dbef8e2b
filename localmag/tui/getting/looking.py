"""A machine and what could run on it, put together for the table. Imported late: it reads much."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from localmag import amounts, catalogue, fit
from localmag.catalogue import Build, Model
from localmag.engines import select, selection
from localmag.engines.advice import Advice, advise, runnable
from localmag.engines.select import Host
from localmag.errors import NotFound, WrongUsage
from localmag.hardware import Machine
from localmag.store import inventory
from localmag.store.inventory import Inventory
from localmag.tui.getting.offers import Offer, Sight, Wish


def sight(machine: Machine, host: Host | None = None, ask: Wish | None = None) -> Sight:
    """Every build that something installed could run, best first; models that cannot be held come last.

    The one to take is the best of the model that is asked for (else of the newest), or the largest other that
    holds where no build of it does: what `localmag fit` and `localmag pull` say.
    """
    host, ask = host or select.host(), ask or Wish()
    there = inventory.take()
    asked, _ = catalogue.find(ask.model or catalogue.NEWEST)
    advised = _advised(asked, machine, host, ask)
    plans = {model.name: _plans(model, machine, host, ask) for model in catalogue.models()}
    if advised:
        plans[asked.name] = advised.plans
    chosen = advised.taken if advised else None
    first = asked.name if ask.model else chosen.model.name if chosen else ""
    taken = (chosen.model.name, chosen.build) if chosen else None
    offers = [
        _offer(plan, there, machine.disk_free, chosen=(plan.model.name, plan.build) == taken)
        for name in sorted(plans, key=lambda name: _place(name, plans[name], first))
        for plan in plans[name]
    ]
    offers += [o for model in catalogue.models() if model.shape is None for o in _unweighed(model, there)]
    lies = selection.idle(host)
    notes = [f"{lies.what} {lies.todo}"] if lies else []
    return Sight(told(machine), tuple(offers), (*notes, *_notes(machine, asked, advised, ask)))


def _advised(model: Model, machine: Machine, host: Host, ask: Wish) -> Advice | None:
    """None for a model whose shape is not known, or for which nothing here could run a build."""
    with suppress(NotFound, WrongUsage):
        return advise(model, machine, host, context=ask.context, kv_type=ask.kv_type, backend=ask.backend)
    return None


def _plans(model: Model, machine: Machine, host: Host, ask: Wish) -> tuple[fit.Plan, ...]:
    """None of a model whose shape is not known, or for which nothing here could run a build."""
    backend = runnable(host, ask.backend)
    if not host.able(ask.backend):
        return ()
    try:
        return fit.plans(model, machine, context=ask.context, kv_type=ask.kv_type, backend=backend)
    except NotFound:
        return ()


def _notes(machine: Machine, asked: Model, advised: Advice | None, ask: Wish) -> Iterator[str]:
    for note in machine.notes:
        yield f"{note.what} {note.todo}".strip()
    if ask.model and (advised is None or not advised.best.fits):
        yield f"{asked.title} does not fit this machine."
    if advised and advised.choice and advised.choice.open:
        yield f"{advised.choice.backend} runs it: {advised.choice.why}."
    if advised and advised.best.fits and advised.smaller:
        yield _quicker(advised.smaller)
    if advised and advised.taken is None:
        yield "No model of the catalogue fits this machine; the demo does."


def _unweighed(model: Model, there: Inventory) -> Iterator[Offer]:
    """Of a model whose shape is not known: the user's to judge."""
    if model.name == catalogue.DEMO:
        return
    for build in model.builds:
        here, usable = _here(model, build, there)
        why = "The shape of this model is not in the catalogue, so nobody can tell whether it fits."
        yield Offer(model, build, why=why, context=model.advised, here=here, usable=usable)


def _here(model: Model, build: Build, there: Inventory) -> tuple[int, bool]:
    """How many bytes of a build are here from an interrupted pull, and whether all of it is."""
    copies = [h for h in there.of(model, build.quant) if h.backend == build.backend]
    return sum(h.size for h in copies if h.state == "partial"), any(h.usable for h in copies)


def _place(name: str, plans: tuple[fit.Plan, ...], first: str) -> tuple[bool, bool]:
    """The model that stands first, and then, in the catalogue's order, those that hold at all."""
    return name != first, not any(plan.fits for plan in plans)


def _offer(plan: fit.Plan, there: Inventory, disk: int, *, chosen: bool) -> Offer:
    here, usable = _here(plan.model, plan.build, there)
    offer = Offer(
        plan.model,
        plan.build,
        fits=plan.fits,
        why=_why(plan),
        lacks="" if plan.fits else f"lacks {amounts.memory(plan.way.missing)} of memory",
        context=plan.setting.context,
        kv_type=plan.setting.kv_type,
        where="CPU" if not plan.setting.gpu_layers else "GPU" if plan.on_gpu else "GPU + CPU",
        speed=plan.speed,
        chosen=chosen,
        here=here,
        usable=usable,
    )
    wanted = offer.bytes - here
    if disk and plan.fits and not usable and wanted > disk:
        why = f"{amounts.size(wanted)} are to be fetched, and the disk has {amounts.size(disk)} free."
        offer = replace(offer, fits=False, lacks=f"lacks {amounts.size(wanted - disk)} of disk", why=why)
    return offer


def _why(plan: fit.Plan) -> str:
    """Takes 19.6 of 22.9 GiB of CUDA0, 0.8 of 57.0 GiB of memory; KV cache in q8_0."""
    if not plan.fits:
        return plan.why
    parts = [
        f"{need.total / 2**30:.1f} of {amounts.memory(room.usable)} of {need.place}"
        for need, room in zip(plan.needs, plan.rooms, strict=True)
        if need.total
    ]
    how = plan.where if plan.setting.gpu_layers and not plan.on_gpu else ""
    return f"Takes {'; '.join(filter(None, (', '.join(parts), how, plan.why)))}."


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
