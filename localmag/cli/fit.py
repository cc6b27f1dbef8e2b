"""`localmag fit`: what of a model this machine can hold, before anything is fetched."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from localmag import amounts, catalogue, fit
from localmag.cli import options
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
    """Show which builds of a model this machine can hold, with how much context, and which to take.

    Nothing is fetched. The first line is the one to take, the others say why not.
    """
    found, named = catalogue.find(model)
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
    say(_machine(machine))
    rows: list[tuple[str, ...]] = [
        ("", "build", "backend", "context", "KV", "where", "needs", "tokens/s", "")
    ]
    rows += [_row("→" if plan is made[0] and plan.fits else "", plan) for plan in made]
    if smaller:
        rows.append(_row("or", smaller))
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip())
    for note in machine.notes:
        warn(f"{note.what} {note.todo}".strip())


def _row(mark: str, plan: Plan) -> tuple[str, ...]:
    needs = " + ".join(f"{amounts.memory(n.total)} {n.place}" for n in plan.needs if n.total)
    return (
        mark,
        _name(plan),
        plan.backend,
        f"{plan.setting.context:,}" if plan.fits else "",
        plan.setting.kv_type if plan.fits else "",
        plan.where if plan.fits else "no",
        needs,
        f"{plan.speed:.0f}" if plan.speed and plan.fits else "",
        plan.why,
    )


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
