"""`localmag fit`: what of a model this machine can hold, before anything is fetched."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from localmag import amounts, catalogue, fit
from localmag.cli import options
from localmag.cli.columns import columns
from localmag.cli.output import say, warn
from localmag.errors import DoesNotFit
from localmag.fit import Plan
from localmag.hardware import Machine


def fit_(
    model: Annotated[
        str, typer.Argument(metavar="MODEL[:QUANT]", help="As `magistral` or `ministral:8b`.")
    ] = catalogue.NEWEST,
    ctx: options.Ctx = None,
    backend: options.Backend = options.BackendChoice.auto,
    quant: options.Quant = None,
    kv_type: options.KV = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show which builds this machine can hold, and which to take.

    For each build: how much context it has room for, how fast it would be, and what it lacks. The
    first line is the one to take. Nothing is fetched.
    """
    found, named = catalogue.find(model)
    if found.not_yet:
        warn(f"localmag cannot run {found.title} yet: {found.not_yet}.")
    from localmag.engines import devices, select  # half a second: llama.cpp is asked what it can compute on
    from localmag.store import cache

    machine = devices.machine(cache.root())
    if backend is options.BackendChoice.auto and "mlx" in select.host().obstacles:
        backend = options.BackendChoice.llamacpp
    made = fit.plans(
        found,
        machine,
        context=ctx or 0,
        quant=quant or named,
        kv_type=kv_type.value if kv_type else None,
        backend=backend.value,
    )
    smaller = fit.sibling(made[0], machine, backend.value)
    if as_json:
        say(json.dumps(_object(machine, made, smaller), ensure_ascii=False))
    else:
        _show(machine, made, smaller)
    if not made[0].fits:
        todo = (
            f"Take {smaller.model.title}: `localmag chat {_name(smaller)}`."
            if smaller
            else "Free some memory."
        )
        raise DoesNotFit(f"{found.title} does not fit this machine. {made[0].why}", todo)


def _show(machine: Machine, made: tuple[Plan, ...], smaller: Plan | None) -> None:
    best = made[0]
    say(_machine(machine))
    rows: list[tuple[str, ...]] = [("", "build", "context", "KV", "tok/s", "memory", "runs on")]
    rows += [_row("→" if plan is best and plan.fits else "", plan) for plan in made]
    if smaller:
        rows.append(_row("or", smaller))
    for line in columns(rows, right=(2, 4, 5)):
        say(line)
    if best.fits:
        takes = " and ".join(f"{amounts.memory(n.total)} of {_place(n.place)}" for n in best.needs if n.total)
        why = f" ({best.why})" if best.why else ""
        warn(f"{_name(best)} takes {takes}{why}. {_next(best)}")
    for note in machine.notes:
        warn(f"{note.what} {note.todo}".strip())


def _row(mark: str, plan: Plan) -> tuple[str, ...]:
    if not plan.fits:
        return mark, _name(plan), f"lacks {amounts.memory(plan.way.missing)} of memory"
    return (
        mark,
        _name(plan),
        f"{plan.setting.context:,}",
        plan.setting.kv_type,
        f"{plan.speed:.0f}" if plan.speed else "",
        amounts.memory(sum(n.total for n in plan.needs)),
        plan.where,
    )


def _place(place: str) -> str:
    return place if place == "memory" else f"{place}'s memory"


def _next(plan: Plan) -> str:
    from localmag.store.inventory import take

    here = any(one.usable for one in take().of(plan.model, plan.build.quant))
    return f"Run `localmag {'chat' if here else 'pull'} {_name(plan)}`."


def _name(plan: Plan) -> str:
    return plan.model.called(plan.build)


def _machine(machine: Machine) -> str:
    parts = [
        machine.cpu,
        f"{amounts.memory(machine.memory_free)} of {amounts.memory(machine.memory_total)} memory free",
    ]
    for device in machine.devices:
        parts.append(
            f"{device.name} with {amounts.memory(device.free)} of {amounts.memory(device.total)} free"
        )
    return " · ".join(filter(None, parts))


def _object(machine: Machine, made: tuple[Plan, ...], smaller: Plan | None) -> dict[str, object]:
    return {
        "machine": asdict(machine),
        "plans": [_plan(plan) for plan in made],
        "sibling": _plan(smaller) if smaller else None,
    }


def _plan(plan: Plan) -> dict[str, object]:
    return {
        "model": plan.model.name,
        "build": plan.build.quant,
        "backend": plan.backend,
        "fits": plan.fits,
        "why": plan.why,
        "context": plan.setting.context,
        "kv_type": plan.setting.kv_type,
        "gpu_layers": plan.setting.gpu_layers,
        "cpu_experts": plan.setting.cpu_experts,
        "where": plan.where,
        "tokens_per_second": round(plan.speed, 1),
        "needs": [asdict(n) | {"total": n.total} for n in plan.needs],
        "rooms": [asdict(r) | {"usable": r.usable} for r in plan.rooms],
    }
